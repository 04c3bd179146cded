/* The daemon's side of agent/common/root_request.h: a queue of requests to the root half, of which one is outstanding,
 * and a callback for each reply.
 */
#ifndef CERTSYNC_AGENT_DAEMON_ROOT_CLIENT_H
#define CERTSYNC_AGENT_DAEMON_ROOT_CLIENT_H

#include "agent/common/root_request.h"

#include <event2/event.h>

struct rootlink;

/* The reply is borrowed during the call, which may ask again. */
typedef void rootlink_reply(const struct reply *reply, void *context);

/* Takes the descriptor over. `ended` is called once, when the root half has ended or speaks nonsense: nothing can be
 * done without it, and no request is answered any more. */
struct rootlink *rootlink_new(
	struct event_base *base, int fd, void (*ended)(const struct error *err, void *context), void *context);
void rootlink_free(struct rootlink *r);

void rootlink_ask(struct rootlink *r, const struct request *request, rootlink_reply *reply, void *context);
/* The bundle is copied. */
void rootlink_stage(struct rootlink *r, const uint8_t *bundle, size_t len, rootlink_reply *reply, void *context);
/* Requests with this context are no longer answered; the outstanding one is carried out all the same. */
void rootlink_forget(struct rootlink *r, const void *context);

#endif
