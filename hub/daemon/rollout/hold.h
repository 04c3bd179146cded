/* Holds: an agent is let alone for a while, since a person works there. No offer, no activation, no repair, for one certificate or
 * all of them.
 *
 * Kept in the store, kind "holds", NAME of the certificate: state.json, with the end of each hold, so that they outlive the hub.
 * The agent is told how many seconds are left, at once and at each hello, and counts them on its own monotonic clock.
 */
#ifndef CERTSYNC_HUB_DAEMON_ROLLOUT_HOLD_H
#define CERTSYNC_HUB_DAEMON_ROLLOUT_HOLD_H

#include "hub/daemon/hub.h"
#include "hub/daemon/rollout/rollout.h"

/* For `seconds` from now, 1 to MESSAGE_HOLD_MAX; 0 ends it. `certificate` NULL: all of the agent's. ERROR_USAGE for a name that
 * hub.conf does not have. On disk when it returns 0. */
int hold_set(struct hub *hub, const char *agent, const char *certificate, int64_t seconds, struct error *err);

/* For hub/fleet: what the store has, into a rollout that has just been made. A damaged record is logged, and holds nobody. */
void hold_restore(struct hub *hub, struct rollout *r);
/* Tells the agent, if it is connected and knows of holds. */
void hold_tell(struct hub *hub, const struct rollout *r, const struct rollout_agent *a);
/* Whether a connected agent is too old to know: then files are still repaired there. */
bool hold_is_unknown_to(struct hub *hub, const char *agent);

#endif
