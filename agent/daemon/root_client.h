/* The daemon's side of agent/common/root_request.h: a queue of requests to the root half, of which one is outstanding,
 * and a callback for each reply.
 */
#ifndef CERTSYNC_AGENT_DAEMON_ROOT_CLIENT_H
#define CERTSYNC_AGENT_DAEMON_ROOT_CLIENT_H

#include "agent/common/root_request.h"

#include <event2/event.h>

struct root_client;

/* The reply is borrowed during the call, which may ask again. */
typedef void root_client_reply(const struct reply *reply, void *context);

/* Takes the descriptor over. `ended` is called once, when the root half has ended or speaks nonsense: nothing can be
 * done without it, and no request is answered any more. */
struct root_client *root_client_new(
	struct event_base *base, int fd, void (*ended)(const struct error *err, void *context), void *context);
void root_client_free(struct root_client *r);

void root_client_ask(struct root_client *r, const struct request *request, root_client_reply *reply, void *context);
/* The bundle is copied. */
void root_client_stage(
	struct root_client *r, const uint8_t *bundle, size_t len, root_client_reply *reply, void *context);
/* Requests with this context are no longer answered; the outstanding one is carried out all the same. */
void root_client_forget(struct root_client *r, const void *context);

#endif
