/* A part of the rollout: who may begin to activate, and what opens by itself and when. It looks, and changes nothing.
 */
#ifndef CERTSYNC_HUB_DAEMON_ROLLOUT_BARRIER_H
#define CERTSYNC_HUB_DAEMON_ROLLOUT_BARRIER_H

#include "hub/daemon/rollout/rollout.h"

enum barrier_wait {
	BARRIER_LETS, /* nothing is in its way */
	BARRIER_HOLD,
	BARRIER_CANARIES,
	BARRIER_OTHERS, /* who have not staged yet */
	BARRIER_FAILED, /* an activation of another agent */
	BARRIER_WINDOW,
};

/* Returns whether the desired revision is committed there. */
bool barrier_has_passed(const struct rollout_agent *a);
/* Returns whether the barrier waits for this agent. */
bool barrier_awaits(const struct rollout_agent *a, int64_t now);
bool barrier_opens(const struct rollout *r, int64_t now);
bool barrier_may_activate(const struct rollout *r, const struct rollout_agent *a, int64_t now);
/* Returns whether a failed activation sends everybody back. *ret_refusal says why not where one failed and nobody goes
 * back; else it is NULL. */
bool barrier_wants_rollback(const struct rollout *r, int64_t now, const char **ret_refusal);
bool barrier_waits_for_window(const struct rollout *r, const struct rollout_agent *a, int64_t now);
/* Returns whether the canaries are verified, and their soak, for which this agent waits, is not over. */
bool barrier_is_soaking(const struct rollout *r, const struct rollout_agent *a, int64_t now);
/* Returns when the staged agents have to be looked at next, in one pass over all, or INT64_MAX when only an event
 * changes anything. */
int64_t barrier_next(const struct rollout *r, int64_t now);
/* Returns what keeps a staged agent from activating. */
enum barrier_wait barrier_wait(const struct rollout *r, const struct rollout_agent *a, int64_t now);
const char *barrier_wait_text(enum barrier_wait wait); /* as in "waits for the window"; NULL for nothing */

#endif
