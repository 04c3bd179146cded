/* What the schedule promises, for certificates with the lifetimes that authorities give today. */
#include "hub/daemon/acme/schedule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define HOUR 3600LL
#define DAY (24 * HOUR)
#define START 1800000000LL

static struct schedule_state issued(int64_t lifetime)
{
	return (struct schedule_state){.not_before = START, .not_after = START + lifetime};
}

static void nothing_published_is_due_now(void **state)
{
	(void)state;
	struct schedule_state s = {0};
	assert_true(schedule_due(&s, START) <= START);
}

static void ninety_days_are_renewed_with_a_third_left(void **state)
{
	(void)state;
	struct schedule_state s = issued(90 * DAY);
	assert_int_equal(schedule_due(&s, START), START + 60 * DAY);
}

static void forty_five_days_are_renewed_with_a_third_left(void **state)
{
	(void)state;
	struct schedule_state s = issued(45 * DAY);
	assert_int_equal(schedule_due(&s, START), START + 30 * DAY);
}

static void a_hundred_and_sixty_hours_are_renewed_at_half(void **state)
{
	(void)state;
	struct schedule_state s = issued(160 * HOUR);
	assert_int_equal(schedule_due(&s, START), START + 80 * HOUR);
}

static void what_is_configured_counts(void **state)
{
	(void)state;
	struct schedule_state s = issued(90 * DAY);
	s.renew_before = 20 * DAY;
	assert_int_equal(schedule_due(&s, START), START + 70 * DAY);
}

static void a_setting_longer_than_the_lifetime_does_not_renew_for_ever(void **state)
{
	(void)state;
	struct schedule_state s = issued(160 * HOUR);
	s.renew_before = 30 * DAY;
	int64_t due = schedule_due(&s, START);
	assert_true(due > START + 53 * HOUR - 1);
	assert_true(due < START + 54 * HOUR);
}

static void jitter_spreads_a_day_and_a_half_and_only_sooner(void **state)
{
	(void)state;
	struct schedule_state s = issued(90 * DAY);
	int64_t lowest = START + 90 * DAY, highest = 0;
	for (uint64_t i = 0; i < 10000; i++) {
		s.jitter = i * 0x9e3779b97f4a7c15u;
		int64_t due = schedule_due(&s, START);
		lowest = due < lowest ? due : lowest;
		highest = due > highest ? due : highest;
	}
	assert_true(highest <= START + 60 * DAY);
	assert_true(lowest >= START + 60 * DAY - 36 * HOUR);
	assert_true(highest - lowest > 34 * HOUR);
}

static void failures_wait_a_minute_doubling_to_six_hours(void **state)
{
	(void)state;
	static const int64_t expected[] = {60, 120, 240, 480, 960, 1920, 3840, 7680, 15360, 21600, 21600, 21600};
	for (uint32_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		struct schedule_state s = {.failures = i + 1, .last_failure = START};
		assert_int_equal(schedule_due(&s, START), START + expected[i]);
		s.jitter = UINT64_MAX / 3;
		int64_t due = schedule_due(&s, START);
		assert_true(due >= START + expected[i]);
		assert_true(due <= START + expected[i] + expected[i] / 4);
	}
	struct schedule_state many = {.failures = UINT32_MAX, .last_failure = START};
	assert_int_equal(schedule_due(&many, START), START + 21600);
}

static void a_servers_retry_after_is_waited_for_up_to_a_day(void **state)
{
	(void)state;
	struct schedule_state s = {.failures = 1, .last_failure = START, .retry_after = 3 * HOUR};
	assert_int_equal(schedule_due(&s, START), START + 3 * HOUR);
	s.retry_after = 1000000000000;
	assert_int_equal(schedule_due(&s, START), START + DAY);
	s.retry_after = -1;
	assert_int_equal(schedule_due(&s, START), START + 60);
}

static void a_failed_renewal_before_its_time_does_not_hurry_the_next(void **state)
{
	(void)state;
	struct schedule_state s = issued(90 * DAY);
	s.failures = 1;
	s.last_failure = START + DAY; /* an operator has asked for a renewal since */
	assert_int_equal(schedule_due(&s, START + DAY), START + 60 * DAY);
}

static void a_clock_set_back_does_not_stop_the_retries(void **state)
{
	(void)state;
	struct schedule_state s = {.failures = 3, .last_failure = START};
	int64_t now = START - 90 * DAY;
	assert_true(schedule_due(&s, now) <= now);
	now = START - 5; /* a small step only makes the wait a little longer */
	assert_int_equal(schedule_due(&s, now), START + 240);
}

static void a_clock_set_back_renews_nothing(void **state)
{
	(void)state;
	struct schedule_state s = issued(90 * DAY);
	assert_true(schedule_due(&s, START - 90 * DAY) > START);
}

static void a_clock_set_forward_keeps_the_backoff(void **state)
{
	(void)state;
	struct schedule_state s = issued(90 * DAY);
	int64_t now = START + 150 * DAY;
	assert_true(schedule_due(&s, now) <= now);
	s.failures = 4;
	s.last_failure = now;
	assert_int_equal(schedule_due(&s, now), now + 480);
}

