/* A stream of frames on a libevent loop. Daemons speak over it to agents, operators, workers and root halves. */
#ifndef CERTSYNC_LIB_WIRE_CONN_H
#define CERTSYNC_LIB_WIRE_CONN_H

#include "lib/core/error.h"
#include "lib/core/frame.h"

#include <event2/event.h>

struct conn;

struct conn_handler {
	/* One frame has come (borrowed). A handler may call conn_free on its own connection. */
	void (*frame)(struct conn *c, const struct frame *frame, void *context);
	/* The stream has ended; err->kind is ERROR_NONE for a clean end between two frames. This is called once; the
	 * handler must call conn_free, now or later. */
	void (*closed)(struct conn *c, const struct error *err, void *context);
};

/* Takes over the connected descriptor. `allowed` is as in frame_decode. If the kernel will not watch the descriptor,
 * `closed` is called from the loop. */
struct conn *conn_new(
	struct event_base *base, int fd, unsigned allowed, const struct conn_handler *handler, void *context);
void conn_free(struct conn *c); /* closes; no callback. NULL is allowed */

/* Queues a frame. A peer that does not read is cut off at the output cap (1 MiB); `closed` is then called from the
 * loop. */
void conn_send(struct conn *c, enum frame_type type, const void *data, size_t len);
/* Sets another output cap, for a peer that is trusted to read in its own time. */
void conn_allow_output(struct conn *c, size_t max);
/* Ends the stream once what is queued has been sent; `closed` follows. */
void conn_finish(struct conn *c);
int conn_fd(const struct conn *c);

#endif
