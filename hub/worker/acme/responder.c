#include "hub/worker/acme/responder.h"
#include "hub/worker/acme/alpn.h"
#include "lib/core/confine.h"
#include "lib/core/mem.h"
#include "lib/crypto/chain.h"
#include "lib/wire/conn.h"
#include "lib/wire/json.h"

#include <event2/event.h>
#include <event2/listener.h>
#include <openssl/err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RESPONDER_VISITS = 128, RESPONDER_SECONDS = 10, RESPONDER_BACKLOG = 128, NAME_MAX_LEN = 253 };

struct responder;

/* One connection. The list has the newest first. */
struct visit {
	struct responder *responder;
	SSL *ssl;
	int fd;
	struct event *ready, *deadline;
	struct visit *next, *previous;
};

struct responder {
	struct event_base *base;
	struct conn *daemon;
	struct alpn *alpn; /* NULL until the job has come */
	struct evconnlistener *listener;
	struct visit *visits, *oldest;
	size_t count;
	int exit_code;
};

/* ---- one handshake ---- */

static void visit_free(struct visit *v)
{
	struct responder *r = v->responder;
	*(v->previous ? &v->previous->next : &r->visits) = v->next;
	*(v->next ? &v->next->previous : &r->oldest) = v->previous;
	r->count--;
	if (v->ready)
		event_free(v->ready);
	if (v->deadline)
		event_free(v->deadline);
	SSL_free(v->ssl);
	evutil_closesocket(v->fd);
	free(v);
}

static void on_ready(evutil_socket_t fd, short what, void *context);

static void wait_for(struct visit *v, short what)
{
	if (v->ready)
		event_free(v->ready);
	v->ready = event_new(v->responder->base, v->fd, what, on_ready, v);
	if (!v->ready || event_add(v->ready, NULL) < 0)
		visit_free(v);
}

/* A handshake that has failed has sent its alert already; one that is done says goodbye, since nothing else follows. */
static void on_ready(evutil_socket_t fd, short what, void *context)
{
	struct visit *v = context;
	(void)fd;
	(void)what;
	ERR_clear_error();
	int result = SSL_accept(v->ssl);
	int reason = SSL_get_error(v->ssl, result);
	if (result == 1)
		SSL_shutdown(v->ssl);
	if (reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE)
		wait_for(v, reason == SSL_ERROR_WANT_READ ? EV_READ : EV_WRITE);
	else
		visit_free(v);
}

static void on_deadline(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	visit_free(context);
}

static void on_accept(
	struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *peer, int peer_len, void *context)
{
	struct responder *r = context;
	const struct timeval seconds = {.tv_sec = RESPONDER_SECONDS};
	struct error ignored;
	(void)listener;
	(void)peer;
	(void)peer_len;
	if (r->count == RESPONDER_VISITS)
		visit_free(r->oldest);
	struct visit *v = mem_alloc(sizeof(*v));
	*v = (struct visit){.responder = r, .fd = fd, .next = r->visits};
	*(v->next ? &v->next->previous : &r->oldest) = v;
	r->visits = v;
	r->count++;
	v->ssl = alpn_answer(r->alpn, &ignored);
	v->deadline = evtimer_new(r->base, on_deadline, v);
	if (!v->ssl || SSL_set_fd(v->ssl, fd) != 1 || !v->deadline || evtimer_add(v->deadline, &seconds) < 0)
		visit_free(v);
	else
		wait_for(v, EV_READ);
}

/* ---- the daemon ---- */

static void say(const struct responder *r, const char *event, const char *key, const char *text)
{
	auto_buf struct buf bytes = BUF_INIT(FRAME_MESSAGE_MAX);
	auto_json cJSON *message = cJSON_CreateObject();
	cJSON_AddStringToObject(message, "event", event);
	if (key)
		cJSON_AddStringToObject(message, key, text);
	if (json_print(message, &bytes) == 0)
		conn_send(r->daemon, FRAME_MESSAGE, bytes.data, bytes.len);
}

