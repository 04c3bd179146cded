#include "lib/core/tool.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"
#include "lib/core/redact.h"
#include "lib/core/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { COMPLAINT_MAX = 600, CHUNK = 16384 };

char *tool_find(const char *name)
{
	auto_free char *path = mem_strdup(strchr(PROC_PATH, '=') + 1);
	char *rest = path;
	const char *directory;
	while ((directory = strsep(&rest, ":"))) {
		char *candidate = mem_printf("%s/%s", directory, name);
		if (access(candidate, X_OK) == 0)
			return candidate;
		free(candidate);
	}
	return NULL;
}

bool tool_exists(const char *name)
{
	auto_free char *path = tool_find(name);
	return path != NULL;
}

struct run {
	pid_t pid;
	int out, err; /* our ends of its pipes; -1 after their end */
	struct buf *text;
	char complaint[COMPLAINT_MAX]; /* the end of what it said on standard error */
	size_t complained;
	bool flood;
};

static void keep_complaint(struct run *r, const char *data, size_t len)
{
	enum { ROOM = COMPLAINT_MAX - 1 };
	if (len > ROOM) {
		data += len - ROOM;
		len = ROOM;
	}
	if (r->complained + len > ROOM) {
		size_t over = r->complained + len - ROOM;
		memmove(r->complaint, r->complaint + over, r->complained - over);
		r->complained -= over;
	}
	memcpy(r->complaint + r->complained, data, len);
	r->complained += len;
	r->complaint[r->complained] = '\0';
}

static void drain(struct run *r, int *fd)
{
	char chunk[CHUNK];
	ssize_t got = read(*fd, chunk, sizeof(chunk));
	if (got < 0 && errno == EINTR)
		return;
	if (got <= 0) {
		close(*fd);
		*fd = -1;
	} else if (fd == &r->err) {
		keep_complaint(r, chunk, (size_t)got);
	} else if (buf_add(r->text, chunk, (size_t)got) < 0) {
		r->flood = true;
	}
}

/* Reads until both ends are closed. Returns false when the deadline has passed. */
static bool read_all(struct run *r)
{
	int64_t deadline = clock_monotonic_ms() + TOOL_SECONDS * 1000;
	while ((r->out >= 0 || r->err >= 0) && !r->flood) {
		struct pollfd fds[] = {{.fd = r->out, .events = POLLIN}, {.fd = r->err, .events = POLLIN}};
		int64_t left = deadline - clock_monotonic_ms();
		if (left <= 0)
			return false;
		if (poll(fds, COUNT(fds), (int)left) < 0)
			continue;
		if (fds[0].revents)
			drain(r, &r->out);
		if (fds[1].revents)
			drain(r, &r->err);
	}
	return true;
}

/* Returns the last line that has something in it. */
static const char *last_line(char *text)
{
	size_t len = strlen(text);
	while (len && (text[len - 1] == '\n' || text[len - 1] == ' '))
		text[--len] = '\0';
	const char *newline = strrchr(text, '\n');
	return newline ? newline + 1 : text;
}

static int start(struct run *r, const char *path, const char *const *argv, struct error *err)
{
	static const char *const environment[] = {PROC_PATH, "LC_ALL=C", NULL};
	const char *words[32] = {path};
	int out[2], complaints[2];
	for (size_t i = 1; argv[i] && i + 1 < COUNT(words); i++)
		words[i] = argv[i];
	if (pipe2(out, O_CLOEXEC) < 0)
		return error_errno(err, "cannot make a pipe");
	if (pipe2(complaints, O_CLOEXEC) < 0) {
		error_errno(err, "cannot make a pipe");
		close(out[0]);
		close(out[1]);
		return -1;
	}
	const struct proc_spec spec = {.argv = words,
		.envp = environment,
		.in = -1,
		.out = out[1],
		.err = complaints[1],
		.extra = -1,
		.group = true,
		.die_with_parent = true};
	r->pid = proc_spawn(&spec, err);
	close(out[1]);
	close(complaints[1]);
	r->out = out[0];
	r->err = complaints[0];
	return r->pid < 0 ? -1 : 0;
}

static int finish(struct run *r, const char *name, bool in_time, int *ret_exit, struct error *err)
{
	int status = 0;
	if (!in_time || r->flood)
		kill(-r->pid, SIGKILL);
	while (waitpid(r->pid, &status, 0) < 0)
		if (errno != EINTR)
			return error_errno(err, "%s: its exit code cannot be found out", name);
	if (r->flood)
		return error_set(err, ERROR_PERMANENT, "%s: prints more than %zu bytes", name, r->text->max);
	if (!in_time)
		return error_set(err, ERROR_RETRY, "%s: killed after %d seconds", name, TOOL_SECONDS);
	if (!WIFEXITED(status))
		return error_set(err, ERROR_RETRY, "%s: %s", name, proc_status_text(status));
	*ret_exit = WEXITSTATUS(status);
	return 0;
}

static int run(const char *const *argv, struct run *r, int *ret_exit, struct error *err)
{
	auto_free char *path = tool_find(argv[0]);
	if (!path)
		return error_set(err, ERROR_PERMANENT, "%s is not installed", argv[0]);
	int result = start(r, path, argv, err);
	if (result == 0)
		result = finish(r, argv[0], read_all(r), ret_exit, err);
	if (r->out >= 0)
		close(r->out);
	if (r->err >= 0)
		close(r->err);
	return result;
}

int tool_exit(const char *const *argv, struct buf *out, int *ret_exit, struct error *err)
{
	struct run r = {.out = -1, .err = -1, .text = out};
	return run(argv, &r, ret_exit, err);
}

int tool_run(const char *const *argv, struct buf *out, struct error *err)
{
	struct run r = {.out = -1, .err = -1, .text = out};
	int code = -1;
	if (run(argv, &r, &code, err) < 0)
		return -1;
	if (code == 0)
		return 0;
	/* The line may quote what the tool has read. */
	const char *line = last_line(r.complaint);
	auto_buf struct buf shown = BUF_INIT(REDACT_ROOM(COMPLAINT_MAX));
	redact(line, strlen(line), &shown);
	return error_set(err, ERROR_PERMANENT, "%s exited %d: %s", argv[0], code, buf_text(&shown));
}
