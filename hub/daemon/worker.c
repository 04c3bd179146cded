#include "hub/daemon/worker.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"
#include "lib/core/pass.h"
#include "lib/core/proc.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct workers {
	struct event_base *base;
	int spawner; /* -1: there is none now */
	struct event *readable;
	struct worker *first;
	uint32_t last_id;
};

struct worker {
	struct workers *all;
	struct worker *next;
	const struct worker_handler *handler;
	void *context;
	enum worker_kind kind;
	int timeout_s;
	uint32_t id;
	int its_end;       /* of the socket; -1: the spawner has got it */
	bool over;         /* its process has ended, or is killed before anything else is done */
	struct conn *conn; /* NULL: ended */
	struct event *deadline;
	struct error error; /* the first thing that went wrong */
};

static void note(struct worker *w, const struct error *err)
{
	if (w->error.kind == ERROR_NONE)
		w->error = *err;
}

/* The end is told only when the process is gone and all that it said has been handed out. */
static void end_if_over(struct worker *w)
{
	if (!w->over || w->conn)
		return;
	event_del(w->deadline);
	struct error err = w->error;
	w->handler->ended(w, &err, w->context);
}

/* ---- the spawner ---- */

/* What the spawner had started died with it. Each worker's end is told from the loop. */
static void lose(struct workers *all, const char *reason)
{
	struct error err;
	log_event(LOG_LEVEL_ERROR, "worker",
		"error=\"the process that starts the workers %s; the root half starts it again\"", reason);
	error_set(&err, ERROR_RETRY,
		"the process that starts the workers (certsync-worker) %s, and this job was lost with it", reason);
	event_free(all->readable);
	close(all->spawner);
	all->readable = NULL;
	all->spawner = -1;
	for (struct worker *w = all->first; w; w = w->next) {
		if (w->its_end >= 0 || w->over)
			continue;
		note(w, &err);
		w->over = true;
		event_active(w->deadline, EV_TIMEOUT, 0);
	}
}

static int ask(struct workers *all, const struct spawn_record *request, int fd, struct error *err)
{
	uint8_t record[SPAWN_RECORD_SIZE];
	spawn_encode(request, record);
	return pass_send(all->spawner, record, sizeof(record), fd, err);
}

static void hand_over(struct worker *w)
{
	struct error err;
	const struct spawn_record start = {.op = SPAWN_START, .id = w->id, .kind = w->kind};
	int result = ask(w->all, &start, w->its_end, &err);
	close(steal_fd(&w->its_end));
	if (result < 0)
		lose(w->all, "takes no more requests");
}

static void kill_it(struct worker *w)
{
	struct error err;
	const struct spawn_record end = {.op = SPAWN_KILL, .id = w->id};
	bool asked = w->its_end < 0 && !w->over && w->all->spawner >= 0;
	w->over = true;
	if (asked && ask(w->all, &end, -1, &err) < 0)
		lose(w->all, "takes no more requests");
}

static void take_end(struct workers *all, const struct spawn_record *r)
{
	struct error err;
	struct worker *w = all->first;
	while (w && w->id != r->id)
		w = w->next;
	/* A worker that was killed may have ended just before. */
	if (!w || w->over)
		return;
	if (r->start_errno)
		note(w,
			(error_set(&err, ERROR_RETRY, "the worker cannot be started: %s", strerror(r->start_errno)),
				&err));
	else if (r->wait_status)
		note(w, (error_set(&err, ERROR_RETRY, "the worker %s", proc_status_text(r->wait_status)), &err));
	w->over = true;
	end_if_over(w);
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
	(void)what;
	struct workers *all = context;
	struct error err;
	struct spawn_record r;
	uint8_t record[SPAWN_RECORD_SIZE];
	auto_close int none = -1;
	long got = pass_receive(fd, record, sizeof(record), &none, &err);
	if (got == PASS_NONE)
		return;
	if (got == 0)
		lose(all, "has ended");
	else if (got < 0 || spawn_decode(record, (size_t)got, &r, &err) < 0 || r.op != SPAWN_ENDED)
		lose(all, "said something that makes no sense");
	else
		take_end(all, &r);
}

struct workers *workers_new(struct event_base *base)
{
	struct workers *all = mem_alloc(sizeof(*all));
	all->base = base;
	all->spawner = -1;
	return all;
}

void workers_free(struct workers *all)
{
	if (!all)
		return;
	if (all->readable)
		event_free(all->readable);
	if (all->spawner >= 0)
		close(all->spawner);
	free(all);
}

void workers_connect(struct workers *all, int spawner)
{
	if (all->spawner >= 0)
		lose(all, "has been started again");
	all->spawner = spawner;
	all->readable = event_new(all->base, spawner, EV_READ | EV_PERSIST, on_readable, all);
	if (!all->readable || event_add(all->readable, NULL) < 0)
		mem_abort(__func__);
	for (struct worker *w = all->first; w && all->spawner >= 0; w = w->next)
		if (w->its_end >= 0)
			hand_over(w);
}

/* ---- one worker ---- */

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
		kill_it(w);
	}
	conn_free(c);
	w->conn = NULL;
	end_if_over(w);
}

/* The worker's time is up, or it was lost. */
static void on_deadline(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	struct worker *w = context;
	struct error err;
	if (w->its_end >= 0)
		error_set(&err, ERROR_RETRY,
			"no worker could be started within %d seconds: the log of certsync-hub-root says why",
			w->timeout_s);
	else
		error_set(
			&err, ERROR_RETRY, "the worker did not finish within %d seconds and was killed", w->timeout_s);
	note(w, &err);
	kill_it(w);
	conn_free(steal(w->conn));
	end_if_over(w);
}

struct worker *worker_start(struct workers *all, enum worker_kind kind, int timeout_s,
	const struct worker_handler *handler, void *context, struct error *err)
{
	static const struct conn_handler conn_handler = {.frame = on_frame, .closed = on_closed};
	const struct timeval deadline = {.tv_sec = timeout_s};
	int pair[2];
	if (proc_socketpair(pair, err) < 0) {
		error_wrap(err, "worker %s", worker_kind_name(kind));
		return NULL;
	}
	struct worker *w = mem_alloc(sizeof(*w));
	*w = (struct worker){.all = all, .handler = handler, .context = context, .kind = kind, .timeout_s = timeout_s};
	w->id = ++all->last_id;
	w->its_end = pair[1];
	w->conn = conn_new(all->base, pair[0], FRAMES_LOCAL, &conn_handler, w);
	w->deadline = evtimer_new(all->base, on_deadline, w);
	if (!w->deadline || (timeout_s != WORKER_FOREVER && evtimer_add(w->deadline, &deadline) < 0))
		mem_abort(__func__);
	w->next = all->first;
	all->first = w;
	if (all->spawner >= 0)
		hand_over(w);
	return w;
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
	kill_it(w);
	for (struct worker **at = &w->all->first; *at; at = &(*at)->next) {
		if (*at == w) {
			*at = w->next;
			break;
		}
	}
	if (w->its_end >= 0)
		close(w->its_end);
	event_free(w->deadline);
	conn_free(w->conn);
	free(w);
}
