#include "agent/daemon/root_client.h"
#include "lib/core/heartbeat.h"
#include "lib/wire/conn.h"
#include "lib/core/mem.h"

#include <stdbool.h>
#include <stdlib.h>

struct asked {
	struct asked *next;
	enum frame_type type;
	struct buf payload;
	root_client_reply *reply; /* NULL: forgotten */
	void *context;
};

struct root_client {
	struct conn *conn;
	struct event *beat;
	struct asked *first, **last; /* the first is outstanding */
	void (*ended)(const struct error *err, void *context);
	void *context;
};

static void send_first(struct root_client *r)
{
	if (r->first)
		conn_send(r->conn, r->first->type, r->first->payload.data, r->first->payload.len);
}

static void asked_free(struct asked *a)
{
	buf_release(&a->payload);
	free(a);
}

static struct asked *take_first(struct root_client *r)
{
	struct asked *a = r->first;
	if (!a)
		return NULL;
	r->first = a->next;
	if (!r->first)
		r->last = &r->first;
	return a;
}

static void end(struct root_client *r, const struct error *err)
{
	conn_free(r->conn);
	r->conn = NULL;
	r->ended(err, r->context);
}

static void on_frame(struct conn *c, const struct frame *frame, void *context)
{
	(void)c;
	struct root_client *r = context;
	struct reply reply = {0};
	struct error err;
	struct asked *a = r->first;
	if (frame->type != FRAME_RECORD || !a) {
		error_set(&err, ERROR_PERMANENT, "the root half sent what nobody asked for");
		end(r, &err);
		return;
	}
	if (reply_decode(frame->data, frame->len, &reply, &err) < 0) {
		error_wrap(&err, "the root half's reply cannot be read");
		end(r, &err);
		return;
	}
	take_first(r);
	send_first(r);
	if (a->reply)
		a->reply(&reply, a->context);
	reply_release(&reply);
	asked_free(a);
}

static void on_closed(struct conn *c, const struct error *err, void *context)
{
	(void)c;
	end(context, err);
}

static const struct conn_handler handler = {on_frame, on_closed};

/* The root half, while it does what it was asked for, does not wait to hear from us. */
static void on_beat(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	struct root_client *r = context;
	const struct request request = {.op = REQUEST_ALIVE};
	if (!r->first)
		root_client_ask(r, &request, NULL, NULL);
}

struct root_client *root_client_new(
	struct event_base *base, int fd, void (*ended)(const struct error *err, void *context), void *context)
{
	struct root_client *r = mem_alloc(sizeof(*r));
	r->last = &r->first;
	r->ended = ended;
	r->context = context;
	r->conn = conn_new(base, fd, FRAMES_ROOT, &handler, r);
	const struct timeval interval = {.tv_sec = HEARTBEAT_MS / 1000};
	r->beat = event_new(base, -1, EV_PERSIST, on_beat, r);
	if (!r->beat || event_add(r->beat, &interval) < 0)
		mem_abort(__func__);
	return r;
}

void root_client_free(struct root_client *r)
{
	struct asked *a;
	if (!r)
		return;
	while ((a = take_first(r)))
		asked_free(a);
	event_free(r->beat);
	conn_free(r->conn);
	free(r);
}

static struct asked *queue(
	struct root_client *r, enum frame_type type, size_t max, root_client_reply *reply, void *context)
{
	struct asked *a = mem_alloc(sizeof(*a));
	a->type = type;
	a->payload = BUF_INIT(max);
	a->reply = reply;
	a->context = context;
	*r->last = a;
	r->last = &a->next;
	return a;
}

static void queued(struct root_client *r, struct asked *a)
{
	if (r->first == a && r->conn)
		send_first(r);
}

void root_client_ask(struct root_client *r, const struct request *request, root_client_reply *reply, void *context)
{
	struct asked *a = queue(r, FRAME_RECORD, FRAME_RECORD_MAX, reply, context);
	if (request_encode(request, &a->payload) < 0)
		mem_abort(__func__); /* fixed sizes: cannot be over the cap */
	queued(r, a);
}

void root_client_stage(
	struct root_client *r, const uint8_t *bundle, size_t len, root_client_reply *reply, void *context)
{
	struct asked *a = queue(r, FRAME_BUNDLE, FRAME_BUNDLE_MAX, reply, context);
	if (buf_add(&a->payload, bundle, len) < 0)
		mem_abort(__func__); /* it came in a frame of the same cap */
	queued(r, a);
}

void root_client_forget(struct root_client *r, const void *context)
{
	for (struct asked *a = r->first; a; a = a->next)
		if (a->context == context)
			a->reply = NULL;
}
