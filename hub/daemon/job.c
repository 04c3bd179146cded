#include "hub/daemon/job.h"
#include "lib/core/mem.h"

#include <stdlib.h>

enum { EVENT_MAX = 32 };

struct job {
	struct worker *worker;
	const struct job_handler *handler;
	void *context;
	struct error error; /* it said something that cannot be understood */
};

static void on_frame(struct worker *w, const struct frame *frame, void *context)
{
	(void)w;
	struct job *e = context;
	struct error err;
	auto_json cJSON *message = frame->type == FRAME_MESSAGE ? json_parse(frame->data, frame->len, &err) : NULL;
	const char *event = message ? json_string(message, "event", EVENT_MAX, &err) : NULL;
	if (event)
		e->handler->message(event, message, e->context);
	else if (e->error.kind == ERROR_NONE)
		error_set(&e->error, ERROR_PERMANENT, "the worker said something that is no message");
}

static void on_ended(struct worker *w, const struct error *err, void *context)
{
	(void)w;
	struct job *e = context;
	const struct error *why = err->kind == ERROR_NONE ? &e->error : err;
	e->handler->ended(why, e->context);
	job_cancel(e);
}

struct job *job_start(struct workers *workers, enum worker_kind kind, int timeout_s, const cJSON *job,
	const struct files *files, const struct job_handler *handler, void *context, struct error *err)
{
	static const struct worker_handler worker_handler = {.frame = on_frame, .ended = on_ended};
	auto_buf struct buf text = BUF_INIT(FRAME_MESSAGE_MAX), bytes = BUF_INIT(FRAME_FILES_MAX);
	if (json_print(job, &text) < 0 || (files && files_encode(files, &bytes) < 0)) {
		error_set(err, ERROR_PERMANENT, "worker %s: its job is longer than %d bytes", worker_kind_name(kind),
			FRAME_MESSAGE_MAX);
		return NULL;
	}
	struct job *e = mem_alloc(sizeof(*e));
	e->handler = handler;
	e->context = context;
	e->worker = worker_start(workers, kind, timeout_s, &worker_handler, e, err);
	if (!e->worker) {
		free(e);
		return NULL;
	}
	worker_send(e->worker, FRAME_MESSAGE, text.data, text.len);
	if (files)
		worker_send(e->worker, FRAME_FILES, bytes.data, bytes.len);
	return e;
}

void job_send(struct job *e, const cJSON *message)
{
	auto_buf struct buf text = BUF_INIT(FRAME_MESSAGE_MAX);
	if (json_print(message, &text) == 0)
		worker_send(e->worker, FRAME_MESSAGE, text.data, text.len);
}

void job_cancel(struct job *e)
{
	if (!e)
		return;
	worker_free(e->worker);
	free(e);
}
