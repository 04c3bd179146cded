#include "hub/schedule.h"

enum {
	HOUR = 3600,
	DAY = 24 * HOUR,
	SHORT_LIFETIME = 10 * DAY,
	BACKOFF_FIRST = 60,
	BACKOFF_LAST = 6 * HOUR,
	RETRY_AFTER_MAX = DAY,
};

static int64_t smaller(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t larger(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* 0 … span, the same for the same number. */
static int64_t spread(uint64_t jitter, int64_t span)
{
	return (int64_t)(jitter % ((uint64_t)span + 1));
}

/* How long before its end a certificate is renewed. What was configured for 90 days must not make one of 160
 * hours due as soon as it is issued, so a third of each life is always used. */
static int64_t renew_before(const struct schedule_state *s)
{
	int64_t lifetime = s->not_after - s->not_before;
	if (s->renew_before > 0)
		return smaller(s->renew_before, lifetime - lifetime / 3);
	return lifetime < SHORT_LIFETIME ? lifetime / 2 : lifetime / 3;
}

/* Sooner by up to a twentieth, so that what was issued together is not renewed together. */
static int64_t renewal_due(const struct schedule_state *s, int64_t now)
{
	if (s->not_after <= s->not_before)
		return now;
	int64_t before = renew_before(s);
	return s->not_after - before - spread(s->jitter, before / 20);
}

static int64_t backoff(const struct schedule_state *s)
{
	int64_t delay = BACKOFF_FIRST;
	for (uint32_t i = 1; i < s->failures && delay < BACKOFF_LAST; i++)
		delay *= 2;
	delay = smaller(delay, BACKOFF_LAST);
	delay = larger(delay, smaller(s->retry_after, RETRY_AFTER_MAX));
	return delay + spread(s->jitter >> (s->failures % 32), delay / 4);
}

int64_t schedule_due(const struct schedule_state *s, int64_t now)
{
	int64_t due = renewal_due(s, now);
	if (!s->failures || !s->last_failure)
		return due;
	int64_t delay = backoff(s);
	if (s->last_failure > now + delay)
		return due;
	return larger(due, s->last_failure + delay);
}
