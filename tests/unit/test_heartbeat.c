/* When a root half takes its daemon for one that hangs. */
#include "lib/core/heartbeat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static int ends[2]; /* what the daemon says, and where it is read */

static int open_pipe(void **state)
{
	(void)state;
	return pipe(ends);
}

static int close_pipe(void **state)
{
	(void)state;
	close(ends[0]);
	return close(ends[1]);
}

static void a_daemon_that_speaks_lives(void **state)
{
	(void)state;
	struct heartbeat h;
	heartbeat_heard(&h, 1000);
	for (int64_t now = 1000; now < 100 * (int64_t)HEARTBEAT_MS; now += HEARTBEAT_MS) {
		assert_false(heartbeat_stopped(&h, ends[0], now));
		heartbeat_heard(&h, now);
		assert_int_equal(heartbeat_due(&h), now + HEARTBEAT_SILENT_MS);
	}
}

static void one_that_is_silent_is_doubted_and_then_ended(void **state)
{
	(void)state;
	struct heartbeat h;
	heartbeat_heard(&h, 1000);
	assert_false(heartbeat_stopped(&h, ends[0], 1000 + HEARTBEAT_SILENT_MS - 1));
	assert_false(heartbeat_stopped(&h, ends[0], 1000 + HEARTBEAT_SILENT_MS));
	assert_int_equal(heartbeat_due(&h), 1000 + HEARTBEAT_SILENT_MS + HEARTBEAT_DOUBT_MS);
	assert_false(heartbeat_stopped(&h, ends[0], heartbeat_due(&h) - 1));
	assert_true(heartbeat_stopped(&h, ends[0], heartbeat_due(&h)));
}

static void a_word_in_time_ends_the_doubt(void **state)
{
	(void)state;
	struct heartbeat h;
	heartbeat_heard(&h, 1000);
	const int64_t late = 1000 + HEARTBEAT_SILENT_MS;
	assert_false(heartbeat_stopped(&h, ends[0], late));
	heartbeat_heard(&h, late + 1);
	assert_false(heartbeat_stopped(&h, ends[0], late + HEARTBEAT_DOUBT_MS));
	assert_int_equal(heartbeat_due(&h), late + 1 + HEARTBEAT_SILENT_MS);
}

/* The root half was at a hook for long, and has not come to read what it was told meanwhile. */
static void what_waits_to_be_read_counts(void **state)
{
	(void)state;
	struct heartbeat h;
	heartbeat_heard(&h, 1000);
	const int64_t late = 1000 + 2 * (int64_t)HEARTBEAT_SILENT_MS;
	assert_int_equal(write(ends[1], "x", 1), 1);
	assert_false(heartbeat_stopped(&h, ends[0], late));
	assert_int_equal(heartbeat_due(&h), late + HEARTBEAT_SILENT_MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_daemon_that_speaks_lives, open_pipe, close_pipe),
		cmocka_unit_test_setup_teardown(one_that_is_silent_is_doubted_and_then_ended, open_pipe, close_pipe),
		cmocka_unit_test_setup_teardown(a_word_in_time_ends_the_doubt, open_pipe, close_pipe),
		cmocka_unit_test_setup_teardown(what_waits_to_be_read_counts, open_pipe, close_pipe),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
