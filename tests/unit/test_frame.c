/* Frames: what a peer may send, and what it is told when it sends something else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "lib/core/frame.h"

static void put_header(struct buf *b, uint32_t length, uint8_t type)
{
	buf_put_u32(b, length);
	buf_put_u8(b, type);
}

static void what_is_encoded_is_decoded_however_it_arrives(void **state)
{
	(void)state;
	struct error err;
	struct frame frame;
	auto_buf struct buf b = BUF_INIT(1024);
	assert_int_equal(frame_encode(&b, FRAME_MESSAGE, "{}", 2), 0);
	for (size_t len = 0; len < b.len; len++)
		assert_int_equal(frame_decode(b.data, len, FRAMES_NETWORK, &frame, &err), 0);
	assert_int_equal(frame_decode(b.data, b.len, FRAMES_NETWORK, &frame, &err), (long)b.len);
	assert_int_equal(frame.type, FRAME_MESSAGE);
	assert_int_equal(frame.len, 2);
	assert_memory_equal(frame.data, "{}", 2);
}

static void a_length_over_the_cap_is_refused_by_its_header_alone(void **state)
{
	(void)state;
	struct error err;
	struct frame frame;
	auto_buf struct buf b = BUF_INIT(16);
	put_header(&b, FRAME_MESSAGE_MAX + 2, FRAME_MESSAGE);
	assert_int_equal(frame_decode(b.data, b.len, FRAMES_NETWORK, &frame, &err), -1);
	assert_non_null(strstr(err.message, "frame-length"));
	buf_reset(&b);
	put_header(&b, FRAME_MESSAGE_MAX + 1, FRAME_MESSAGE);
	assert_int_equal(frame_decode(b.data, b.len, FRAMES_NETWORK, &frame, &err), 0);
	buf_reset(&b);
	put_header(&b, 0xffffffff, FRAME_BUNDLE);
	assert_int_equal(frame_decode(b.data, b.len, FRAMES_NETWORK, &frame, &err), -1);
	buf_reset(&b);
	put_header(&b, 0, FRAME_MESSAGE);
	assert_int_equal(frame_decode(b.data, b.len, FRAMES_NETWORK, &frame, &err), -1);
}

static void a_type_that_is_not_allowed_here_is_refused(void **state)
{
	(void)state;
	struct error err;
	struct frame frame;
	for (unsigned type = 0; type < 256; type++) {
		auto_buf struct buf b = BUF_INIT(16);
		put_header(&b, 1, (uint8_t)type);
		bool allowed = type == FRAME_MESSAGE || type == FRAME_BUNDLE;
		assert_int_equal(frame_decode(b.data, b.len, FRAMES_NETWORK, &frame, &err), allowed ? 5 : -1);
		if (!allowed)
			assert_non_null(strstr(err.message, "frame-type"));
	}
}

static void a_stream_that_ends_inside_a_frame_is_an_error(void **state)
{
	(void)state;
	int pair[2];
	struct error err;
	struct frame frame;
	struct frame_stream stream;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(frame_send(pair[0], FRAME_MESSAGE, "whole", 5, &err), 0);
	assert_int_equal(write(pair[0], "\0\0\0\x09\x01half", 9), 9);
	close(pair[0]);
	frame_stream_init(&stream, pair[1], FRAMES_NETWORK);
	assert_int_equal(frame_receive(&stream, &frame, &err), 1);
	assert_memory_equal(frame.data, "whole", 5);
	assert_int_equal(frame_receive(&stream, &frame, &err), -1);
	assert_non_null(strstr(err.message, "inside a frame"));
	frame_stream_release(&stream);
	close(pair[1]);
}

static void a_stream_that_ends_between_frames_is_an_end(void **state)
{
	(void)state;
	int pair[2];
	struct error err;
	struct frame frame;
	struct frame_stream stream;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(frame_send(pair[0], FRAME_BUNDLE, "x", 1, &err), 0);
	close(pair[0]);
	frame_stream_init(&stream, pair[1], FRAMES_NETWORK);
	assert_int_equal(frame_receive(&stream, &frame, &err), 1);
	assert_int_equal(frame_receive(&stream, &frame, &err), 0);
	frame_stream_release(&stream);
	close(pair[1]);
}

/* The frame takes up the last byte that a stream has room for. */
static void the_largest_frame_comes_through(void **state)
{
	(void)state;
	struct error err;
	struct frame frame;
	struct frame_stream stream;
	static uint8_t data[FRAME_BUNDLE_MAX];
	FILE *file = tmpfile();
	assert_non_null(file);
	data[sizeof(data) - 1] = 7;
	assert_int_equal(frame_send(fileno(file), FRAME_BUNDLE, data, sizeof(data), &err), 0);
	assert_int_equal(lseek(fileno(file), 0, SEEK_SET), 0);
	frame_stream_init(&stream, fileno(file), FRAMES_NETWORK);
	assert_int_equal(frame_receive(&stream, &frame, &err), 1);
	assert_int_equal(frame.len, sizeof(data));
	assert_int_equal(frame.data[frame.len - 1], 7);
	assert_int_equal(frame_receive(&stream, &frame, &err), 0);
	frame_stream_release(&stream);
	fclose(file);
}

