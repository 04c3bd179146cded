/* Frames: what a peer may send, and what it is told when it sends something else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sys/socket.h>
#include <unistd.h>

#include "lib/frame.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_encoded_is_decoded_however_it_arrives),
		cmocka_unit_test(a_length_over_the_cap_is_refused_by_its_header_alone),
		cmocka_unit_test(a_type_that_is_not_allowed_here_is_refused),
		cmocka_unit_test(a_stream_that_ends_inside_a_frame_is_an_error),
		cmocka_unit_test(a_stream_that_ends_between_frames_is_an_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
