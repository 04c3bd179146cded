#include "hub/daemon/rollout/barrier.h"
#include "hub/daemon/rollout/window.h"

bool barrier_has_passed(const struct rollout_agent *a)
{
	return a->state == ROLLOUT_VERIFIED || a->state == ROLLOUT_UNVERIFIED;
}

bool barrier_awaits(const struct rollout_agent *a, int64_t now)
{
	if (a->held_until || a->state == ROLLOUT_AHEAD)
		return false;
	return a->connected || (a->last_seen && now - a->last_seen <= ROLLOUT_SEEN);
}

static bool is_nearly_over(int64_t not_before, int64_t not_after, int64_t now)
{
	return not_after - now < (not_after - not_before) / 6;
}

/* Where there is no old certificate, nothing is gained by waiting. */
static bool old_one_is_nearly_over(const struct rollout *r, int64_t now)
{
	return !r->old.not_after || is_nearly_over(r->old.not_before, r->old.not_after, now);
}

/* Returns whether the others go on in spite of a failure somewhere. */
static bool must_go_on(const struct rollout *r, int64_t now)
{
	if (r->urgent && now - r->started >= r->stage_timeout)
		return true;
	return r->proceed || now - r->started >= r->proceed_after || old_one_is_nearly_over(r, now);
}

bool barrier_opens(const struct rollout *r, int64_t now)
{
	bool complete = true, failed = false;
	for (size_t i = 0; i < r->agent_count; i++) {
		const struct rollout_agent *a = &r->agents[i];
		if (!barrier_awaits(a, now))
			continue;
		if (a->state != ROLLOUT_STAGED && !barrier_has_passed(a))
			complete = false;
		if (a->failed_staging)
			failed = true;
	}
	if (complete)
		return true;
	if (failed)
		return must_go_on(r, now) && (r->proceed || now - r->started >= r->stage_timeout);
	return now - r->started >= r->stage_timeout;
}

/* Returns whether some agent failed after its files were switched, and has not got over it. */
static bool activation_failed(const struct rollout *r)
{
	for (size_t i = 0; i < r->agent_count; i++)
		if (r->agents[i].failed_activation)
			return true;
	return false;
}

/* Returns when the canaries have soaked: INT64_MAX when some canary is not verified, and now or earlier when there is
 * none to wait for. */
static int64_t soaked_at(const struct rollout *r)
{
	int64_t when = 0;
	for (size_t i = 0; i < r->agent_count; i++) {
		const struct rollout_agent *a = &r->agents[i];
		if (!a->canary)
			continue;
		if (a->state != ROLLOUT_VERIFIED)
			return INT64_MAX;
		when = a->since + r->soak > when ? a->since + r->soak : when;
	}
	return when;
}

/* An agent that serves this revision already has nothing new to begin; one that has no certificate, or one that will
 * not last, loses by waiting. */
static bool needs_no_window(const struct rollout *r, const struct rollout_agent *a, int64_t now)
{
	if (revision_is_placeholder(a->served.revision) ||
		revision_compare(a->served.revision, r->desired.revision) == 0)
		return true;
	if (a->served.not_after && is_nearly_over(a->served.not_before, a->served.not_after, now))
		return true;
	return r->proceed || r->urgent || old_one_is_nearly_over(r, now);
}

static bool window_lets(const struct rollout *r, const struct rollout_agent *a, int64_t now)
{
	return window_is_open(r->windows, r->window_count, now, r->local_minute) || needs_no_window(r, a, now);
}

bool barrier_waits_for_window(const struct rollout *r, const struct rollout_agent *a, int64_t now)
{
	return !r->immediate && !window_lets(r, a, now);
}

bool barrier_is_soaking(const struct rollout *r, const struct rollout_agent *a, int64_t now)
{
	return !a->canary && soaked_at(r) != INT64_MAX && now < soaked_at(r);
}

