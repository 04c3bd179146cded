/* Which of several authorities is asked, after everything that may have become of the others. */
#include "hub/daemon/acme/authority.h"
#include "lib/core/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW 1800000000LL
enum { HOUR = 3600, DAY = 24 * HOUR, NONE = 99 };

static const struct authority well = {.trouble = AUTHORITY_WELL};

static struct authority after(enum authority_trouble trouble, uint32_t failures, int64_t ago)
{
	return (struct authority){.trouble = trouble, .failures = failures, .last_failure = NOW - ago};
}

static void the_first_is_asked_while_it_may_issue(void **state)
{
	(void)state;
	const struct authority cases[] = {well, after(AUTHORITY_FAILED, 9, 60), after(AUTHORITY_DOWN, 1, 60),
		after(AUTHORITY_DOWN, AUTHORITY_DOWN_TRIES - 1, 60), after(AUTHORITY_LIMITS, 1, HOUR + 1)};
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct authority list[] = {cases[i], well};
		assert_int_equal(authority_choose(list, 2, NONE, false, NOW), 0);
	}
}

static void the_next_is_asked_when_it_may_not(void **state)
{
	(void)state;
	struct authority waits = after(AUTHORITY_LIMITS, 1, 2 * HOUR), held = after(AUTHORITY_LIMITS, 0, DAY);
	waits.retry_after = 3 * HOUR;
	held.held_until = NOW + 1;
	const struct authority cases[] = {after(AUTHORITY_DOWN, AUTHORITY_DOWN_TRIES, 60), waits, held,
		after(AUTHORITY_LIMITS, 1, 60), after(AUTHORITY_REFUSES, 1, 60), after(AUTHORITY_REFUSES, 1, 30 * DAY)};
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct authority list[] = {cases[i], well};
		assert_int_equal(authority_choose(list, 2, NONE, false, NOW), 1);
	}
}

static void a_short_life_waits_for_nobody(void **state)
{
	(void)state;
	const struct authority cases[] = {after(AUTHORITY_FAILED, 1, 60), after(AUTHORITY_DOWN, 1, 60)};
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct authority list[] = {cases[i], well};
		assert_int_equal(authority_choose(list, 2, NONE, false, NOW), 0);
		assert_int_equal(authority_choose(list, 2, NONE, true, NOW), 1);
	}
	assert_false(authority_life_is_short(NOW - 74, NOW + 26, NOW));
	assert_true(authority_life_is_short(NOW - 76, NOW + 24, NOW));
	assert_true(authority_life_is_short(NOW - 100, NOW - 1, NOW));
	assert_false(authority_life_is_short(0, 0, NOW));
}

static void an_order_that_has_begun_is_not_left(void **state)
{
	(void)state;
	const struct authority list[] = {well, after(AUTHORITY_FAILED, 2, 60), well};
	assert_int_equal(authority_choose(list, 3, 1, false, NOW), 1);
	assert_int_equal(authority_choose(list, 3, 1, true, NOW), 0);
	const struct authority refused[] = {after(AUTHORITY_DOWN, 3, 600), after(AUTHORITY_REFUSES, 1, 60), well};
	assert_int_equal(authority_choose(refused, 3, 1, false, NOW), 2);
}

static void they_take_turns_when_all_are_to_be_left(void **state)
{
	(void)state;
	struct authority list[] = {
		after(AUTHORITY_REFUSES, 1, 30), after(AUTHORITY_DOWN, 3, 60), after(AUTHORITY_LIMITS, 1, 90)};
	assert_int_equal(authority_choose(list, 2, NONE, false, NOW), 1);
	list[2].retry_after = DAY;
	assert_int_equal(authority_choose(list, 3, NONE, false, NOW), 1);
	list[1].last_failure = NOW;
	assert_int_equal(authority_choose(list, 3, NONE, false, NOW), 0);
	list[0].held_until = NOW + 2 * DAY;
	list[1].retry_after = 3 * DAY;
	assert_int_equal(authority_choose(list, 3, NONE, false, NOW), 2);
}

/* A clock that was set back must not keep one limited for as long. */
static void a_failure_that_lies_ahead_limits_nobody(void **state)
{
	(void)state;
	const struct authority list[] = {after(AUTHORITY_LIMITS, 1, -DAY), well};
	assert_int_equal(authority_choose(list, 2, NONE, false, NOW), 0);
}

/* Whatever has happened: one that is named is chosen, one that is well is preferred to all that come after it, and time
 * alone never moves the choice away from the first. */
static void any_history_has_one_choice(void **state)
{
	(void)state;
	unsigned seed = 1;
	for (int round = 0; round < 100000; round++) {
		struct authority list[4];
		size_t count = 1 + (size_t)rand_r(&seed) % COUNT(list);
		for (size_t i = 0; i < count; i++) {
			list[i] = after((enum authority_trouble)(rand_r(&seed) % 5), (uint32_t)rand_r(&seed) % 5,
				rand_r(&seed) % (2 * DAY));
			list[i].retry_after = rand_r(&seed) % 2 ? rand_r(&seed) % DAY : 0;
		}
		bool is_short = rand_r(&seed) % 2;
		size_t chosen = authority_choose(list, count, NONE, is_short, NOW);
		assert_true(chosen < count);
		for (size_t i = 0; i < count && i < chosen; i++)
			assert_int_not_equal(list[i].trouble, AUTHORITY_WELL);
		if (chosen == 0 && list[0].trouble != AUTHORITY_REFUSES && list[0].trouble != AUTHORITY_DOWN &&
			!is_short)
			assert_int_equal(authority_choose(list, count, NONE, false, NOW + 3 * DAY), 0);
	}
}

static void words_are_read_as_they_are_written(void **state)
{
	(void)state;
	for (int i = AUTHORITY_WELL; i <= AUTHORITY_REFUSES; i++)
		assert_int_equal(authority_trouble(authority_word((enum authority_trouble)i)), i);
	assert_int_equal(authority_trouble("no such word"), AUTHORITY_FAILED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_is_asked_while_it_may_issue),
		cmocka_unit_test(the_next_is_asked_when_it_may_not),
		cmocka_unit_test(a_short_life_waits_for_nobody),
		cmocka_unit_test(an_order_that_has_begun_is_not_left),
		cmocka_unit_test(they_take_turns_when_all_are_to_be_left),
		cmocka_unit_test(a_failure_that_lies_ahead_limits_nobody),
		cmocka_unit_test(any_history_has_one_choice),
		cmocka_unit_test(words_are_read_as_they_are_written),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
