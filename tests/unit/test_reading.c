/* How a daemon counts the readings of its configuration. */
#include "lib/wire/reading.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void the_first_answer_is_about_what_was_read_at_the_start(void **state)
{
	(void)state;
	struct reading r = {0};
	assert_false(reading_answered(&r, 3, NULL));
	assert_int_equal(r.number, 3);
	assert_string_equal(r.refused, "");
}

static void while_it_reads_it_has_no_number(void **state)
{
	(void)state;
	struct reading r = {0};
	reading_answered(&r, 1, NULL);
	reading_begin(&r);
	assert_int_equal(r.number, 0);
	assert_true(reading_answered(&r, 2, NULL));
	assert_int_equal(r.number, 0);
	reading_end(&r);
	assert_int_equal(r.number, 2);
}

static void what_the_root_half_has_refused_is_not_read(void **state)
{
	(void)state;
	struct reading r = {0};
	reading_answered(&r, 1, NULL);
	reading_begin(&r);
	assert_false(reading_answered(&r, 2, "line 7:\nnonsense"));
	assert_int_equal(r.number, 2);
	assert_null(strchr(r.refused, '\n'));
	/* The next one is accepted, and its reason is its own. */
	reading_begin(&r);
	assert_true(reading_answered(&r, 3, NULL));
	assert_string_equal(r.refused, "");
	reading_refuse(&r, "%s", "the port is taken");
	reading_end(&r);
	assert_int_equal(r.number, 3);
	assert_string_equal(r.refused, "the port is taken");
}

static void a_signal_to_the_daemon_alone_has_it_read(void **state)
{
	(void)state;
	struct reading r = {0};
	reading_answered(&r, 1, NULL);
	reading_begin(&r);
	assert_true(reading_answered(&r, 1, NULL));
	reading_end(&r);
	reading_begin(&r);
	reading_answered(&r, 2, "refused");
	reading_begin(&r);
	assert_true(reading_answered(&r, 2, "refused"));
}

static void it_is_told_and_taken(void **state)
{
	(void)state;
	struct error err;
	struct reading r = {.told = 5, .number = 5, .refused = "why"}, got;
	auto_json cJSON *o = cJSON_CreateObject(), *nothing = cJSON_CreateObject();
	reading_put(&r, o);
	assert_int_equal(reading_get(o, &got, &err), 0);
	assert_int_equal(got.number, 5);
	assert_string_equal(got.refused, "why");
	assert_int_equal(reading_get(nothing, &got, &err), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_answer_is_about_what_was_read_at_the_start),
		cmocka_unit_test(while_it_reads_it_has_no_number),
		cmocka_unit_test(what_the_root_half_has_refused_is_not_read),
		cmocka_unit_test(a_signal_to_the_daemon_alone_has_it_read),
		cmocka_unit_test(it_is_told_and_taken),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
