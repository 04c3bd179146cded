/* Descriptors passed over sockets, with fixed records beside them: the root half gives them to the daemon, and the
 * daemon asks with them the process that starts its workers. Anything else is refused, and no descriptor of it stays
 * open. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hub/common/child.h"
#include "hub/common/spawn.h"
#include "lib/core/mem.h"
#include "lib/core/pass.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct ends {
	int a, b;
	struct error err;
};

static int setup(void **state)
{
	static struct ends e;
	int pair[2];
	signal(SIGPIPE, SIG_IGN);
	if (pass_pair(pair, &e.err) < 0)
		return -1;
	e.a = pair[0];
	e.b = pair[1];
	*state = &e;
	return 0;
}

static int teardown(void **state)
{
	struct ends *e = *state;
	close(e->a);
	return close(e->b);
}

/* Returns the lowest free descriptor: when it is the same before and after, nothing was left open. */
static int free_descriptor(void)
{
	int fd = dup(0);
	close(fd);
	return fd;
}

static void a_descriptor_arrives_as_it_was(void **state)
{
	struct ends *e = *state;
	struct stat sent, got;
	char data[8];
	int fd, file = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	assert_int_equal(pass_receive(e->b, data, sizeof(data), &fd, &e->err), PASS_NONE);
	assert_int_equal(pass_send(e->a, "one", 3, file, &e->err), 0);
	assert_int_equal(pass_send(e->a, "second", 6, -1, &e->err), 0);
	assert_int_equal(pass_receive(e->b, data, sizeof(data), &fd, &e->err), 3);
	assert_memory_equal(data, "one", 3);
	assert_true(fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC);
	assert_int_equal(fstat(file, &sent), 0);
	assert_int_equal(fstat(fd, &got), 0);
	assert_true(sent.st_rdev == got.st_rdev && sent.st_ino == got.st_ino);
	close(fd);
	close(file);
	assert_int_equal(pass_receive(e->b, data, sizeof(data), &fd, &e->err), 6);
	assert_int_equal(fd, -1);
}

static void what_is_too_long_leaves_nothing_open(void **state)
{
	struct ends *e = *state;
	char data[3];
	int fd = 7, before = free_descriptor();
	assert_int_equal(pass_send(e->a, "longer", 6, 0, &e->err), 0);
	assert_int_equal(pass_receive(e->b, data, sizeof(data), &fd, &e->err), -1);
	assert_int_equal(fd, -1);
	assert_int_equal(free_descriptor(), before);
}

static void an_end_that_has_gone_is_told(void **state)
{
	struct ends *e = *state;
	char data[8];
	int fd;
	close(e->a);
	assert_int_equal(pass_receive(e->b, data, sizeof(data), &fd, &e->err), 0);
	assert_int_equal(pass_send(e->b, "x", 1, -1, &e->err), -1);
	assert_int_equal(errno, EPIPE);
	e->a = dup(0);
}

static void nobody_waits_for_one_who_does_not_read(void **state)
{
	struct ends *e = *state;
	char block[4096] = "";
	int sent = 0;
	while (pass_send(e->a, block, sizeof(block), -1, &e->err) == 0)
		assert_true(++sent < 100000);
	assert_int_equal(errno, EAGAIN);
}

static void the_daemon_takes_ends_and_nothing_else(void **state)
{
	struct ends *e = *state;
	enum hub_child whose;
	int end, before = free_descriptor();
	assert_int_equal(child_end_receive(e->b, &whose, &end, &e->err), CHILD_NO_END);
	assert_int_equal(child_end_send(e->a, HUB_CHILD_WORKER, 0, &e->err), 0);
	assert_int_equal(child_end_receive(e->b, &whose, &end, &e->err), 1);
	assert_int_equal(whose, HUB_CHILD_WORKER);
	close(end);
	assert_int_equal(pass_send(e->a, "\xff", 1, 0, &e->err), 0); /* this names no program */
	assert_int_equal(child_end_receive(e->b, &whose, &end, &e->err), -1);
	assert_int_equal(child_end_send(e->a, HUB_CHILD_WORKER, -1, &e->err), 0); /* this carries no descriptor */
	assert_int_equal(child_end_receive(e->b, &whose, &end, &e->err), -1);
	assert_int_equal(pass_send(e->a, "\0\0", 2, 0, &e->err), 0);
	assert_int_equal(child_end_receive(e->b, &whose, &end, &e->err), -1);
	assert_int_equal(free_descriptor(), before);
}

static void a_request_says_a_number_of_the_list(void **state)
{
	struct ends *e = *state;
	uint8_t bytes[SPAWN_RECORD_SIZE + 1] = {0};
	struct spawn_record got;
	for (int kind = 0; kind < WORKER_KINDS; kind++) {
		const struct spawn_record start = {
			.op = SPAWN_START, .id = 0xfffffff0u + (unsigned)kind, .kind = (enum worker_kind)kind};
		spawn_encode(&start, bytes);
		assert_int_equal(spawn_decode(bytes, SPAWN_RECORD_SIZE, &got, &e->err), 0);
		assert_true(got.op == SPAWN_START && got.id == start.id && got.kind == start.kind);
		assert_true(worker_kind_name(got.kind)[0]);
	}
	const struct spawn_record ended = {.op = SPAWN_ENDED, .id = 7, .wait_status = 0x8b, .start_errno = ENOENT};
	spawn_encode(&ended, bytes);
	assert_int_equal(spawn_decode(bytes, SPAWN_RECORD_SIZE, &got, &e->err), 0);
	assert_true(got.op == SPAWN_ENDED && got.id == 7 && got.wait_status == 0x8b && got.start_errno == ENOENT);
	for (size_t len = 0; len <= sizeof(bytes); len++)
		if (len != SPAWN_RECORD_SIZE)
			assert_int_equal(spawn_decode(bytes, len, &got, &e->err), -1);
	for (int op = 0; op < 256; op++) {
		bytes[0] = (uint8_t)op;
		assert_int_equal(spawn_decode(bytes, SPAWN_RECORD_SIZE, &got, &e->err),
			op == SPAWN_KILL || op == SPAWN_ENDED ? 0 : -1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_descriptor_arrives_as_it_was, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_too_long_leaves_nothing_open, setup, teardown),
		cmocka_unit_test_setup_teardown(an_end_that_has_gone_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(nobody_waits_for_one_who_does_not_read, setup, teardown),
		cmocka_unit_test_setup_teardown(the_daemon_takes_ends_and_nothing_else, setup, teardown),
		cmocka_unit_test_setup_teardown(a_request_says_a_number_of_the_list, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
