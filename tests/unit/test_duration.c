/* How durations are written in a configuration. */
#include "lib/config/value.h"
#include "lib/core/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void durations_have_one_unit(void **state)
{
	(void)state;
	int64_t seconds = -1;
	assert_true(duration_parse("0s", &seconds));
	assert_int_equal(seconds, 0);
	assert_true(duration_parse("15m", &seconds));
	assert_int_equal(seconds, 900);
	assert_true(duration_parse("7d", &seconds));
	assert_int_equal(seconds, 604800);
	static const char *const wrong[] = {"", "s", "10", "1h30m", "-1s", "1 s", "1S", "1000000000s", "1w"};
	for (size_t i = 0; i < COUNT(wrong); i++)
		assert_false(duration_parse(wrong[i], &seconds));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(durations_have_one_unit)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
