/* Hooks that do what hooks must not do, and what the agent makes of it. */
#include "agent/common/service.h"
#include "lib/core/clock.h"
#include "lib/core/proc.h"
#include "tests/unit/scratch.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>

static const struct content entry = {.revision = {1, 7}, .leaf = {0xab}};

static int run(const struct scratch *s, const char *script, int timeout, int stop_fd, struct service_result *ret,
	struct error *err)
{
	auto_free char *text = mem_printf("#!/bin/sh\n%s\n", script);
	scratch_write(s, "hook", text, 0755);
	char *words[] = {(char[]){"-f"}, (char[]){"/a b"}, NULL};
	const struct agent_service service = {.name = (char[]){"hook"}, .timeout = timeout, .instance = words};
	const struct service_call call = {
		.service = &service,
		.hooks = s->path,
		.certificate = "mail.domain.pl",
		.content = &entry,
		.directory = "/etc/certsync/live/mail.domain.pl",
		.stop_fd = stop_fd,
	};
	*err = (struct error){0};
	return service_check(&call, "test", ret, err);
}

static void it_gets_its_verb_and_its_environment_and_nothing_else(void **state)
{
	struct service_result r;
	struct error err;
	setenv("SECRET_OF_THE_PARENT", "x", 1);
	assert_int_equal(run(*state, "echo \"$#:$1\"; env | sort; read line || echo no input", 5, -1, &r, &err), 0);
	assert_memory_equal(r.output, "1:test\n", 7);
	assert_null(strstr(r.output, "SECRET"));
	assert_non_null(strstr(r.output, "CERTSYNC_CERTIFICATE=mail.domain.pl\n"));
	assert_non_null(strstr(r.output, "CERTSYNC_COMBINED=/etc/certsync/live/mail.domain.pl/combined.pem\n"));
	assert_non_null(strstr(r.output, "CERTSYNC_DIR=/etc/certsync/live/mail.domain.pl\n"));
	assert_non_null(strstr(r.output, "CERTSYNC_FULLCHAIN=/etc/certsync/live/mail.domain.pl/fullchain.pem\n"));
	assert_non_null(strstr(r.output, "CERTSYNC_PRIVKEY=/etc/certsync/live/mail.domain.pl/privkey.pem\n"));
	/* The hook prints its environment sorted, so the second line of this value stands apart. */
	assert_non_null(strstr(r.output, "CERTSYNC_INSTANCE=-f\n"));
	assert_non_null(strstr(r.output, "\n/a b\n"));
	assert_non_null(strstr(r.output, "CERTSYNC_REVISION=1.7\n"));
	assert_non_null(strstr(r.output, "CERTSYNC_SERVICE=hook\n"));
	assert_non_null(strstr(r.output, "CERTSYNC_SHA256=ab00"));
	assert_non_null(strstr(r.output, "no input\n"));
}

/* A shell would make something else of such a name. */
static void no_shell_stands_between(void **state)
{
	static const char name[] = "a hook; touch ran; $(touch ran) > ran";
	const struct scratch *s = *state;
	auto_free char *path = scratch_path(s, name);
	const struct agent_service service = {.name = (char[]){"hook"}, .timeout = 5, .hook = path};
	const struct service_call call = {.service = &service,
		.hooks = s->path,
		.certificate = "a",
		.content = &entry,
		.directory = "/",
		.stop_fd = -1};
	struct service_result r;
	struct error err;
	char before[4096];
	scratch_write(s, name, "#!/bin/sh\necho \"$#:$1\"\n", 0755);
	assert_non_null(getcwd(before, sizeof(before)));
	assert_int_equal(fchdir(s->fd), 0);
	int result = service_check(&call, "test; touch ran", &r, &err);
	assert_int_equal(chdir(before), 0);
	assert_int_equal(result, 0);
	assert_string_equal(r.output, "1:test; touch ran\n");
	assert_int_equal(faccessat(s->fd, "ran", F_OK, 0), -1);
}

static void one_that_others_can_change_is_not_run(void **state)
{
	const struct scratch *s = *state;
	struct service_result r;
	struct error err = {0};
	const struct agent_service service = {.name = (char[]){"open"}, .timeout = 5};
	const struct service_call call = {.service = &service,
		.hooks = s->path,
		.certificate = "a",
		.content = &entry,
		.directory = "/",
		.stop_fd = -1};
	auto_free char *ran = mem_printf("#!/bin/sh\necho ran >%s/ran\n", s->path),
		       *mends = mem_printf("chmod go-w %s/open", s->path);
	scratch_write(s, "open", ran, 0775);
	assert_int_equal(service_check(&call, "test", &r, &err), -1);
	assert_non_null(strstr(err.message, "hook of service open is not run: "));
	assert_non_null(strstr(err.message, mends));
	scratch_write(s, "open", ran, 0755);
	chmod(s->path, 0777);
	assert_int_equal(service_running(&call, &r, &err), -1);
	assert_non_null(strstr(err.message, "can be written by others than its owner"));
	assert_int_equal(faccessat(s->fd, "ran", F_OK, 0), -1);
	chmod(s->path, 0700);
	assert_int_equal(service_check(&call, "test", &r, &err), 0);
	assert_int_equal(faccessat(s->fd, "ran", F_OK, 0), 0);
}