static void a_frame_that_does_not_fit_is_not_made(void **state)
{
	(void)state;
	struct error err;
	static const char data[FRAME_JOIN_MAX + 1];
	auto_buf struct buf small = BUF_INIT(8);
	auto_buf struct buf b = BUF_INIT(2 * FRAME_JOIN_MAX);
	assert_int_equal(frame_encode(&b, FRAME_JOIN, data, sizeof(data)), -1);
	assert_int_equal(frame_encode(&b, FRAME_JOIN, data, sizeof(data) - 1), 0);
	assert_int_equal(frame_encode(&b, FRAME_RECORD, data, 1), 0);
	assert_int_equal(frame_encode(&b, FRAME_FILES, data, 1), 0);
	assert_int_equal(frame_encode(&b, (enum frame_type)31, data, 1), -1);
	assert_int_equal(frame_encode(&small, FRAME_MESSAGE, data, 8), -1);
	assert_int_equal(frame_send(-1, FRAME_JOIN, data, sizeof(data), &err), -1);
	assert_non_null(strstr(err.message, "too long for its type"));
}

/* From its third alarm on, this lets a test go on that would be blocked for ever. */
static int alarms, far_side;
static bool alarm_reads;

static void on_alarm(int number)
{
	static char sink[1 << 20];
	(void)number;
	if (++alarms < 3)
		return;
	ssize_t moved = alarm_reads ? read(far_side, sink, sizeof(sink)) : write(far_side, "\0\0\0\x02\x01!", 6);
	(void)moved;
}

static void alarm_every(suseconds_t microseconds)
{
	const struct itimerval often = {
		.it_value = {.tv_usec = microseconds}, .it_interval = {.tv_usec = microseconds}};
	const struct sigaction act = {.sa_handler = microseconds ? on_alarm : SIG_DFL};
	alarms = microseconds ? 0 : alarms;
	if (microseconds)
		assert_int_equal(sigaction(SIGALRM, &act, NULL), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
	if (!microseconds)
		assert_int_equal(sigaction(SIGALRM, &act, NULL), 0);
}

static void a_signal_neither_cuts_a_frame_nor_ends_the_wait_for_one(void **state)
{
	(void)state;
	int pair[2], size = 4096;
	struct error err;
	struct frame frame;
	struct frame_stream stream;
	static const char data[FRAME_BUNDLE_MAX];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	far_side = pair[1];
	alarm_reads = true;
	alarm_every(2000);
	assert_int_equal(frame_send(pair[0], FRAME_BUNDLE, data, sizeof(data), &err), 0);
	alarm_every(0);
	assert_true(alarms >= 3);
	while (recv(pair[1], &err, sizeof(err), MSG_DONTWAIT) > 0)
		;
	far_side = pair[0];
	alarm_reads = false;
	frame_stream_init(&stream, pair[1], FRAMES_NETWORK);
	alarm_every(2000);
	assert_int_equal(frame_receive(&stream, &frame, &err), 1);
	alarm_every(0);
	assert_memory_equal(frame.data, "!", 1);
	frame_stream_release(&stream);
	close(pair[0]);
	close(pair[1]);
}

static void a_descriptor_that_fails_is_told_from_one_that_ends(void **state)
{
	(void)state;
	int pair[2];
	struct error err;
	struct frame frame;
	struct frame_stream stream;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	frame_stream_init(&stream, pair[1], FRAMES_NETWORK);
	assert_int_equal(frame_fill(&stream, &err), 1); /* nothing has come yet */
	/* A peer that leaves with something unread resets the connection; that is an ordinary end for whoever has no
	 * frame half read. */
	assert_int_equal(write(pair[1], "x", 1), 1);
	close(pair[0]);
	assert_int_equal(frame_fill(&stream, &err), 0);
	close(pair[1]);
	stream.fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(frame_receive(&stream, &frame, &err), -1);
	assert_non_null(strstr(err.message, "cannot read a frame"));
	assert_int_equal(frame_send(stream.fd, FRAME_MESSAGE, "x", 1, &err), -1);
	assert_non_null(strstr(err.message, "cannot send a frame"));
	close(stream.fd);
	frame_stream_release(&stream);
}

static void a_frame_that_is_not_allowed_ends_a_stream(void **state)
{
	(void)state;
	int pair[2];
	struct error err;
	struct frame frame;
	struct frame_stream stream;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(frame_send(pair[0], FRAME_FILES, "x", 1, &err), 0);
	frame_stream_init(&stream, pair[1], FRAMES_NETWORK);
	assert_int_equal(frame_receive(&stream, &frame, &err), -1);
	frame_stream_release(&stream);
	close(pair[0]);
	close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_encoded_is_decoded_however_it_arrives),
		cmocka_unit_test(a_length_over_the_cap_is_refused_by_its_header_alone),
		cmocka_unit_test(a_type_that_is_not_allowed_here_is_refused),
		cmocka_unit_test(a_stream_that_ends_inside_a_frame_is_an_error),
		cmocka_unit_test(a_stream_that_ends_between_frames_is_an_end),
		cmocka_unit_test(the_largest_frame_comes_through),
		cmocka_unit_test(a_frame_that_does_not_fit_is_not_made),
		cmocka_unit_test(a_signal_neither_cuts_a_frame_nor_ends_the_wait_for_one),
		cmocka_unit_test(a_descriptor_that_fails_is_told_from_one_that_ends),
		cmocka_unit_test(a_frame_that_is_not_allowed_ends_a_stream),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
