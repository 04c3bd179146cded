/* When an agent tries again, and which of its hubs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/daemon/backoff.h"

static void the_window_doubles_to_five_minutes(void **state)
{
	(void)state;
	static const int64_t windows[] = {1000, 2000, 4000, 8000, 16000, 32000, 64000, 128000, 256000, 300000, 300000};
	struct backoff b;
	backoff_init(&b, 1);
	for (size_t i = 0; i < sizeof(windows) / sizeof(windows[0]); i++) {
		backoff_failed(&b, 0, 0);
		assert_int_equal(backoff_delay(&b, 0, 0), 0);
		assert_int_equal(backoff_delay(&b, 0, (uint32_t)windows[i]), windows[i]);
		assert_int_equal(backoff_delay(&b, 0, (uint32_t)windows[i] + 1), 0);
	}
	backoff_lasted(&b);
	assert_int_equal(backoff_delay(&b, 0, 1000), 1000);
	assert_int_equal(backoff_delay(&b, 0, 1001), 0);
}

static void a_hub_that_welcomes_and_closes_is_met_every_few_seconds(void **state)
{
	(void)state;
	struct backoff b;
	backoff_init(&b, 1);
	for (int i = 0; i < 20; i++)
		backoff_failed(&b, 0, 0);
	assert_int_equal(backoff_delay(&b, 0, 300000), 300000);
	backoff_welcomed(&b);
	backoff_failed(&b, 0, 0);
	assert_int_equal(backoff_delay(&b, 0, 4000), 4000);
	assert_int_equal(backoff_delay(&b, 0, 4001), 0);
}

static void hubs_take_turns_before_the_window_grows(void **state)
{
	(void)state;
	struct backoff b;
	backoff_init(&b, 2);
	assert_int_equal(b.hub, 0);
	backoff_failed(&b, 0, 0);
	assert_int_equal(b.hub, 1);
	backoff_failed(&b, 0, 0);
	assert_int_equal(b.hub, 0);
	assert_int_equal(backoff_delay(&b, 0, 1000), 1000);
	assert_int_equal(backoff_delay(&b, 0, 1001), 0);
	backoff_failed(&b, 0, 0);
	backoff_failed(&b, 0, 0);
	assert_int_equal(backoff_delay(&b, 0, 2000), 2000);
}

static void after_a_connection_that_has_lasted_the_first_hub_is_tried_first(void **state)
{
	(void)state;
	struct backoff b;
	backoff_init(&b, 3);
	backoff_failed(&b, 0, 0);
	backoff_welcomed(&b); /* the second hub lets it in */
	backoff_lasted(&b);
	assert_int_equal(b.hub, 0);
	assert_int_equal(backoff_delay(&b, 0, 1000), 1000);
	assert_int_equal(backoff_delay(&b, 0, 1001), 0);
	backoff_failed(&b, 0, 0);
	assert_int_equal(b.hub, 1); /* when the first one is away, the second is next */
}

static void a_refused_login_is_tried_three_times_in_ten_minutes_at_most(void **state)
{
	(void)state;
	struct backoff b;
	int64_t tries[40];
	int64_t now = 5000;
	backoff_init(&b, 1);
	for (int i = 0; i < 40; i++) {
		tries[i] = now;
		backoff_failed(&b, 1, now);
		now += backoff_delay(&b, now, 0); /* the luckiest jitter */
		assert_true(now - tries[i] >= 200000);
		if (i >= 3)
			assert_true(tries[i] - tries[i - 3] >= 600000);
	}
}

static void a_person_may_hurry_it_but_not_into_a_ban(void **state)
{
	(void)state;
	struct backoff b;
	backoff_init(&b, 1);
	backoff_failed(&b, 1, 1000);
	assert_int_equal(backoff_delay_at_once(&b, 2000), 0);
	backoff_failed(&b, 1, 2000);
	assert_int_equal(backoff_delay_at_once(&b, 3000), 0);
	backoff_failed(&b, 1, 3000);
	assert_int_equal(backoff_delay_at_once(&b, 4000), 597000);
	assert_int_equal(backoff_delay(&b, 4000, 0), 597000);
	backoff_welcomed(&b);
	assert_int_equal(backoff_delay_at_once(&b, 4000), 0);
}

static void one_hub_s_refusal_does_not_delay_the_other(void **state)
{
	(void)state;
	struct backoff b;
	backoff_init(&b, 2);
	backoff_failed(&b, 1, 0);
	assert_int_equal(backoff_delay(&b, 0, 0), 0);
	backoff_failed(&b, 0, 0);
	assert_int_equal(backoff_delay(&b, 0, 0), 200000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_window_doubles_to_five_minutes),
		cmocka_unit_test(a_hub_that_welcomes_and_closes_is_met_every_few_seconds),
		cmocka_unit_test(hubs_take_turns_before_the_window_grows),
		cmocka_unit_test(after_a_connection_that_has_lasted_the_first_hub_is_tried_first),
		cmocka_unit_test(a_refused_login_is_tried_three_times_in_ten_minutes_at_most),
		cmocka_unit_test(a_person_may_hurry_it_but_not_into_a_ban),
		cmocka_unit_test(one_hub_s_refusal_does_not_delay_the_other),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
