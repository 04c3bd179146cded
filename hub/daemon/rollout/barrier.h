/* Inside of hub/rollout: who may begin to activate, and what opens by itself when. Looks, and changes nothing.
 */
#ifndef CERTSYNC_HUB_DAEMON_ROLLOUT_BARRIER_H
#define CERTSYNC_HUB_DAEMON_ROLLOUT_BARRIER_H

#include "hub/daemon/rollout/rollout.h"

/* The desired revision is committed there. */
bool gate_has_passed(const struct rollout_agent *a);
/* The barrier waits for it. */
bool gate_awaits(const struct rollout_agent *a, int64_t now);
bool gate_barrier_opens(const struct rollout *r, int64_t now);
bool gate_may_activate(const struct rollout *r, const struct rollout_agent *a, int64_t now);
/* A failed activation sends everybody back; `*ret_refusal` says why not, when they do not go all the same; else it is NULL. */
bool gate_wants_rollback(const struct rollout *r, int64_t now, const char **ret_refusal);
bool gate_waits_for_window(const struct rollout *r, const struct rollout_agent *a, int64_t now);
/* The canaries are verified, and their soak, for which it waits, is not over. */
bool gate_is_soaking(const struct rollout *r, const struct rollout_agent *a, int64_t now);
/* When the staged agents are next to be looked at, in one pass over all; INT64_MAX: only an event changes anything. */
int64_t gate_next(const struct rollout *r, int64_t now);
/* Why a staged agent does not activate; NULL: nothing is in its way. */
const char *gate_reason(const struct rollout *r, const struct rollout_agent *a, int64_t now);

#endif
