/* A certsync-link child: one SSH connection to a hub (agent/common/link.h).
 */
#ifndef CERTSYNC_AGENT_TUNNEL_H
#define CERTSYNC_AGENT_TUNNEL_H

#include "agent/common/config.h"
#include "lib/core/error.h"

#include <event2/event.h>

struct tunnel;

/* It has ended: `exit_code` as in agent/common/link.h (-1: killed), `reason` its last line on standard error. Called
 * once, from the loop; the handler calls tunnel_free, now or later. */
typedef void tunnel_ended(int exit_code, const char *reason, void *context);

/* Starts it. *ret_fd is our end of the stream, the caller's to close. NULL with the reason. */
struct tunnel *tunnel_start(struct event_base *base, const struct agent_config *config, const struct agent_hub *hub,
	tunnel_ended *ended, void *context, int *ret_fd, struct error *err);
void tunnel_free(struct tunnel *t); /* kills it if it still runs; no callback. NULL is allowed */

#endif
