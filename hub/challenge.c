#include "hub/challenge.h"
#include "hub/jws.h"
#include "lib/mem.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
	CHALLENGE_TOKENS_MAX = 4096,
	CHALLENGE_TOKEN_MAX = 256,
	CHALLENGE_VISITS_MAX = 256,
	CHALLENGE_SECONDS = 5,
	CHALLENGE_HEADERS_MAX = 8192,
};

static const char prefix[] = "/.well-known/acme-challenge/";

struct token {
	char *token, *authorization;
};

/* One connection. evhttp's own time-out begins anew with every byte and it has no cap, so each connection has
 * a reference to its bufferevent here until it is closed or its time is over. */
struct visit {
	struct challenge *challenge;
	struct visit *previous, *next;
	struct bufferevent *stream;
	struct event *deadline;
};

struct challenge {
	struct event_base *base;
	struct evhttp *http;
	struct evconnlistener *listener; /* evhttp's */
	struct token *tokens;
	size_t token_count;
	struct visit *visits;
	size_t visit_count;
};

/* ---- connections ---- */

static void visit_free(struct visit *v)
{
	struct challenge *c = v->challenge;
	if (v->previous)
		v->previous->next = v->next;
	else
		c->visits = v->next;
	if (v->next)
		v->next->previous = v->previous;
	event_free(v->deadline);
	bufferevent_decref(v->stream);
	free(v);
	if (c->visit_count-- == CHALLENGE_VISITS_MAX)
		evconnlistener_enable(c->listener);
}

/* evhttp takes its callbacks off a bufferevent that it has done with. */
static bool visit_is_open(const struct visit *v)
{
	bufferevent_event_cb on_event = NULL;
	bufferevent_getcb(v->stream, NULL, NULL, &on_event, NULL);
	return on_event != NULL;
}

static void on_deadline(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	struct visit *v = context;
	if (visit_is_open(v))
		bufferevent_trigger_event(v->stream, BEV_EVENT_TIMEOUT | BEV_EVENT_READING, 0);
	visit_free(v);
}

/* Closed before its time. */
static void on_closed(struct evhttp_connection *connection, void *context)
{
	struct challenge *c = context;
	const struct bufferevent *stream = evhttp_connection_get_bufferevent(connection);
	for (struct visit *v = c->visits; v; v = v->next)
		if (v->stream == stream) {
			visit_free(v);
			return;
		}
}

/* Called by evhttp for each connection that it takes. */
static struct bufferevent *on_visit(struct event_base *base, void *context)
{
	static const struct timeval seconds = {.tv_sec = CHALLENGE_SECONDS};
	struct challenge *c = context;
	struct visit *v = mem_alloc(sizeof(*v));
	v->challenge = c;
	/* Without BEV_OPT_CLOSE_ON_FREE: evhttp then closes the descriptor itself, whoever holds a reference. */
	v->stream = bufferevent_socket_new(base, -1, 0);
	v->deadline = evtimer_new(base, on_deadline, v);
	if (!v->stream || !v->deadline || evtimer_add(v->deadline, &seconds) < 0)
		abort();
	bufferevent_incref(v->stream);
	v->next = c->visits;
	if (v->next)
		v->next->previous = v;
	c->visits = v;
	if (++c->visit_count == CHALLENGE_VISITS_MAX)
		evconnlistener_disable(c->listener);
	return v->stream;
}

/* ---- answers ---- */

static struct token *find(const struct challenge *c, const char *token)
{
	for (size_t i = 0; i < c->token_count; i++)
		if (strcmp(c->tokens[i].token, token) == 0)
			return &c->tokens[i];
	return NULL;
}

static const struct token *asked_for(const struct challenge *c, struct evhttp_request *request)
{
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request);
	const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
	if (!path || strncmp(path, prefix, sizeof(prefix) - 1) != 0)
		return NULL;
	return find(c, path + sizeof(prefix) - 1);
}

static void on_request(struct evhttp_request *request, void *context)
{
	struct challenge *c = context;
	struct evhttp_connection *connection = evhttp_request_get_connection(request);
	struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
	evhttp_connection_set_closecb(connection, on_closed, c);
	evhttp_add_header(headers, "Connection", "close");
	evhttp_add_header(headers, "Content-Type", "application/octet-stream");
	const struct token *found = asked_for(c, request);
	struct evbuffer *body = evbuffer_new();
	if (!body || evbuffer_add_printf(body, "%s", found ? found->authorization : "") < 0)
		abort();
	evhttp_send_reply(request, found ? HTTP_OK : HTTP_NOTFOUND, found ? "OK" : "Not Found", body);
	evbuffer_free(body);
}

