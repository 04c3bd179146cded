#include "agent/service.h"
#include "lib/clock.h"
#include "lib/mem.h"
#include "lib/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ENVIRONMENT_SIZE = 10, TAIL_MAX = REQUEST_OUTPUT_MAX - 64 };

/* What is running, and what was kept of its output. */
struct run {
	pid_t pid;
	int pidfd;
	int output; /* non-blocking; -1 after its end */
	int stop_fd;
	int64_t deadline_ms; /* monotonic */
	struct buf tail;
	uint64_t dropped;
};

static char *hook_path(const struct service_call *call)
{
	const struct agent_service *service = call->service;
	return service->hook ? mem_strdup(service->hook) : mem_printf("%s/%s", call->hooks, service->name);
}

static void environment(const struct service_call *call, char *env[ENVIRONMENT_SIZE])
{
	char revision[REVISION_TEXT_MAX], sha256[CHAIN_HEX_MAX];
	size_t n = 0;
	env[n++] = mem_strdup(PROC_PATH);
	env[n++] = mem_printf("CERTSYNC_CERTIFICATE=%s", call->certificate);
	env[n++] = mem_printf("CERTSYNC_REVISION=%s", revision_text(call->entry->revision, revision));
	env[n++] = mem_printf("CERTSYNC_DIR=%s", call->directory);
	env[n++] = mem_printf("CERTSYNC_FULLCHAIN=%s/fullchain.pem", call->directory);
	env[n++] = mem_printf("CERTSYNC_PRIVKEY=%s/privkey.pem", call->directory);
	env[n++] = mem_printf("CERTSYNC_COMBINED=%s/combined.pem", call->directory);
	env[n++] = mem_printf("CERTSYNC_SHA256=%s", chain_hex(call->entry->fingerprint, sha256));
	env[n++] = mem_printf("CERTSYNC_SERVICE=%s", call->service->name);
	env[n] = NULL;
}

static pid_t start(const struct service_call *call, const char *verb, int output, struct error *err)
{
	auto_free char *path = hook_path(call);
	char *env[ENVIRONMENT_SIZE];
	struct proc_user user;
	bool other = call->service->user && geteuid() == 0;
	if (other && proc_user_find(call->service->user, &user, err) < 0)
		return error_wrap(err, "hook %s", path);
	environment(call, env);
	const char *const argv[] = {path, verb, NULL};
	const struct proc_spec spec = {
		.argv = argv,
		.envp = (const char *const *)env,
		.user = other ? &user : NULL,
		.in = -1,
		.out = output,
		.err = output,
		.extra = -1,
		.group = true,
		.die_with_parent = true,
	};
	pid_t pid = proc_spawn(&spec, err);
	for (size_t i = 0; env[i]; i++)
		free(env[i]);
	return pid < 0 ? error_wrap(err, "hook of service %s", call->service->name) : pid;
}

/* Keeps the end of the output: that is where programs say what was wrong. */
static void keep(struct run *r, const char *data, size_t len)
{
	if (len > TAIL_MAX) {
		r->dropped += len - TAIL_MAX;
		data += len - TAIL_MAX;
		len = TAIL_MAX;
	}
	if (r->tail.len + len > TAIL_MAX) {
		size_t over = r->tail.len + len - TAIL_MAX;
		r->dropped += over;
		buf_consume(&r->tail, over);
	}
	buf_add(&r->tail, data, len);
}

/* One read. True when there may be more. */
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

enum run_end { RUN_EXITED, RUN_LATE, RUN_STOPPED };

static enum run_end wait_for_end(struct run *r)
{
	for (;;) {
		struct pollfd fds[] = {
			{.fd = r->pidfd, .events = POLLIN},
			{.fd = r->stop_fd, .events = POLLIN},
			{.fd = r->output, .events = POLLIN},
		};
		int64_t left = r->deadline_ms - clock_monotonic_ms();
		if (left <= 0)
			return RUN_LATE;
		if (poll(fds, COUNT(fds), (int)(left > 60000 ? 60000 : left)) < 0)
			continue;
		if (fds[1].revents)
			return RUN_STOPPED;
		if (fds[2].revents)
			drain_once(r);
		if (fds[0].revents)
			return RUN_EXITED;
	}
}

