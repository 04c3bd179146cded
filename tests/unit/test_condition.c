/* When a person is told: once a condition has held, again after a while, and when it is over. Forty conditions at once
 * make one message. */
#include "lib/alert/condition.h"
#include "lib/core/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW 1800000000LL
#define HOUR 3600LL

static const struct condition_policy policy = {.hold = 300, .repeat = 24 * HOUR};

/* Runs one round in which these subjects, separated by blanks, are unreachable. The caller owns the notice. */
static struct condition_notice round_of(struct condition_book *b, const char *subjects, bool critical, int64_t now)
{
	auto_conditions struct conditions seen = {0};
	auto_free char *copy = mem_strdup(subjects);
	char *save = NULL;
	for (char *s = strtok_r(copy, " ", &save); s; s = strtok_r(NULL, " ", &save))
		conditions_add(&seen, CONDITION_UNREACHABLE, critical, s, "%s: connection refused", s);
	struct condition_notice out = {0};
	condition_round(b, &seen, &policy, now, &out);
	return out;
}

static void expect(struct condition_notice out, size_t count, enum condition_event event)
{
	assert_int_equal(out.count, count);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(out.told[i].event, event);
	condition_notice_release(&out);
}

static void it_is_told_once_it_has_held(void **state)
{
	(void)state;
	struct condition_book b = {0};
	expect(round_of(&b, "mx:25", true, NOW), 0, CONDITION_RAISED);
	assert_int_equal(condition_next(&b, &policy), NOW + 300);
	expect(round_of(&b, "mx:25", true, NOW + 299), 0, CONDITION_RAISED);
	expect(round_of(&b, "mx:25", true, NOW + 300), 1, CONDITION_RAISED);
	expect(round_of(&b, "mx:25", true, NOW + 400), 0, CONDITION_RAISED);
	condition_book_release(&b);
}

static void what_ends_before_it_was_told_is_never_told(void **state)
{
	(void)state;
	struct condition_book b = {0};
	expect(round_of(&b, "mx:25", true, NOW), 0, CONDITION_RAISED);
	expect(round_of(&b, "", true, NOW + 200), 0, CONDITION_RAISED);
	expect(round_of(&b, "mx:25", true, NOW + 310), 0, CONDITION_RAISED);
	condition_book_release(&b);
}

static void its_end_is_told_with_how_long_it_lasted(void **state)
{
	(void)state;
	struct condition_book b = {0};
	expect(round_of(&b, "mx:25", true, NOW), 0, CONDITION_RAISED);
	expect(round_of(&b, "mx:25", true, NOW + 300), 1, CONDITION_RAISED);
	struct condition_notice out = round_of(&b, "", true, NOW + 1000);
	assert_int_equal(out.count, 1);
	assert_int_equal(out.told[0].lasted, 1000);
	assert_string_equal(out.told[0].entry.subject, "mx:25");
	expect(out, 1, CONDITION_RESOLVED);
	assert_int_equal(b.count, 0);
	condition_book_release(&b);
}

static void what_still_holds_is_repeated(void **state)
{
	(void)state;
	struct condition_book b = {0};
	expect(round_of(&b, "mx:25", true, NOW), 0, CONDITION_RAISED);
	expect(round_of(&b, "mx:25", true, NOW + 300), 1, CONDITION_RAISED);
	expect(round_of(&b, "mx:25", true, NOW + 300 + 23 * HOUR), 0, CONDITION_REPEATED);
	expect(round_of(&b, "mx:25", true, NOW + 300 + 24 * HOUR), 1, CONDITION_REPEATED);
	condition_book_release(&b);
}

static void what_gets_worse_is_told_at_once(void **state)
{
	(void)state;
	struct condition_book b = {0};
	expect(round_of(&b, "mx:25", false, NOW), 0, CONDITION_RAISED);
	expect(round_of(&b, "mx:25", false, NOW + 300), 1, CONDITION_RAISED);
	expect(round_of(&b, "mx:25", true, NOW + 310), 1, CONDITION_WORSE);
	expect(round_of(&b, "mx:25", true, NOW + 320), 0, CONDITION_WORSE);
	condition_book_release(&b);
}

