/* Connections on an event loop: what happens when the kernel will not watch one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "lib/wire/conn.h"

struct seen {
	int closed, frames;
	struct error error;
};

static void on_frame(struct conn *c, const struct frame *frame, void *context)
{
	(void)c;
	(void)frame;
	((struct seen *)context)->frames++;
}

static void on_closed(struct conn *c, const struct error *err, void *context)
{
	struct seen *seen = context;
	seen->closed++;
	seen->error = *err;
	conn_free(c);
}

static const struct conn_handler handler = {on_frame, on_closed};

/* epoll refuses a regular file in the same way in which it refuses a user who has no watches left. */
static struct seen play_unwatchable(bool finish)
{
	struct seen seen = {0};
	struct event_base *base = event_base_new();
	FILE *file = tmpfile();
	assert_true(base && file);
	struct conn *c = conn_new(base, dup(fileno(file)), FRAMES_LOCAL, &handler, &seen);
	assert_int_equal(seen.closed, 0); /* its owner does not know of it yet, so it must not be told */
	if (finish) {
		conn_send(c, FRAME_MESSAGE, "{}", 2);
		conn_finish(c);
	}
	assert_int_equal(event_base_dispatch(base), 1);
	fclose(file);
	event_base_free(base);
	return seen;
}

static void one_that_cannot_be_watched_is_closed_with_the_reason(void **state)
{
	(void)state;
	struct seen seen = play_unwatchable(false);
	assert_int_equal(seen.closed, 1);
	assert_int_equal(seen.frames, 0);
	assert_non_null(strstr(seen.error.message, "cannot be watched"));
}

static void it_is_closed_once_whatever_its_owner_did_meanwhile(void **state)
{
	(void)state;
	assert_int_equal(play_unwatchable(true).closed, 1);
}

static void frames_come_until_the_end(void **state)
{
	(void)state;
	struct seen seen = {0};
	struct error err;
	int pair[2];
	struct event_base *base = event_base_new();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	conn_new(base, pair[1], FRAMES_LOCAL, &handler, &seen);
	assert_int_equal(frame_send(pair[0], FRAME_MESSAGE, "{}", 2, &err), 0);
	assert_int_equal(frame_send(pair[0], FRAME_MESSAGE, "{}", 2, &err), 0);
	close(pair[0]);
	assert_int_equal(event_base_dispatch(base), 1);
	assert_int_equal(seen.frames, 2);
	assert_int_equal(seen.closed, 1);
	assert_int_equal(seen.error.kind, ERROR_NONE);
	event_base_free(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_that_cannot_be_watched_is_closed_with_the_reason),
		cmocka_unit_test(it_is_closed_once_whatever_its_owner_did_meanwhile),
		cmocka_unit_test(frames_come_until_the_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