static void its_exit_code_and_both_outputs_are_told(void **state)
{
	struct service_result r;
	struct error err;
	assert_int_equal(run(*state, "echo out; echo err >&2; exit 75", 5, -1, &r, &err), -1);
	assert_int_equal(r.exit_code, 75);
	assert_non_null(strstr(err.message, "hook test: exited 75"));
	assert_string_equal(r.output, "out\nerr\n");
}

static void running_tells_running_stopped_and_neither(void **state)
{
	const struct scratch *s = *state;
	const int expected[][2] = {{0, 1}, {3, 0}, {1, -1}};
	const struct agent_service service = {.name = (char[]){"hook"}, .timeout = 5};
	const struct service_call call = {.service = &service,
		.hooks = s->path,
		.certificate = "a",
		.content = &entry,
		.directory = "/",
		.stop_fd = -1};
	for (size_t i = 0; i < COUNT(expected); i++) {
		struct service_result r;
		struct error err;
		auto_free char *text =
			mem_printf("#!/bin/sh\n[ \"$1\" = running ] || exit 9\nexit %d\n", expected[i][0]);
		scratch_write(s, "hook", text, 0755);
		assert_int_equal(service_running(&call, &r, &err), expected[i][1]);
	}
}

static bool is_gone(pid_t pid)
{
	auto_close int fd = proc_pidfd_open(pid);
	struct pollfd end = {.fd = fd, .events = POLLIN};
	return fd < 0 ? errno == ESRCH : poll(&end, 1, 10000) == 1;
}

static pid_t pid_in(const struct scratch *s, const char *name)
{
	auto_buf struct buf text = BUF_INIT(64);
	return (pid_t)atol(scratch_read(s, name, &text));
}

static void one_that_hangs_is_killed_with_its_children(void **state)
{
	const struct scratch *s = *state;
	struct service_result r;
	struct error err;
	int64_t start = clock_monotonic_ms();
	auto_free char *script = mem_printf("echo before; sleep 60 & echo $! >%s/child; sleep 60", s->path);
	assert_int_equal(run(s, script, 1, -1, &r, &err), -1);
	assert_true(clock_monotonic_ms() - start < 10000);
	assert_non_null(strstr(err.message, "killed after 1 seconds"));
	assert_string_equal(r.output, "before\n");
	assert_true(is_gone(pid_in(s, "child")));
}

static void a_grandchild_that_keeps_the_pipe_is_not_waited_for(void **state)
{
	const struct scratch *s = *state;
	struct service_result r;
	struct error err;
	int64_t start = clock_monotonic_ms();
	auto_free char *script = mem_printf("sleep 60 & echo $! >%s/child; echo done", s->path);
	assert_int_equal(run(s, script, 30, -1, &r, &err), 0);
	assert_true(clock_monotonic_ms() - start < 10000);
	assert_string_equal(r.output, "done\n");
	/* A service that the hook has started goes on when the hook ends. */
	pid_t child = pid_in(s, "child");
	assert_int_equal(kill(child, 0), 0);
	kill(child, SIGKILL);
}

static void a_hundred_megabytes_neither_block_nor_stay(void **state)
{
	struct service_result r;
	struct error err;
	assert_int_equal(
		run(*state, "head -c 100000000 /dev/zero | tr '\\0' .; echo; echo the end; exit 1", 60, -1, &r, &err),
		-1);
	assert_int_equal(r.exit_code, 1);
	size_t len = strlen(r.output);
	assert_true(len < sizeof(r.output) && len > 8000);
	assert_string_equal(r.output + len - 8, "the end\n");
	assert_non_null(strstr(r.output, "bytes before this are not shown]\n"));
}

static void an_exit_code_that_cannot_be_had_is_no_success(void **state)
{
	struct service_result r;
	struct error err;
	signal(SIGCHLD, SIG_IGN);
	assert_int_equal(run(*state, "exit 0", 5, -1, &r, &err), -1);
	assert_non_null(strstr(err.message, "hook test: its exit code cannot be found out"));
	assert_int_equal(r.exit_code, -1);
	signal(SIGCHLD, SIG_DFL);
	assert_int_equal(run(*state, "exit 0", 5, -1, &r, &err), 0);
}