/* ---- the responder ---- */

static bool is_loopback(const struct sockaddr_storage *address)
{
	if (address->ss_family == AF_INET)
		return (ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24) == 127;
	return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
}

static int listen_at(struct challenge *c, const char *address, struct error *err)
{
	struct sockaddr_storage where;
	int len = sizeof(where);
	if (evutil_parse_sockaddr_port(address, (struct sockaddr *)&where, &len) < 0)
		return error_set(err, ERROR_USAGE, "%s: not an address with a port, as in 127.0.0.1:8402", address);
	if (!is_loopback(&where))
		return error_set(err, ERROR_USAGE, "%s: not a loopback address: HAProxy stands in front", address);
	c->listener = evconnlistener_new_bind(c->base, NULL, NULL,
		LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE, -1, (struct sockaddr *)&where, len);
	if (!c->listener)
		return error_errno(err, "cannot listen at %s for http-01", address);
	if (!evhttp_bind_listener(c->http, c->listener))
		abort();
	return 0;
}

struct challenge *challenge_new(struct event_base *base, const char *address, struct error *err)
{
	struct challenge *c = mem_alloc(sizeof(*c));
	c->base = base;
	c->http = evhttp_new(base);
	if (!c->http)
		abort();
	evhttp_set_max_headers_size(c->http, CHALLENGE_HEADERS_MAX);
	evhttp_set_max_body_size(c->http, 0);
	evhttp_set_allowed_methods(c->http, EVHTTP_REQ_GET);
	evhttp_set_timeout(c->http, CHALLENGE_SECONDS);
	evhttp_set_bevcb(c->http, on_visit, c);
	evhttp_set_gencb(c->http, on_request, c);
	if (listen_at(c, address, err) == 0)
		return c;
	challenge_free(c);
	return NULL;
}

uint16_t challenge_port(const struct challenge *c)
{
	struct sockaddr_storage where;
	socklen_t len = sizeof(where);
	if (getsockname(evconnlistener_get_fd(c->listener), (struct sockaddr *)&where, &len) < 0)
		return 0;
	if (where.ss_family == AF_INET)
		return ntohs(((const struct sockaddr_in *)&where)->sin_port);
	return ntohs(((const struct sockaddr_in6 *)&where)->sin6_port);
}

static void token_release(struct token *t)
{
	free(t->token);
	free(t->authorization);
}

void challenge_free(struct challenge *c)
{
	if (!c)
		return;
	/* Connections first: those that are closed with evhttp tell on_closed of it. */
	struct evhttp *http = steal(c->http);
	while (c->visits)
		visit_free(c->visits);
	evhttp_free(http);
	for (size_t i = 0; i < c->token_count; i++)
		token_release(&c->tokens[i]);
	free(c->tokens);
	free(c);
}

int challenge_add(struct challenge *c, const char *token, const char *authorization, struct error *err)
{
	size_t len = strcspn(authorization, ".");
	if (!base64url_is(token, CHALLENGE_TOKEN_MAX))
		return error_set(err, ERROR_PERMANENT, "the challenge's token \"%.80s\" is not base64url", token);
	if (len != strlen(token) || strncmp(authorization, token, len) != 0 || !authorization[len] ||
		!base64url_is(authorization + len + 1, CHALLENGE_TOKEN_MAX))
		return error_set(err, ERROR_PERMANENT, "the key authorization does not belong to the token %s", token);
	challenge_remove(c, token);
	if (c->token_count == CHALLENGE_TOKENS_MAX)
		return error_set(err, ERROR_RETRY, "%d challenges are being answered already", CHALLENGE_TOKENS_MAX);
	c->tokens = mem_grow(c->tokens, c->token_count + 1, sizeof(*c->tokens));
	c->tokens[c->token_count++] = (struct token){mem_strdup(token), mem_strdup(authorization)};
	return 0;
}

void challenge_remove(struct challenge *c, const char *token)
{
	struct token *t = find(c, token);
	if (!t)
		return;
	token_release(t);
	*t = c->tokens[--c->token_count];
}
