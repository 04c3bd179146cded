#include "hub/daemon/rollout/progress.h"

bool rollout_is_under_way(const struct rollout_agent *a)
{
	return a->state == ROLLOUT_OFFERED || a->state == ROLLOUT_ACTIVATING || a->state == ROLLOUT_INSTALLED ||
		(a->state == ROLLOUT_UNVERIFIED && a->deadline);
}

enum barrier_wait rollout_waits_for(const struct rollout *r, const struct rollout_agent *a, int64_t now)
{
	return a->state == ROLLOUT_STAGED ? barrier_wait(r, a, now) : BARRIER_LETS;
}

static void sooner(int64_t *best, int64_t when)
{
	if (when < *best)
		*best = when;
}

static int64_t agent_next(const struct rollout_agent *a)
{
	int64_t best = INT64_MAX;
	if (a->held_until)
		sooner(&best, a->held_until);
	if (a->deadline)
		sooner(&best, a->deadline);
	if (a->state == ROLLOUT_FAILED && a->connected && !a->held_until)
		sooner(&best, a->next_try);
	if (barrier_has_passed(a) && a->connected && !a->held_until && !a->deadline)
		sooner(&best, a->looked + ROLLOUT_LOOK);
	return best;
}

int64_t rollout_next(const struct rollout *r, int64_t now)
{
	const char *refusal;
	int64_t best = barrier_next(r, now);
	for (size_t i = 0; i < r->agent_count; i++)
		sooner(&best, agent_next(&r->agents[i]));
	if (barrier_wants_rollback(r, now, &refusal) && !refusal)
		sooner(&best, r->rollback_retry > now ? r->rollback_retry : now);
	return best;
}

static bool any_under_way(const struct rollout *r)
{
	for (size_t i = 0; i < r->agent_count; i++)
		if (rollout_is_under_way(&r->agents[i]))
			return true;
	return false;
}

static bool any_awaited_has_failed(const struct rollout *r, int64_t now)
{
	for (size_t i = 0; i < r->agent_count; i++)
		if (r->agents[i].failures && barrier_awaits(&r->agents[i], now))
			return true;
	return false;
}

bool rollout_busy(const struct rollout *r, const struct rollout_agent *a, int64_t now)
{
	if (rollout_is_under_way(a))
		return true;
	if (a->state != ROLLOUT_STAGED || a->held_until || barrier_waits_for_window(r, a, now))
		return false;
	/* At the barrier: something under way elsewhere, or stage_timeout, may open it; a failure will not. */
	if (any_under_way(r))
		return true;
	if (any_awaited_has_failed(r, now))
		return false;
	return barrier_is_soaking(r, a, now) || now - r->started < r->stage_timeout;
}

bool rollout_agent_converged(const struct rollout_agent *a)
{
	return a->state == ROLLOUT_VERIFIED && !a->held_until;
}

bool rollout_converged(const struct rollout *r)
{
	for (size_t i = 0; i < r->agent_count; i++)
		if (!rollout_agent_converged(&r->agents[i]))
			return false;
	return !revision_is_placeholder(r->desired.revision);
}