static void what_it_prints_is_cleaned(void **state)
{
	struct service_result r;
	struct error err;
	assert_int_equal(run(*state, "printf 'a\\033[31mb\\000c\\377d\\r\\n'", 5, -1, &r, &err), 0);
	assert_string_equal(r.output, "a?[31mb?c?d \n");
}

/* The output is longer than what is shown, so that the cut goes through the key, and the key's last line is short. */
static void a_key_that_it_prints_is_blotted_out(void **state)
{
	struct service_result r;
	struct error err;
	auto_buf struct buf raw = BUF_INIT(HOOK_RAW_MAX);
	const struct scratch *s = *state;
	const struct agent_service service = {.name = (char[]){"hook"}, .timeout = 30};
	const struct service_call call = {.service = &service,
		.hooks = s->path,
		.certificate = "a",
		.content = &entry,
		.directory = "/",
		.stop_fd = -1,
		.raw = &raw};
	scratch_write(s, "hook",
		"#!/bin/sh\nopenssl genrsa 2048 2>/dev/null\nhead -c 7500 /dev/zero | tr '\\0' '.'\nexit 1\n", 0755);
	assert_int_equal(service_check(&call, "test", &r, &err), -1);
	assert_true(r.blotted > 20);
	assert_non_null(strstr(r.output, "[blotted out]"));
	/* What is shown is the mark, or one of the lines around the key. */
	for (const char *line = strtok(r.output, "\n"); line; line = strtok(NULL, "\n"))
		if (!strstr(line, "blotted out]") && !strstr(line, "-----") && !strstr(line, "not shown]") &&
			line[0] != '.')
			fail_msg("\"%s\" is shown", line);
	/* Whoever asks for the output as it was gets it whole. */
	assert_non_null(strstr(buf_text(&raw), "-----BEGIN PRIVATE KEY-----\nMII"));
}

static void a_missing_or_unusable_hook_is_named(void **state)
{
	const struct scratch *s = *state;
	auto_free char *path = scratch_path(s, "absent");
	struct agent_service service = {.name = (char[]){"absent"}, .timeout = 5};
	const struct service_call call = {.service = &service,
		.hooks = s->path,
		.certificate = "a",
		.content = &entry,
		.directory = "/",
		.stop_fd = -1};
	struct service_result r;
	struct error err;
	assert_int_equal(service_run(&call, "test", &r, &err), -1);
	assert_non_null(strstr(err.message, path));
	scratch_write(s, "absent", "#!/bin/sh\n", 0644);
	assert_int_equal(service_run(&call, "test", &r, &err), -1);
	assert_non_null(strstr(err.message, path));
	assert_non_null(strstr(err.message, "Permission denied"));
	scratch_write(s, "elsewhere", "#!/bin/sh\nexit 0\n", 0755);
	service.hook = scratch_path(s, "elsewhere");
	assert_int_equal(service_run(&call, "test", &r, &err), 0);
	free(service.hook);
}

static void the_end_of_the_program_ends_it_too(void **state)
{
	struct service_result r;
	struct error err;
	int ends[2];
	int64_t start = clock_monotonic_ms();
	assert_int_equal(pipe(ends), 0);
	/* The hook itself gives the sign, so that it has certainly begun. */
	auto_free char *script = mem_printf("echo x >/proc/%d/fd/%d; sleep 60", (int)getpid(), ends[1]);
	assert_int_equal(run(*state, script, 30, ends[0], &r, &err), -1);
	assert_true(r.interrupted);
	assert_true(clock_monotonic_ms() - start < 10000);
	assert_int_equal(run(*state, "echo started", 30, ends[0], &r, &err), -1);
	assert_true(r.interrupted);
	assert_string_equal(r.output, "");
	close(ends[0]);
	close(ends[1]);
}

#define STORY(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORY(it_gets_its_verb_and_its_environment_and_nothing_else),
		STORY(no_shell_stands_between),
		STORY(one_that_others_can_change_is_not_run),
		STORY(its_exit_code_and_both_outputs_are_told),
		STORY(running_tells_running_stopped_and_neither),
		STORY(one_that_hangs_is_killed_with_its_children),
		STORY(a_grandchild_that_keeps_the_pipe_is_not_waited_for),
		STORY(a_hundred_megabytes_neither_block_nor_stay),
		STORY(an_exit_code_that_cannot_be_had_is_no_success),
		STORY(what_it_prints_is_cleaned),
		STORY(a_key_that_it_prints_is_blotted_out),
		STORY(a_missing_or_unusable_hook_is_named),
		STORY(the_end_of_the_program_ends_it_too),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
