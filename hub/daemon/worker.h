/* Workers: processes `certsync-worker KIND` that do one slow or risky job for the daemon each. They speak frames
 * (lib/core/frame.h, FRAMES_LOCAL) on their standard input and output, and are killed at their deadline with all that
 * they started. They have a user of their own, so another process starts them, the spawner (hub/worker/spawner.h); the
 * root half hands us a socket to it, and a new one whenever it had to start it again.
 */
#ifndef CERTSYNC_HUB_DAEMON_WORKER_H
#define CERTSYNC_HUB_DAEMON_WORKER_H

#include "hub/common/spawn.h"
#include "lib/wire/conn.h"
#include "lib/core/error.h"

#include <event2/event.h>

/* All workers that there are, and the socket to the spawner. */
struct workers;

struct workers *workers_new(struct event_base *base);
void workers_free(struct workers *all); /* after every worker; NULL is allowed */
/* Takes the socket over; what has been waiting for one is started. */
void workers_connect(struct workers *all, int spawner);

struct worker;

struct worker_handler {
	void (*frame)(struct worker *w, const struct frame *frame, void *context);
	/* The worker has ended or was killed, and all its frames were handed out: `err` says how, with kind ERROR_NONE
	 * when it exited 0. This is called once, from the loop; the handler calls worker_free. */
	void (*ended)(struct worker *w, const struct error *err, void *context);
};

enum { WORKER_FOREVER = 0 };

/* The time runs from now on, also while there is no spawner. With WORKER_FOREVER there is no deadline. */
struct worker *worker_start(struct workers *all, enum worker_kind kind, int timeout_s,
	const struct worker_handler *handler, void *context, struct error *err);
void worker_send(struct worker *w, enum frame_type type, const void *data, size_t len);
/* Kills the worker if it still runs, so that it is dead before another one starts. There is no callback, and this may
 * be called from inside a handler. */
void worker_free(struct worker *w);

#endif