/* From 2026-01-15 12:00:00 UTC on, each lifetime's dates are written out, so that they can be looked up. */
static void the_three_lifetimes_of_today_by_their_dates(void **state)
{
	(void)state;
	const int64_t noon = 1768478400;
	static const struct {
		int64_t lifetime, due;
	} rows[] = {
		{160 * HOUR, 1768766400}, /* expires 2026-01-22 04:00; due 2026-01-18 20:00 */
		{45 * DAY, 1771070400},   /* expires 2026-03-01 12:00; due 2026-02-14 12:00 */
		{90 * DAY, 1773662400},   /* expires 2026-04-15 12:00; due 2026-03-16 12:00 */
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct schedule_state s = {.not_before = noon, .not_after = noon + rows[i].lifetime};
		assert_int_equal(schedule_due(&s, noon), rows[i].due);
		assert_string_equal(schedule_basis(&s, noon), "rule");
	}
}

static void the_authoritys_advice_comes_first(void **state)
{
	(void)state;
	struct schedule_state s = issued(90 * DAY);
	s.published = START;
	s.advised = START + 70 * DAY;
	assert_int_equal(schedule_due(&s, START + DAY), START + 70 * DAY);
	assert_string_equal(schedule_basis(&s, START + DAY), "ari");
	s.advised = START + 10 * DAY;
	assert_int_equal(schedule_due(&s, START + DAY), START + 10 * DAY);
}

static void a_configured_renew_before_that_is_sooner_counts(void **state)
{
	(void)state;
	struct schedule_state s = issued(90 * DAY);
	s.published = START;
	s.advised = START + 70 * DAY;
	s.renew_before = 40 * DAY;
	assert_int_equal(schedule_due(&s, START + DAY), START + 50 * DAY);
	assert_string_equal(schedule_basis(&s, START + DAY), "renew_before");
	s.advised = START + 2 * DAY;
	assert_int_equal(schedule_due(&s, START + DAY), START + 2 * DAY);
	assert_string_equal(schedule_basis(&s, START + DAY), "ari");
}

static void advice_in_the_past_means_now_but_once_an_hour(void **state)
{
	(void)state;
	struct schedule_state s = issued(90 * DAY);
	s.advised = START - 5 * DAY;
	s.published = START;
	assert_true(schedule_due(&s, START + 3 * DAY) <= START + 3 * DAY);
	int64_t now = START + 3 * DAY;
	s.published = now; /* it was replaced, and the advice still says the same */
	assert_int_equal(schedule_due(&s, now), now + HOUR);
	assert_true(schedule_due(&s, now + HOUR) <= now + HOUR);
	s.published = now + 90 * DAY; /* the clock was set back */
	assert_true(schedule_due(&s, now) <= now);
}

static void backoff_holds_advice_back(void **state)
{
	(void)state;
	struct schedule_state s = issued(90 * DAY);
	s.advised = START;
	s.published = START - DAY;
	s.failures = 1;
	s.last_failure = START + DAY;
	s.retry_after = 2 * HOUR;
	assert_int_equal(schedule_due(&s, START + DAY), START + DAY + 2 * HOUR);
	assert_string_equal(schedule_basis(&s, START + DAY), "backoff");
}

/* Otherwise each renewal that on_failure rolls back would order the next one, as fast as it fails. */
static void what_was_gone_back_to_is_not_renewed_at_once(void **state)
{
	(void)state;
	struct schedule_state s = issued(90 * DAY);
	s.gone_back = true;
	s.renew_before = 59 * DAY;
	s.published = START + 40 * DAY;
	assert_int_equal(schedule_due(&s, s.published), START + 60 * DAY);
	s.published = START + 65 * DAY;
	assert_int_equal(schedule_due(&s, s.published), s.published + DAY);
	s.advised = START + 60 * DAY;
	assert_int_equal(schedule_due(&s, s.published), s.published + DAY);
	s.advised = 0;
	s.published = START + 74 * DAY + DAY / 2;
	assert_int_equal(schedule_due(&s, s.published), START + 75 * DAY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_published_is_due_now),
		cmocka_unit_test(ninety_days_are_renewed_with_a_third_left),
		cmocka_unit_test(forty_five_days_are_renewed_with_a_third_left),
		cmocka_unit_test(a_hundred_and_sixty_hours_are_renewed_at_half),
		cmocka_unit_test(what_is_configured_counts),
		cmocka_unit_test(a_setting_longer_than_the_lifetime_does_not_renew_for_ever),
		cmocka_unit_test(jitter_spreads_a_day_and_a_half_and_only_sooner),
		cmocka_unit_test(failures_wait_a_minute_doubling_to_six_hours),
		cmocka_unit_test(a_servers_retry_after_is_waited_for_up_to_a_day),
		cmocka_unit_test(a_failed_renewal_before_its_time_does_not_hurry_the_next),
		cmocka_unit_test(a_clock_set_back_does_not_stop_the_retries),
		cmocka_unit_test(a_clock_set_back_renews_nothing),
		cmocka_unit_test(a_clock_set_forward_keeps_the_backoff),
		cmocka_unit_test(the_three_lifetimes_of_today_by_their_dates),
		cmocka_unit_test(the_authoritys_advice_comes_first),
		cmocka_unit_test(a_configured_renew_before_that_is_sooner_counts),
		cmocka_unit_test(advice_in_the_past_means_now_but_once_an_hour),
		cmocka_unit_test(backoff_holds_advice_back),
		cmocka_unit_test(what_was_gone_back_to_is_not_renewed_at_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
