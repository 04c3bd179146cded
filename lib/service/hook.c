#include "lib/service/hook.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"
#include "lib/core/proc.h"
#include "lib/core/redact.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SHOWN_MAX = HOOK_OUTPUT_MAX - 64 };

/* The process that is running, and what was kept of its output. */
struct run {
	pid_t pid;
	int pidfd;
	int output; /* non-blocking; -1 after its end */
	int stop_fd;
	int64_t deadline_ms; /* monotonic */
	struct buf tail;
	uint64_t dropped;
};

/* Puts the hook's input into memory, so that a hook that does not read it keeps nobody waiting. Returns -1 without an
 * error when there is no input. */
static int open_input(const struct hook_call *call, struct error *err)
{
	err->kind = ERROR_NONE;
	if (!call->input)
		return -1;
	auto_close int fd = memfd_create("hook-input", MFD_CLOEXEC);
	if (fd < 0 || write(fd, call->input, call->input_len) != (ssize_t)call->input_len || lseek(fd, 0, SEEK_SET) < 0)
		return error_errno(err, "cannot keep the input of %s", call->argv[0]);
	return steal_fd(&fd);
}

static pid_t start(const struct hook_call *call, int output, struct error *err)
{
	auto_close int input = open_input(call, err);
	if (input < 0 && err->kind != ERROR_NONE)
		return -1;
	const struct proc_spec spec = {
		.argv = call->argv,
		.envp = call->envp,
		.user = call->user,
		.in = input,
		.out = output,
		.err = output,
		.extra = -1,
		.group = true,
		.die_with_parent = true,
	};
	return proc_spawn(&spec, err);
}

/* Keeps the end of the output, since that is where programs say what was wrong. */
static void keep(struct run *r, const char *data, size_t len)
{
	if (len > HOOK_RAW_MAX) {
		r->dropped += len - HOOK_RAW_MAX;
		data += len - HOOK_RAW_MAX;
		len = HOOK_RAW_MAX;
	}
	if (r->tail.len + len > HOOK_RAW_MAX) {
		size_t over = r->tail.len + len - HOOK_RAW_MAX;
		r->dropped += over;
		buf_consume(&r->tail, over);
	}
	buf_add(&r->tail, data, len);
}

/* Reads once. Returns true when there may be more. */
static bool drain_once(struct run *r)
{
	char chunk[65536];
	ssize_t got = read(r->output, chunk, sizeof(chunk));
	if (got > 0) {
		keep(r, chunk, (size_t)got);
		return true;
	}
	if (got < 0 && (errno == EINTR || errno == EAGAIN))
		return false;
	close(r->output);
	r->output = -1;
	return false;
}

static enum hook_end wait_for_end(struct run *r)
{
	for (;;) {
		struct pollfd fds[] = {
			{.fd = r->pidfd, .events = POLLIN},
			{.fd = r->stop_fd, .events = POLLIN},
			{.fd = r->output, .events = POLLIN},
		};
		int64_t left = r->deadline_ms - clock_monotonic_ms();
		if (left <= 0)
			return HOOK_LATE;
		if (poll(fds, COUNT(fds), (int)(left > 60000 ? 60000 : left)) < 0)
			continue;
		if (fds[1].revents)
			return HOOK_STOPPED;
		if (fds[2].revents)
			drain_once(r);
		if (fds[0].revents)
			return HOOK_EXITED;
	}
}

/* Returns 0 with how the hook ended, or -1 when that cannot be known. */
static int reap(struct run *r, int *ret_status, struct error *err)
{
	pid_t reaped;
	do
		reaped = waitpid(r->pid, ret_status, 0);
	while (reaped < 0 && errno == EINTR);
	if (reaped < 0)
		error_errno(err, "its exit code cannot be found out");
	/* What is in the pipe now was written before the hook ended; a grandchild that goes on writing is not read for
	 * ever. */
	for (int i = 0; r->output >= 0 && i < 16 && drain_once(r); i++)
		;
	return reaped < 0 ? -1 : 0;
}

