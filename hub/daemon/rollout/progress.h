/* How far a rollout is: what can be told of one without changing it.
 */
#ifndef CERTSYNC_HUB_DAEMON_ROLLOUT_PROGRESS_H
#define CERTSYNC_HUB_DAEMON_ROLLOUT_PROGRESS_H

#include "hub/daemon/rollout/barrier.h"
#include "hub/daemon/rollout/rollout.h"

/* Returns when rollout_tick is next of use, or INT64_MAX when only an event changes anything. */
int64_t rollout_next(const struct rollout *r, int64_t now);

/* Returns whether this agent is offered something, activates, or is looked at. */
bool rollout_is_under_way(const struct rollout_agent *a);
/* Returns whether something is under way with this agent, or it waits at a barrier that something under way may
 * open. */
bool rollout_busy(const struct rollout *r, const struct rollout_agent *a, int64_t now);
bool rollout_agent_converged(const struct rollout_agent *a); /* verified, and not held */
bool rollout_converged(const struct rollout *r);             /* every assigned agent is */
/* Returns what a staged agent waits for. One that is not staged waits for nothing. */
enum barrier_wait rollout_waits_for(const struct rollout *r, const struct rollout_agent *a, int64_t now);

#endif