static bool waits_for_canaries(const struct rollout *r, const struct rollout_agent *a, int64_t now)
{
	return !a->canary && now < soaked_at(r) && !must_go_on(r, now);
}

/* To retry the agent that failed is no further activation. */
static bool is_stopped(const struct rollout *r, const struct rollout_agent *a, int64_t now)
{
	return !a->failed_activation && activation_failed(r) && !must_go_on(r, now);
}

enum barrier_wait barrier_wait(const struct rollout *r, const struct rollout_agent *a, int64_t now)
{
	if (a->held_until)
		return BARRIER_HOLD;
	if (r->immediate)
		return BARRIER_LETS;
	if (waits_for_canaries(r, a, now))
		return BARRIER_CANARIES;
	if (r->policy == ROLLOUT_TOGETHER && !r->open && !a->passed)
		return BARRIER_OTHERS;
	if (r->policy == ROLLOUT_TOGETHER && is_stopped(r, a, now))
		return BARRIER_FAILED;
	return window_lets(r, a, now) ? BARRIER_LETS : BARRIER_WINDOW;
}

const char *barrier_wait_text(enum barrier_wait wait)
{
	static const char *const texts[] = {
		[BARRIER_LETS] = NULL,
		[BARRIER_HOLD] = "the end of its hold",
		[BARRIER_CANARIES] = "the canaries",
		[BARRIER_OTHERS] = "the others to stage",
		[BARRIER_FAILED] = "an agent whose activation failed",
		[BARRIER_WINDOW] = "the window",
	};
	return texts[wait];
}

bool barrier_may_activate(const struct rollout *r, const struct rollout_agent *a, int64_t now)
{
	return barrier_wait(r, a, now) == BARRIER_LETS;
}

/* What has been served everywhere for long is not given up because one agent's service breaks. */
static bool first_activation_failed(const struct rollout *r)
{
	for (size_t i = 0; i < r->agent_count; i++)
		if (r->agents[i].failed_activation && !r->agents[i].passed)
			return true;
	return false;
}

bool barrier_wants_rollback(const struct rollout *r, int64_t now, const char **ret_refusal)
{
	if (r->on_failure != ROLLOUT_ROLLBACK_ALL || r->immediate || !first_activation_failed(r))
		return false;
	if (r->proceed || now - r->started >= r->proceed_after)
		return false;
	*ret_refusal = NULL;
	if (r->urgent)
		*ret_refusal = "what it replaces was revoked, or is to be replaced";
	else if (revision_is_placeholder(r->old.revision) || !r->old.not_after)
		*ret_refusal = "there is nothing older";
	else if (r->old.not_after - now < (r->old.not_after - r->old.not_before) / 3)
		*ret_refusal = "the old one has under a third of its life left";
	return true;
}

/* Returns when must_go_on becomes true by itself. */
static int64_t goes_on_at(const struct rollout *r)
{
	int64_t when = r->started + r->proceed_after;
	if (r->old.not_after) {
		int64_t over = r->old.not_after - (r->old.not_after - r->old.not_before) / 6 + 1;
		when = over < when ? over : when;
	}
	return when;
}

static void sooner_after(int64_t *best, int64_t when, int64_t now)
{
	if (when > now && when < *best)
		*best = when;
}

int64_t barrier_next(const struct rollout *r, int64_t now)
{
	bool any = false, any_outside = false;
	for (size_t i = 0; i < r->agent_count; i++) {
		const struct rollout_agent *a = &r->agents[i];
		if (a->state != ROLLOUT_STAGED || a->held_until)
			continue;
		any = true;
		any_outside = any_outside || !window_lets(r, a, now);
	}
	int64_t best = INT64_MAX;
	if (!any)
		return best;
	sooner_after(&best, r->started + r->stage_timeout, now);
	sooner_after(&best, goes_on_at(r), now);
	sooner_after(&best, soaked_at(r), now);
	if (any_outside)
		sooner_after(&best, window_next(r->windows, r->window_count, now, r->local_minute), now);
	return best;
}
