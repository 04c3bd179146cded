/* Holds: an agent is left alone for a while, since a person works there. There is no offer, no activation and no
 * repair, for one certificate or all of them.
 *
 * The store keeps them (kind "holds" in the certificate's NAME: state.json), with the end of each hold, so that they
 * outlive the hub. The agent is told how many seconds are left, at once and at each hello, and counts them on its own
 * monotonic clock.
 */
#ifndef CERTSYNC_HUB_DAEMON_ROLLOUT_HOLD_H
#define CERTSYNC_HUB_DAEMON_ROLLOUT_HOLD_H

#include "hub/daemon/hub.h"
#include "hub/daemon/rollout/rollout.h"

/* Holds for `seconds` from now, 1 to MESSAGE_HOLD_MAX; 0 ends it. With `certificate` NULL it is for all of the agent's.
 * ERROR_USAGE is for a name that hub.conf does not have. The hold is on disk when this returns 0. */
int hold_set(struct hub *hub, const char *agent, const char *certificate, int64_t seconds, struct error *err);

/* Puts what the store has into a rollout that has just been made. A damaged record is told of, and holds nobody. */
void hold_restore(struct hub *hub, struct rollout *r);
/* Tells the agent, if it is connected and knows of holds. */
void hold_tell(struct hub *hub, const struct rollout *r, const struct rollout_agent *a);
/* Returns whether a connected agent is too old to know of holds; then files are still repaired there. */
bool hold_is_unknown_to(struct hub *hub, const char *agent);

#endif