static void forty_that_go_down_together_are_one_message(void **state)
{
	(void)state;
	struct condition_book b = {0};
	auto_buf struct buf first = BUF_INIT(4096), all = BUF_INIT(4096);
	for (int i = 0; i < 40; i++) {
		buf_addf(&all, "mx%d:25 ", i);
		if (i < 20)
			buf_addf(&first, "mx%d:25 ", i);
	}
	expect(round_of(&b, buf_text(&first), true, NOW), 0, CONDITION_RAISED);
	expect(round_of(&b, buf_text(&all), true, NOW + 50), 0, CONDITION_RAISED);
	expect(round_of(&b, buf_text(&all), true, NOW + 300), 40, CONDITION_RAISED);
	expect(round_of(&b, "", true, NOW + 400), 40, CONDITION_RESOLVED);
	condition_book_release(&b);
}

static void one_subject_twice_in_a_round_is_one_condition(void **state)
{
	(void)state;
	struct condition_book b = {0};
	expect(round_of(&b, "mx:25 mx:25 mx:25", true, NOW), 0, CONDITION_RAISED);
	assert_int_equal(b.count, 1);
	condition_book_release(&b);
}

static void a_restart_neither_repeats_nor_forgets(void **state)
{
	(void)state;
	struct condition_book b = {0}, again;
	struct error err;
	expect(round_of(&b, "a:25 b:25", true, NOW), 0, CONDITION_RAISED);
	expect(round_of(&b, "a:25 b:25", true, NOW + 300), 2, CONDITION_RAISED);
	auto_json cJSON *record = condition_book_encode(&b);
	assert_int_equal(condition_book_decode(record, &again, &err), 0);
	expect(round_of(&again, "a:25 b:25", true, NOW + 400), 0, CONDITION_RAISED);
	struct condition_notice out = round_of(&again, "b:25", true, NOW + 500);
	assert_string_equal(out.told[0].entry.subject, "a:25");
	expect(out, 1, CONDITION_RESOLVED);
	condition_book_release(&b);
	condition_book_release(&again);
}

static void a_clock_set_back_makes_nobody_wait(void **state)
{
	(void)state;
	struct condition_book b = {0};
	expect(round_of(&b, "mx:25", true, NOW), 0, CONDITION_RAISED);
	expect(round_of(&b, "mx:25", true, NOW - 90 * 24 * HOUR), 0, CONDITION_RAISED);
	expect(round_of(&b, "mx:25", true, NOW - 90 * 24 * HOUR + 300), 1, CONDITION_RAISED);
	condition_book_release(&b);
}

static void a_damaged_record_is_an_empty_book(void **state)
{
	(void)state;
	struct condition_book b;
	struct error err;
	static const char text[] =
		"{\"conditions\":[{\"kind\":\"nonsense\",\"subject\":\"x\",\"text\":\"\",\"critical\":true,"
		"\"told_critical\":true,\"since\":1,\"told\":0}]}";
	auto_json cJSON *record = json_parse(text, strlen(text), &err);
	assert_int_equal(condition_book_decode(record, &b, &err), -1);
	assert_int_equal(b.count, 0);
	assert_null(b.entries);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_told_once_it_has_held),
		cmocka_unit_test(what_ends_before_it_was_told_is_never_told),
		cmocka_unit_test(its_end_is_told_with_how_long_it_lasted),
		cmocka_unit_test(what_still_holds_is_repeated),
		cmocka_unit_test(what_gets_worse_is_told_at_once),
		cmocka_unit_test(forty_that_go_down_together_are_one_message),
		cmocka_unit_test(one_subject_twice_in_a_round_is_one_condition),
		cmocka_unit_test(a_restart_neither_repeats_nor_forgets),
		cmocka_unit_test(a_clock_set_back_makes_nobody_wait),
		cmocka_unit_test(a_damaged_record_is_an_empty_book),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
