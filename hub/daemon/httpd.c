#include "hub/daemon/httpd.h"
#include "lib/core/mem.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { HTTPD_REQUEST_MAX = 8192, HTTPD_BACKLOG = 1024 };

/* One connection has one request and one answer. evhttp is not used: its time-out begins anew with every byte, it has
 * no cap on connections, and it says nothing of those that end before there was a request. */
struct visit {
	struct httpd *httpd;
	struct visit *previous, *next;
	struct bufferevent *stream;
	struct event *deadline;
	bool answered;
	size_t output;
};

struct httpd {
	struct event_base *base;
	struct evconnlistener *listener;
	struct httpd_limits limits;
	httpd_handler *handler;
	void *context;
	struct visit *visits, *oldest; /* the newest first */
	size_t visit_count;
	size_t output; /* of all visits */
};

static void visit_free(struct visit *v)
{
	struct httpd *h = v->httpd;
	if (v->previous)
		v->previous->next = v->next;
	else
		h->visits = v->next;
	if (v->next)
		v->next->previous = v->previous;
	else
		h->oldest = v->previous;
	h->output -= v->output;
	event_free(v->deadline);
	/* libevent would close it when the loop comes round, but many connections may give way in one turn of the
	 * loop. */
	evutil_socket_t fd = bufferevent_getfd(v->stream);
	bufferevent_free(v->stream);
	evutil_closesocket(fd);
	free(v);
	h->visit_count--;
	evconnlistener_enable(h->listener);
}

/* ---- answers ---- */

static void on_deadline(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	visit_free(context);
}

static void on_event(struct bufferevent *stream, short what, void *context)
{
	(void)stream;
	(void)what;
	visit_free(context);
}

static void on_written(struct bufferevent *stream, void *context)
{
	(void)stream;
	visit_free(context);
}

static void reply(struct visit *v, const struct httpd_answer *answer)
{
	struct httpd *h = v->httpd;
	v->answered = true;
	struct evbuffer *out = bufferevent_get_output(v->stream);
	bool fits = answer->len <= h->limits.output - h->output;
	size_t len = fits ? answer->len : 0;
	bufferevent_disable(v->stream, EV_READ);
	bufferevent_setcb(v->stream, NULL, on_written, on_event, v);
	evbuffer_add_printf(out, "HTTP/1.1 %s\r\n%sContent-Length: %zu\r\nConnection: close\r\n\r\n",
		fits ? answer->status : "503 Service Unavailable\r\nRetry-After: 5", fits ? answer->headers : "", len);
	if (len && evbuffer_add(out, answer->body, len) < 0)
		mem_abort(__func__);
	v->output = len;
	h->output += len;
}

static void refuse(struct visit *v, const char *status)
{
	reply(v, &(struct httpd_answer){.status = status, .headers = ""});
}

/* `line` is "GET PATH HTTP/1.x" and becomes PATH. Returns NULL for anything else, with its status where that is not
 * 400. */
static const char *request_path(char *line, const char **ret_status)
{
	char *path = strchr(line, ' ');
	char *version = path ? strrchr(path + 1, ' ') : NULL;
	if (!version || strncmp(version, " HTTP/1.", 8) != 0)
		return NULL;
	*path++ = *version = '\0';
	*ret_status = "405 Method Not Allowed\r\nAllow: GET";
	return strcmp(line, "GET") == 0 ? path : NULL;
}

/* Answers once the header is complete; nothing in it but its first line matters. */
static void on_read(struct bufferevent *stream, void *context)
{
	struct visit *v = context;
	struct evbuffer *in = bufferevent_get_input(stream);
	const char *status = "400 Bad Request";
	if (evbuffer_search(in, "\r\n\r\n", 4, NULL).pos < 0) {
		if (evbuffer_get_length(in) >= HTTPD_REQUEST_MAX)
			refuse(v, "431 Request Header Fields Too Large");
		return;
	}
	auto_free char *line = evbuffer_readln(in, NULL, EVBUFFER_EOL_CRLF_STRICT);
	const char *path = line ? request_path(line, &status) : NULL;
	if (!path) {
		refuse(v, status);
		return;
	}
	struct httpd_answer answer = {.status = "404 Not Found", .headers = ""};
	v->httpd->handler(path, &answer, v->httpd->context);
	reply(v, &answer);
}

/* ---- places ---- */

