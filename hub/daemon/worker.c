#include "hub/daemon/worker.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"
#include "lib/core/proc.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

struct worker {
	const struct worker_handler *handler;
	void *context;
	int timeout_s;
	pid_t pid; /* 0: has been waited for */
	int pidfd;
	struct conn *conn; /* NULL: ended */
	struct event *exited, *deadline;
	struct error error; /* the first thing that went wrong */
};

static void kill_group(const struct worker *w)
{
	if (w->pid)
		kill(-w->pid, SIGKILL);
}

static void note(struct worker *w, const struct error *err)
{
	if (w->error.kind == ERROR_NONE)
		w->error = *err;
}

/* Told only when the process is gone and all that it said has been handed out. */
static void end_if_over(struct worker *w)
{
	if (w->pid || w->conn)
		return;
	event_del(w->deadline);
	struct error err = w->error;
	w->handler->ended(w, &err, w->context);
}

static void on_frame(struct conn *c, const struct frame *frame, void *context)
{
	(void)c;
	struct worker *w = context;
	w->handler->frame(w, frame, w->context);
}

static void on_closed(struct conn *c, const struct error *err, void *context)
{
	struct worker *w = context;
	if (err->kind != ERROR_NONE) {
		note(w, err);
		kill_group(w);
	}
	conn_free(c);
	w->conn = NULL;
	end_if_over(w);
}

static void on_exited(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	struct worker *w = context;
	struct error err;
	int status = 0;
	/* Whatever it may have started goes with it: it would keep the stream open. */
	kill_group(w);
	if (waitpid(w->pid, &status, 0) == w->pid && status != 0) {
		error_set(&err, ERROR_RETRY, "the worker %s", proc_status_text(status));
		note(w, &err);
	}
	w->pid = 0;
	end_if_over(w);
}

static void on_deadline(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	struct worker *w = context;
	struct error err;
	error_set(&err, ERROR_RETRY, "the worker did not finish within %d seconds and was killed",
		w->timeout_s);
	note(w, &err);
	kill_group(w);
}

static int spawn(struct worker *w, const char *kind, int child_fd, struct error *err)
{
	auto_free char *program = mem_printf("%s/certsync-worker", fs_program_directory());
	const char *const argv[] = {program, kind, NULL};
	const struct proc_spec spec = {
		.argv = argv,
		.in = child_fd,
		.out = child_fd,
		.err = PROC_INHERIT,
		.extra = -1,
		.group = true,
		.die_with_parent = true,
	};
	w->pid = proc_spawn(&spec, err);
	if (w->pid < 0) {
		w->pid = 0;
		return -1;
	}
	w->pidfd = pidfd_open(w->pid, 0);
	if (w->pidfd < 0)
		return error_errno(err, "cannot watch the process %d", (int)w->pid);
	return 0;
}

static void watch(struct worker *w, struct event_base *base)
{
	const struct timeval deadline = {.tv_sec = w->timeout_s};
	w->exited = event_new(base, w->pidfd, EV_READ, on_exited, w);
	w->deadline = evtimer_new(base, on_deadline, w);
	if (!w->exited || !w->deadline || event_add(w->exited, NULL) < 0 ||
		evtimer_add(w->deadline, &deadline) < 0)
		mem_abort(__func__);
}

struct worker *worker_start(struct event_base *base, const char *kind, int timeout_s,
	const struct worker_handler *handler, void *context, struct error *err)
{
	static const struct conn_handler conn_handler = {.frame = on_frame, .closed = on_closed};
	int pair[2];
	if (proc_socketpair(pair, err) < 0)
		return NULL;
	struct worker *w = mem_alloc(sizeof(*w));
	w->handler = handler;
	w->context = context;
	w->timeout_s = timeout_s;
	w->pidfd = -1;
	w->conn = conn_new(base, pair[0], FRAMES_LOCAL, &conn_handler, w);
	int spawned = spawn(w, kind, pair[1], err);
	close(pair[1]);
	if (spawned == 0) {
		watch(w, base);
		return w;
	}
	error_wrap(err, "worker %s", kind);
	worker_free(w);
	return NULL;
}

void worker_send(struct worker *w, enum frame_type type, const void *data, size_t len)
{
	if (w->conn)
		conn_send(w->conn, type, data, len);
}

void worker_free(struct worker *w)
{
	if (!w)
		return;
	if (w->exited)
		event_free(w->exited);
	if (w->deadline)
		event_free(w->deadline);
	conn_free(w->conn);
	kill_group(w);
	/* Killed already, so this waits for no more than the kernel's tidying up. */
	while (w->pid && waitpid(w->pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (w->pidfd >= 0)
		close(w->pidfd);
	free(w);
}
