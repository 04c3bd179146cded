/* A worker with a small job: one message (and files) goes in, messages come out, then the end. Orders need a dialogue
 * and do not use this.
 */
#ifndef CERTSYNC_HUB_DAEMON_JOB_H
#define CERTSYNC_HUB_DAEMON_JOB_H

#include "hub/daemon/worker.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/wire/json.h"

struct job;

struct job_handler {
	void (*message)(const char *event, const cJSON *message, void *context);
	/* The job is over: `err` says how, with kind ERROR_NONE when the worker exited 0. The job is gone after the
	 * call. */
	void (*ended)(const struct error *err, void *context);
};

/* `job` is borrowed; `files` may be NULL. The handler is only called from the loop. Returns NULL with the reason when
 * the worker cannot start. */
struct job *job_start(struct workers *workers, enum worker_kind kind, int timeout_s, const cJSON *job,
	const struct files *files, const struct job_handler *handler, void *context, struct error *err);
/* Sends one message more to the worker. */
void job_send(struct job *e, const cJSON *message);
void job_cancel(struct job *e); /* kills the worker; no callback; NULL is allowed; not from inside a handler */

#endif
