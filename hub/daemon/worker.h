/* A worker: a child `certsync-worker KIND` that does one slow or risky job for the daemon, speaking lib/frame
 * on its standard input and output (FRAMES_LOCAL), killed with its process group at its deadline.
 */
#ifndef CERTSYNC_HUB_WORKER_H
#define CERTSYNC_HUB_WORKER_H

#include "lib/wire/conn.h"
#include "lib/core/error.h"

#include <event2/event.h>

struct worker;

struct worker_handler {
	void (*frame)(struct worker *w, const struct frame *frame, void *context);
	/* It has ended or was killed, and all its frames were handed out: `err` says how, kind ERROR_NONE when it
	 * exited 0. Called once, from the loop; the handler calls worker_free. */
	void (*ended)(struct worker *w, const struct error *err, void *context);
};

struct worker *worker_start(struct event_base *base, const char *kind, int timeout_s,
	const struct worker_handler *handler, void *context, struct error *err);
void worker_send(struct worker *w, enum frame_type type, const void *data, size_t len);
void worker_free(struct worker *w); /* kills it if it still runs; no callback; also from inside a handler */

#endif