/* From here on nothing is opened and nobody connected to. */
static void keep_to_handshakes(void)
{
	const struct confine nothing = {.descriptors = RESPONDER_VISITS + 32};
	confine(&nothing);
}

static int on_job(struct responder *r, const cJSON *message, struct error *err)
{
	struct sockaddr_storage where;
	int len = sizeof(where);
	const char *address = json_string(message, "address", 128, err);
	if (!address)
		return -1;
	if (r->alpn)
		return error_set(err, ERROR_PERMANENT, "the daemon sent a second job");
	if (evutil_parse_sockaddr_port(address, (struct sockaddr *)&where, &len) < 0)
		return error_set(err, ERROR_PERMANENT, "%s: not an address with a port", address);
	r->alpn = alpn_new(err);
	if (!r->alpn)
		return -1;
	r->listener = evconnlistener_new_bind(r->base, on_accept, r,
		LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE, RESPONDER_BACKLOG,
		(struct sockaddr *)&where, len);
	if (!r->listener)
		return error_errno(err, "cannot listen at %s for tls-alpn-01", address);
	keep_to_handshakes();
	say(r, "listening", NULL, NULL);
	return 0;
}

static int on_add(struct responder *r, const cJSON *message, struct error *err)
{
	uint8_t digest[ALPN_DIGEST_SIZE];
	const char *name = json_string(message, "name", NAME_MAX_LEN, err);
	const char *hex = name ? json_string(message, "digest", 2 * ALPN_DIGEST_SIZE, err) : NULL;
	if (!hex)
		return -1;
	if (!r->alpn || chain_unhex(hex, digest) < 0)
		return error_set(err, ERROR_PERMANENT, "digest: is not a SHA-256");
	if (alpn_add(r->alpn, name, digest, err) < 0)
		return -1;
	say(r, "added", "name", name);
	return 0;
}

static int on_remove(struct responder *r, const cJSON *message, struct error *err)
{
	const char *name = json_string(message, "name", NAME_MAX_LEN, err);
	if (!name)
		return -1;
	if (r->alpn)
		alpn_remove(r->alpn, name);
	return 0;
}

static void on_frame(struct conn *c, const struct frame *frame, void *context)
{
	static const struct {
		const char *event;
		int (*run)(struct responder *r, const cJSON *message, struct error *err);
	} events[] = {{"job", on_job}, {"add", on_add}, {"remove", on_remove}};
	struct responder *r = context;
	struct error err;
	int result = -1;
	auto_json cJSON *message = json_parse(frame->data, frame->len, &err);
	const char *event = message ? json_string(message, "event", 32, &err) : NULL;
	if (event)
		error_set(&err, ERROR_PERMANENT, "the daemon said \"%s\"", event);
	for (size_t i = 0; event && i < COUNT(events); i++)
		if (strcmp(event, events[i].event) == 0)
			result = events[i].run(r, message, &err);
	if (result == 0)
		return;
	r->exit_code = 1;
	say(r, "failed", "text", err.message);
	conn_finish(c);
}

static void on_closed(struct conn *c, const struct error *err, void *context)
{
	struct responder *r = context;
	(void)c;
	(void)err;
	event_base_loopbreak(r->base);
}

int acme_responder_worker(void)
{
	static const struct conn_handler handler = {.frame = on_frame, .closed = on_closed};
	struct responder r = {.base = event_base_new()};
	signal(SIGPIPE, SIG_IGN);
	if (!r.base)
		mem_abort(__func__);
	r.daemon = conn_new(r.base, STDIN_FILENO, FRAMES_LOCAL, &handler, &r);
	event_base_dispatch(r.base);
	while (r.visits)
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): visit_free takes it off the list */
		visit_free(r.visits);
	if (r.listener)
		evconnlistener_free(r.listener);
	alpn_free(r.alpn);
	conn_free(r.daemon);
	event_base_free(r.base);
	return r.exit_code;
}
