#include "hub/daemon/acme/schedule.h"
#include "hub/common/lint.h"

#include <stdbool.h>

enum {
	HOUR = 3600,
	DAY = 24 * HOUR,
	BACKOFF_FIRST = 60,
	BACKOFF_LAST = 6 * HOUR,
	RETRY_AFTER_MAX = DAY,
	REPLACED_AGAIN = HOUR,
	UNDONE_AGAIN = DAY,
};

static int64_t smaller(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t larger(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* Returns 0 to `span`, the same for the same number. */
static int64_t spread(uint64_t jitter, int64_t span)
{
	return (int64_t)(jitter % ((uint64_t)span + 1));
}

/* It is due sooner by up to a twentieth, so that what was issued together is not renewed together. */
static int64_t due_by_rule(const struct schedule_state *s)
{
	int64_t life = s->not_after - s->not_before;
	int64_t before = lint_renew_before(life, s->renew_before);
	int64_t due = s->not_after - before - spread(s->jitter, before / 20);
	if (!s->gone_back)
		return due;
	int64_t later = larger(s->not_after - life / 3, s->published + UNDONE_AGAIN);
	return larger(due, smaller(later, s->not_after - life / 6));
}

/* A publication that lies ahead, since the clock was set back, holds nothing up. */
static int64_t due_by_advice(const struct schedule_state *s, int64_t now)
{
	if (s->published > now)
		return s->advised;
	return larger(s->advised, s->published + (s->gone_back ? UNDONE_AGAIN : REPLACED_AGAIN));
}

static bool follows_advice(const struct schedule_state *s, int64_t now)
{
	return s->advised && (!s->renew_before || due_by_advice(s, now) <= due_by_rule(s));
}

static bool is_missing(const struct schedule_state *s)
{
	return s->not_after <= s->not_before;
}

static int64_t renewal_due(const struct schedule_state *s, int64_t now)
{
	if (is_missing(s))
		return now;
	return follows_advice(s, now) ? due_by_advice(s, now) : due_by_rule(s);
}

static int64_t doubling(uint32_t failures)
{
	int64_t delay = BACKOFF_FIRST;
	for (uint32_t i = 1; i < failures && delay < BACKOFF_LAST; i++)
		delay *= 2;
	return smaller(delay, BACKOFF_LAST);
}

static int64_t with_jitter(int64_t delay, uint32_t failures, uint64_t jitter)
{
	return delay + spread(jitter >> (failures % 32), delay / 4);
}

/* Returns when the backoff ends, or 0 when there is none. */
static int64_t backoff_end(const struct schedule_state *s, int64_t now)
{
	if (!s->failures || !s->last_failure)
		return 0;
	int64_t delay = larger(doubling(s->failures), smaller(s->retry_after, RETRY_AFTER_MAX));
	delay = with_jitter(delay, s->failures, s->jitter);
	return s->last_failure > now + delay ? 0 : s->last_failure + delay;
}

int64_t schedule_due(const struct schedule_state *s, int64_t now)
{
	return larger(renewal_due(s, now), backoff_end(s, now));
}

const char *schedule_basis(const struct schedule_state *s, int64_t now)
{
	if (backoff_end(s, now) > renewal_due(s, now))
		return "backoff";
	if (is_missing(s))
		return "missing";
	if (follows_advice(s, now))
		return "ari";
	return s->renew_before ? "renew_before" : "rule";
}

int64_t schedule_retry(uint32_t failures, int64_t last, uint64_t jitter)
{
	return failures ? last + with_jitter(doubling(failures), failures, jitter) : last;
}