/* Returns whether the request is here, if only in the kernel, so that it has its answer in a moment. */
static bool has_request(const struct visit *v)
{
	struct evbuffer *in = bufferevent_get_input(v->stream);
	char all[HTTPD_REQUEST_MAX];
	ssize_t held = evbuffer_copyout(in, all, sizeof(all));
	size_t len = held > 0 ? (size_t)held : 0;
	ssize_t waits = recv(bufferevent_getfd(v->stream), all + len, sizeof(all) - len, MSG_PEEK | MSG_DONTWAIT);
	len += waits > 0 ? (size_t)waits : 0;
	return len == sizeof(all) || memmem(all, len, "\r\n\r\n", 4);
}

/* Whoever holds a place and asks for nothing gives way, the oldest first, and after these whoever does not take his
 * answer: otherwise a local user could hold all places, by coming again and again. Returns false when nobody gives way,
 * which lasts only until the loop has had its turn. */
static bool make_room(struct httpd *h)
{
	struct visit *answered = NULL;
	for (struct visit *v = h->oldest; v; v = v->previous) {
		if (v->answered) {
			answered = answered ? answered : v;
			continue;
		}
		if (has_request(v))
			continue;
		visit_free(v);
		return true;
	}
	if (answered)
		visit_free(answered);
	return answered;
}

static void on_accept(
	struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *peer, int peer_len, void *context)
{
	struct httpd *h = context;
	const struct timeval seconds = {.tv_sec = h->limits.seconds};
	struct visit *v = mem_alloc(sizeof(*v));
	(void)peer;
	(void)peer_len;
	v->httpd = h;
	v->stream = bufferevent_socket_new(h->base, fd, 0);
	v->deadline = evtimer_new(h->base, on_deadline, v);
	if (!v->stream || !v->deadline || evtimer_add(v->deadline, &seconds) < 0)
		mem_abort(__func__);
	bufferevent_setwatermark(v->stream, EV_READ, 0, HTTPD_REQUEST_MAX);
	bufferevent_setcb(v->stream, on_read, NULL, on_event, v);
	bufferevent_enable(v->stream, EV_READ);
	v->next = h->visits;
	if (v->next)
		v->next->previous = v;
	else
		h->oldest = v;
	h->visits = v;
	if (++h->visit_count > h->limits.visits && !make_room(h))
		evconnlistener_disable(listener);
}

/* ---- the server ---- */

/* libevent refuses ":0" and takes an address without a port; here it is the other way round. */
static bool parse_address(const char *address, struct sockaddr_storage *ret, int *len)
{
	const char *colon = strrchr(address, ':');
	bool any_port = colon && strcmp(colon, ":0") == 0;
	auto_free char *text = any_port ? mem_strndup(address, (size_t)(colon - address)) : mem_strdup(address);
	if (evutil_parse_sockaddr_port(text, (struct sockaddr *)ret, len) < 0)
		return false;
	/* The port is at the same place in both families. */
	return (((const struct sockaddr_in *)ret)->sin_port == 0) == any_port;
}

static bool is_loopback(const struct sockaddr_storage *address)
{
	if (address->ss_family == AF_INET)
		return (ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24) == 127;
	return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
}

static int listen_at(struct httpd *h, const char *address, struct error *err)
{
	struct sockaddr_storage where;
	int len = sizeof(where);
	if (!parse_address(address, &where, &len))
		return error_set(err, ERROR_USAGE, "%s: not an address with a port, as in 127.0.0.1:8402", address);
	if (!is_loopback(&where))
		return error_set(err, ERROR_USAGE, "%s: not a loopback address: HAProxy stands in front", address);
	h->listener = evconnlistener_new_bind(h->base, on_accept, h,
		LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE, HTTPD_BACKLOG,
		(struct sockaddr *)&where, len);
	if (!h->listener)
		return error_errno(err, "cannot listen at %s for %s", address, h->limits.purpose);
	return 0;
}

struct httpd *httpd_new(struct event_base *base, const char *address, const struct httpd_limits *limits,
	httpd_handler *handler, void *context, struct error *err)
{
	struct httpd *h = mem_alloc(sizeof(*h));
	h->base = base;
	h->limits = *limits;
	h->handler = handler;
	h->context = context;
	if (listen_at(h, address, err) == 0)
		return h;
	httpd_free(h);
	return NULL;
}

uint16_t httpd_port(const struct httpd *h)
{
	struct sockaddr_in6 where = {0}; /* where a sockaddr_in has its port, too */
	socklen_t len = sizeof(where);
	if (getsockname(evconnlistener_get_fd(h->listener), (struct sockaddr *)&where, &len) < 0)
		return 0;
	return ntohs(where.sin6_port);
}

void httpd_free(struct httpd *h)
{
	if (!h)
		return;
	while (h->visits)
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): visit_free takes it off the list */
		visit_free(h->visits);
	if (h->listener)
		evconnlistener_free(h->listener);
	free(h);
}
