#include "lib/wire/conn.h"
#include "lib/core/mem.h"

#include <errno.h>
#include <event2/util.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CONN_OUTPUT_MAX = 1024 * 1024, CONN_READ_SIZE = 16 * 1024 };

/* This is not a bufferevent, because keys pass through here and libevent gives its buffers back unwiped. Idle
 * connections hold no buffer at all. */
struct conn {
	int fd;
	unsigned allowed;
	const struct conn_handler *handler;
	void *context;
	struct event *readable, *writable;
	struct event *failure; /* tells the handler, from the loop, of what happened inside conn_send */
	struct error error;
	struct buf in, out;
	bool closed;    /* the handler has been told */
	bool finishing; /* close when `out` is empty */
	bool *freed;    /* where conn_free says that it was called from inside a handler */
};

static void tell_closed(struct conn *c, const struct error *err)
{
	if (c->closed)
		return;
	c->closed = true;
	event_del(c->readable);
	event_del(c->writable);
	struct error copy = *err;
	c->handler->closed(c, &copy, c->context);
}

static void on_failure(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	struct conn *c = context;
	tell_closed(c, &c->error);
}

static void fail_later(struct conn *c)
{
	event_del(c->readable);
	event_del(c->writable);
	event_active(c->failure, 0, 0);
}

/* The kernel watches only so many descriptors (fs.epoll.max_user_watches). Running out of them ends one connection, not
 * the program. */
static void wait_for(struct conn *c, struct event *what)
{
	if (event_add(what, NULL) == 0)
		return;
	error_errno(&c->error, "the connection cannot be watched (see fs.epoll.max_user_watches)");
	fail_later(c);
}

/* Hands out what has come, frame by frame. Returns false when the connection was freed or ended on the way. */
static bool hand_out(struct conn *c)
{
	bool freed = false;
	size_t taken = 0;
	while (taken < c->in.len) {
		struct error err;
		struct frame frame;
		long size = frame_decode(c->in.data + taken, c->in.len - taken, c->allowed, &frame, &err);
		if (size < 0) {
			tell_closed(c, &err);
			return false;
		}
		if (size == 0)
			break;
		taken += (size_t)size;
		/* cppcheck-suppress autoVariables ; taken back below, by all who do not free `c` */
		c->freed = &freed;
		c->handler->frame(c, &frame, c->context);
		if (freed)
			return false;
		c->freed = NULL;
		if (c->closed || c->finishing)
			return false;
	}
	if (taken == c->in.len)
		buf_release(&c->in);
	else if (taken)
		buf_consume(&c->in, taken);
	return true;
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
	(void)what;
	struct conn *c = context;
	struct error err = {.kind = ERROR_NONE};
	uint8_t chunk[CONN_READ_SIZE]; /* not reserved in `in`, which is wiped whole */
	size_t room = c->in.max - c->in.len;
	ssize_t got = read((int)fd, chunk, room < sizeof(chunk) ? room : sizeof(chunk));
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got > 0) {
		buf_add(&c->in, chunk, (size_t)got);
		explicit_bzero(chunk, (size_t)got);
		hand_out(c);
		return;
	}
	if (got < 0 && errno != ECONNRESET && errno != EPIPE)
		error_errno(&err, "the connection failed");
	else if (c->in.len)
		error_set(&err, ERROR_RETRY, "the stream ended inside a frame");
	tell_closed(c, &err);
}

static void on_writable(evutil_socket_t fd, short what, void *context)
{
	(void)what;
	struct conn *c = context;
	struct error none = {.kind = ERROR_NONE};
	ssize_t put = c->out.len ? write((int)fd, c->out.data, c->out.len) : 0;
	if (put < 0 && (errno == EAGAIN || errno == EINTR)) {
		wait_for(c, c->writable);
		return;
	}
	if (put < 0) {
		/* What the peer sent before it left is still to be read, and its end follows there. */
		buf_release(&c->out);
		event_del(c->writable);
		if (c->finishing)
			tell_closed(c, &none);
		return;
	}
	if ((size_t)put < c->out.len) {
		buf_consume(&c->out, (size_t)put);
		wait_for(c, c->writable);
		return;
	}
	buf_release(&c->out);
	event_del(c->writable);
	if (c->finishing)
		tell_closed(c, &none);
}

struct conn *conn_new(
	struct event_base *base, int fd, unsigned allowed, const struct conn_handler *handler, void *context)
{
	struct conn *c = mem_alloc(sizeof(*c));
	evutil_make_socket_nonblocking(fd);
	c->fd = fd;
	c->allowed = allowed;
	c->handler = handler;
	c->context = context;
	c->in = BUF_INIT(FRAME_BUNDLE_MAX + CONN_READ_SIZE);
	c->out = BUF_INIT(CONN_OUTPUT_MAX);
	c->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, c);
	c->writable = event_new(base, fd, EV_WRITE | EV_PERSIST, on_writable, c);
	c->failure = event_new(base, -1, 0, on_failure, c);
	if (!c->readable || !c->writable || !c->failure)
		mem_abort(__func__);
	wait_for(c, c->readable);
	return c;
}

void conn_free(struct conn *c)
{
	if (!c)
		return;
	if (c->freed)
		*c->freed = true;
	event_free(c->readable);
	event_free(c->writable);
	event_free(c->failure);
	buf_release(&c->in);
	buf_release(&c->out);
	close(c->fd);
	free(c);
}

/* Writing starts once what is being handled is done, so that all that it sends goes out in one write. There is nearly
 * always room; only where there was none the kernel is asked to tell when there is. */
static void write_soon(struct conn *c)
{
	if (!event_pending(c->writable, EV_WRITE, NULL))
		event_active(c->writable, EV_WRITE, 0);
}

void conn_send(struct conn *c, enum frame_type type, const void *data, size_t len)
{
	if (c->closed || c->finishing)
		return;
	if (len > FRAME_BUNDLE_MAX || c->out.len + len + FRAME_HEADER_SIZE > c->out.max) {
		error_set(&c->error, ERROR_RETRY, "output-cap: the peer does not read: %zu bytes wait for it",
			c->out.len);
		fail_later(c);
		return;
	}
	if (frame_encode(&c->out, type, data, len) < 0) {
		error_set(&c->error, ERROR_PERMANENT, "frame-length: %zu bytes are too long for type %d", len, type);
		fail_later(c);
		return;
	}
	write_soon(c);
}

void conn_allow_output(struct conn *c, size_t max)
{
	c->out.max = max;
}

void conn_finish(struct conn *c)
{
	if (c->closed || c->finishing)
		return;
	c->finishing = true;
	event_del(c->readable);
	write_soon(c);
}

int conn_fd(const struct conn *c)
{
	return c->fd;
}