/* The output is judged whole and cut afterwards: what is left of a key that was cut in two would not be recognized. */
static void tell_output(struct run *r, const struct hook_call *call, struct hook_result *ret)
{
	auto_buf struct buf text = BUF_INIT(HOOK_RAW_MAX);
	auto_buf struct buf shown = BUF_INIT(REDACT_ROOM(HOOK_RAW_MAX));
	size_t used = 0;
	if (call->raw)
		buf_add(call->raw, r->tail.data, r->tail.len);
	for (size_t i = 0; i < r->tail.len; i++)
		buf_put_u8(&text, r->tail.data[i] ? r->tail.data[i] : '?');
	buf_text(&text);
	text_clean((char *)text.data, 1);
	ret->blotted = redact((const char *)text.data, text.len, &shown);
	size_t over = shown.len > SHOWN_MAX ? shown.len - SHOWN_MAX : 0;
	unsigned long long missing = r->dropped + over;
	if (missing)
		used = (size_t)snprintf(
			ret->output, HOOK_OUTPUT_MAX, "[%llu bytes before this are not shown]\n", missing);
	memcpy(ret->output + used, buf_text(&shown) + over, shown.len - over + 1);
	text_clean(ret->output, 1); /* the cut may have gone through a character */
}

static int run_to_end(struct run *r, const struct hook_call *call, struct hook_result *ret, struct error *err)
{
	int status = 0;
	ret->end = wait_for_end(r);
	if (ret->end != HOOK_EXITED)
		kill(-r->pid, SIGKILL);
	int reaped = reap(r, &status, err);
	tell_output(r, call, ret);
	if (ret->end == HOOK_STOPPED)
		return error_set(err, ERROR_RETRY, "interrupted, since the program has to end");
	if (ret->end == HOOK_LATE)
		return error_set(err, ERROR_RETRY, "killed after %lld seconds", (long long)call->timeout);
	if (reaped == 0 && WIFEXITED(status)) {
		ret->exit_code = WEXITSTATUS(status);
		return 0;
	}
	ret->end = HOOK_KILLED;
	return reaped < 0 ? -1 : error_set(err, ERROR_RETRY, "%s", proc_status_text(status));
}

/* The hook cannot be watched: either it is gone already, since nobody has to wait for our children, or there is no
 * descriptor left to watch it by. */
static int fail_unwatched(
	struct run *r, int why, const struct hook_call *call, struct hook_result *ret, struct error *err)
{
	int status;
	if (why != ESRCH)
		kill(-r->pid, SIGKILL);
	int reaped = reap(r, &status, err);
	tell_output(r, call, ret);
	ret->end = HOOK_KILLED;
	return reaped < 0 ? -1 : error_set(err, ERROR_RETRY, "killed, since it cannot be watched: %s", strerror(why));
}

static bool must_stop(int stop_fd)
{
	struct pollfd fd = {.fd = stop_fd, .events = POLLIN};
	return poll(&fd, 1, 0) > 0;
}

int hook_run(const struct hook_call *call, struct hook_result *ret, struct error *err)
{
	int output[2];
	*ret = (struct hook_result){.exit_code = -1};
	if (must_stop(call->stop_fd)) {
		ret->end = HOOK_STOPPED;
		return error_set(err, ERROR_RETRY, "not started, since the program has to end");
	}
	if (pipe2(output, O_CLOEXEC) < 0)
		return error_errno(err, "cannot make a pipe");
	struct run r = {.pidfd = -1, .output = output[0], .stop_fd = call->stop_fd, .tail = BUF_INIT(HOOK_RAW_MAX)};
	r.deadline_ms = clock_monotonic_ms() + call->timeout * 1000;
	/* Only our end is non-blocking: the hook's must block, or what it prints would be lost. */
	fcntl(r.output, F_SETFL, O_NONBLOCK);
	r.pid = start(call, output[1], err);
	close(output[1]);
	int result = -1;
	if (r.pid >= 0) {
		r.pidfd = proc_pidfd_open(r.pid);
		result = r.pidfd < 0 ? fail_unwatched(&r, errno, call, ret, err) : run_to_end(&r, call, ret, err);
		if (r.pidfd >= 0)
			close(r.pidfd);
	}
	if (r.output >= 0)
		close(r.output);
	buf_release(&r.tail);
	return result;
}
