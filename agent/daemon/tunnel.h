/* A certsync-link child: one SSH connection to a hub (agent/common/link.h). */
#ifndef CERTSYNC_AGENT_DAEMON_TUNNEL_H
#define CERTSYNC_AGENT_DAEMON_TUNNEL_H

#include "agent/common/config.h"
#include "lib/core/error.h"

#include <event2/event.h>

struct tunnel;

/* The child has ended: `exit_code` is as in agent/common/link.h (-1 when it was killed), and `reason` its last line on
 * standard error. This is called once, from the loop; the handler calls tunnel_free, now or later. */
typedef void tunnel_ended(int exit_code, const char *reason, void *context);

/* Starts the child. *ret_fd is our end of the stream, which the caller closes. Returns NULL with the reason. */
struct tunnel *tunnel_start(struct event_base *base, const struct agent_config *config, const struct agent_hub *hub,
	tunnel_ended *ended, void *context, int *ret_fd, struct error *err);
void tunnel_free(struct tunnel *t); /* kills it if it still runs; no callback. NULL is allowed */

#endif