/* How it ended, or -1: that cannot be known. */
static int reap(struct run *r, int *ret_status, struct error *err)
{
	pid_t reaped;
	do
		reaped = waitpid(r->pid, ret_status, 0);
	while (reaped < 0 && errno == EINTR);
	if (reaped < 0)
		error_errno(err, "its exit code cannot be had");
	/* What is in the pipe was written before; a grandchild that goes on writing is not read for ever. */
	for (int i = 0; r->output >= 0 && i < 16 && drain_once(r); i++)
		;
	return reaped < 0 ? -1 : 0;
}

static void tell_output(struct run *r, char output[REQUEST_OUTPUT_MAX])
{
	size_t used = 0;
	if (r->dropped)
		used = (size_t)snprintf(output, REQUEST_OUTPUT_MAX, "[%llu bytes before this are not kept]\n",
			(unsigned long long)r->dropped);
	for (size_t i = 0; i < r->tail.len; i++)
		output[used++] = r->tail.data[i] ? (char)r->tail.data[i] : '?';
	output[used] = '\0';
	text_clean(output, 1);
}

static int run_to_end(struct run *r, const struct service_call *call, const char *verb,
	struct service_result *ret, struct error *err)
{
	enum run_end end = wait_for_end(r);
	if (end != RUN_EXITED)
		kill(-r->pid, SIGKILL);
	int status = 0;
	int reaped = reap(r, &status, err);
	tell_output(r, ret->output);
	ret->interrupted = end == RUN_STOPPED;
	if (end == RUN_STOPPED)
		return error_set(err, ERROR_RETRY, "hook %s %s: interrupted, the program is to end",
			call->service->name, verb);
	if (end == RUN_LATE)
		return error_set(err, ERROR_RETRY,
			"hook %s %s: killed after %lld seconds: raise `timeout` if it needs longer",
			call->service->name, verb, (long long)call->service->timeout);
	if (reaped < 0)
		return error_wrap(err, "hook %s %s", call->service->name, verb);
	if (!WIFEXITED(status))
		return error_set(err, ERROR_RETRY, "hook %s %s: %s", call->service->name, verb,
			proc_status_text(status));
	ret->exit_code = WEXITSTATUS(status);
	return 0;
}

static bool must_stop(int stop_fd)
{
	struct pollfd fd = {.fd = stop_fd, .events = POLLIN};
	return poll(&fd, 1, 0) > 0;
}

int service_run(
	const struct service_call *call, const char *verb, struct service_result *ret, struct error *err)
{
	int output[2];
	*ret = (struct service_result){.exit_code = -1};
	if (must_stop(call->stop_fd)) {
		ret->interrupted = true;
		return error_set(err, ERROR_RETRY, "hook %s %s: not started, the program is to end",
			call->service->name, verb);
	}
	if (pipe2(output, O_CLOEXEC) < 0)
		return error_errno(err, "hook %s %s", call->service->name, verb);
	struct run r = {
		.pidfd = -1, .output = output[0], .stop_fd = call->stop_fd, .tail = BUF_INIT(TAIL_MAX)};
	r.deadline_ms = clock_monotonic_ms() + call->service->timeout * 1000;
	/* Only our end: the hook's must block, or what it prints would be lost. */
	fcntl(r.output, F_SETFL, O_NONBLOCK);
	r.pid = start(call, verb, output[1], err);
	close(output[1]);
	int result = -1;
	if (r.pid >= 0) {
		r.pidfd = pidfd_open(r.pid, 0);
		if (r.pidfd < 0)
			abort();
		result = run_to_end(&r, call, verb, ret, err);
		close(r.pidfd);
	}
	if (r.output >= 0)
		close(r.output);
	buf_release(&r.tail);
	return result;
}

int service_check(
	const struct service_call *call, const char *verb, struct service_result *ret, struct error *err)
{
	if (service_run(call, verb, ret, err) < 0)
		return -1;
	if (ret->exit_code != 0)
		return error_set(
			err, ERROR_RETRY, "hook %s %s: exited %d", call->service->name, verb, ret->exit_code);
	return 0;
}

int service_running(const struct service_call *call, struct service_result *ret, struct error *err)
{
	if (service_run(call, "running", ret, err) < 0)
		return -1;
	if (ret->exit_code == 0)
		return 1;
	if (ret->exit_code == SERVICE_STOPPED)
		return 0;
	return error_set(err, ERROR_RETRY,
		"hook %s running: exited %d, which is neither 0 (running) nor 3 (stopped)",
		call->service->name, ret->exit_code);
}
