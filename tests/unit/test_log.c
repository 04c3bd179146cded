/* The pairs of a log line: text from elsewhere stays one value, whatever it says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/core/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define assert_pairs(expected, ...) \
	do { \
		char text[256]; \
		log_pairs(text, sizeof(text), __VA_ARGS__); \
		assert_string_equal(text, expected); \
	} while (0)

static void pairs_are_what_the_format_says(void **state)
{
	(void)state;
	assert_pairs("agent=mail state=verified", "agent=%s state=%s", "mail", "verified");
	assert_pairs("a=-1 b=4294967295 c=-9000000000 d=18446744073709551615", "a=%d b=%u c=%lld d=%zu", -1, UINT32_MAX,
		-9000000000LL, SIZE_MAX);
	assert_pairs("skew=-300s", "skew=%" PRId64 "s", (int64_t)-300);
	assert_pairs("reason=\"a longer text\"", "reason=\"%s\"", "a longer text");
	assert_pairs("reason=\"abc\"", "reason=\"%.3s\"", "abcdef");
}

static void a_value_cannot_end_itself(void **state)
{
	(void)state;
	assert_pairs("reason=\"x' agent='evil\" agent=mail", "reason=\"%s\" agent=%s", "x\" agent=\"evil", "mail");
	assert_pairs("what=\"x agent=evil\" agent=mail", "what=%s agent=%s", "x agent=evil", "mail");
	assert_pairs("what=\"\" agent=mail", "what=%s agent=%s", "", "mail");
	assert_pairs("what=\"a'b\"", "what=%s", "a\"b");
	assert_pairs("reason=\"a event=forged\"", "reason=\"%s\"", "a\nevent=forged");
	assert_pairs("what=\"a b?\"", "what=%s", "a\nb\033");
}

static void a_line_that_is_cut_still_ends_its_text(void **state)
{
	(void)state;
	char text[16];
	log_pairs(text, sizeof(text), "reason=\"%s\"", "what is much too long");
	assert_string_equal(text, "reason=\"what i\"");
	log_pairs(text, sizeof(text), "what=%s", "what is much too long");
	assert_string_equal(text, "what=\"what is \"");
	log_pairs(text, sizeof(text), "what=%s", "whatismuchtoolong");
	assert_string_equal(text, "what=whatismuch");
}

static void the_journal_is_recognised_by_the_stream_that_it_gave(void **state)
{
	(void)state;
	struct stat st;
	char stream[64];
	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	assert_true(log_to_journal(stream, STDERR_FILENO));
	assert_false(log_to_journal("1:2", STDERR_FILENO)); /* standard error was sent elsewhere meanwhile */
	assert_false(log_to_journal("", STDERR_FILENO));
	assert_false(log_to_journal(NULL, STDERR_FILENO));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pairs_are_what_the_format_says),
		cmocka_unit_test(a_value_cannot_end_itself),
		cmocka_unit_test(a_line_that_is_cut_still_ends_its_text),
		cmocka_unit_test(the_journal_is_recognised_by_the_stream_that_it_gave),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
