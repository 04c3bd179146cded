#include "hub/challenge.h"
#include "hub/jws.h"
#include "lib/mem.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
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
	CHALLENGE_BACKLOG = 1024, /* those beyond the cap wait in the kernel */
	CHALLENGE_SECONDS = 5,
	CHALLENGE_REQUEST_MAX = 8192,
};

static const char prefix[] = "/.well-known/acme-challenge/";

struct token {
	char *token, *authorization;
};

/* One connection: one request, one answer. Not evhttp's: its time-out begins anew with every byte, it has no
 * cap on connections, and it says nothing of those that end before there was a request. */
struct visit {
	struct challenge *challenge;
	struct visit *previous, *next;
	struct bufferevent *stream;
	struct event *deadline;
};

struct challenge {
	struct event_base *base;
	struct evconnlistener *listener;
	struct token *tokens;
	size_t token_count;
	struct visit *visits;
	size_t visit_count;
};

static struct token *find(const struct challenge *c, const char *token)
{
	for (size_t i = 0; i < c->token_count; i++)
		if (strcmp(c->tokens[i].token, token) == 0)
			return &c->tokens[i];
	return NULL;
}

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
	bufferevent_free(v->stream);
	free(v);
	if (c->visit_count-- == CHALLENGE_VISITS_MAX)
		evconnlistener_enable(c->listener);
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

static void reply(struct visit *v, const char *status, const char *body)
{
	bufferevent_disable(v->stream, EV_READ);
	bufferevent_setcb(v->stream, NULL, on_written, on_event, v);
	evbuffer_add_printf(bufferevent_get_output(v->stream),
		"HTTP/1.1 %s\r\nContent-Type: application/octet-stream\r\nContent-Length: %zu\r\n"
		"Connection: close\r\n\r\n%s",
		status, strlen(body), body);
}

/* `line` is "GET PATH HTTP/1.x" and becomes PATH. NULL for anything else, with its status where it
 * is not 400. */
static char *request_path(char *line, const char **ret_status)
{
	char *path = strchr(line, ' ');
	char *version = path ? strrchr(path + 1, ' ') : NULL;
	if (!version || strncmp(version, " HTTP/1.", 8) != 0)
		return NULL;
	*path++ = *version = '\0';
	*ret_status = "405 Method Not Allowed\r\nAllow: GET";
	return strcmp(line, "GET") == 0 ? path : NULL;
}

/* Once the header is complete; nothing in it but its first line matters. */
static void on_read(struct bufferevent *stream, void *context)
{
	struct visit *v = context;
	struct evbuffer *in = bufferevent_get_input(stream);
	const char *status = "400 Bad Request";
	if (evbuffer_search(in, "\r\n\r\n", 4, NULL).pos < 0) {
		if (evbuffer_get_length(in) >= CHALLENGE_REQUEST_MAX)
			reply(v, "431 Request Header Fields Too Large", "");
		return;
	}
	char *line = evbuffer_readln(in, NULL, EVBUFFER_EOL_CRLF_STRICT);
	const char *path = line ? request_path(line, &status) : NULL;
	const struct token *found = NULL;
	if (path && strncmp(path, prefix, sizeof(prefix) - 1) == 0)
		found = find(v->challenge, path + sizeof(prefix) - 1);
	if (found)
		reply(v, "200 OK", found->authorization);
	else
		reply(v, path ? "404 Not Found" : status, "");
	free(line);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *peer,
	int peer_len, void *context)
{
	static const struct timeval seconds = {.tv_sec = CHALLENGE_SECONDS};
	struct challenge *c = context;
	struct visit *v = mem_alloc(sizeof(*v));
	(void)peer;
	(void)peer_len;
	v->challenge = c;
	v->stream = bufferevent_socket_new(c->base, fd, BEV_OPT_CLOSE_ON_FREE);
	v->deadline = evtimer_new(c->base, on_deadline, v);
	if (!v->stream || !v->deadline || evtimer_add(v->deadline, &seconds) < 0)
		abort();
	bufferevent_setwatermark(v->stream, EV_READ, 0, CHALLENGE_REQUEST_MAX);
	bufferevent_setcb(v->stream, on_read, NULL, on_event, v);
	bufferevent_enable(v->stream, EV_READ);
	v->next = c->visits;
	if (v->next)
		v->next->previous = v;
	c->visits = v;
	if (++c->visit_count == CHALLENGE_VISITS_MAX)
		evconnlistener_disable(listener);
}

/* ---- the responder ---- */

/* libevent refuses ":0" and takes an address without a port; here it is the other way round. */
static bool parse_address(const char *address, struct sockaddr_storage *ret, int *len)
{
	const char *colon = strrchr(address, ':');
	bool any_port = colon && strcmp(colon, ":0") == 0;
	auto_free char *text =
		any_port ? mem_strndup(address, (size_t)(colon - address)) : mem_strdup(address);
	if (evutil_parse_sockaddr_port(text, (struct sockaddr *)ret, len) < 0)
		return false;
	/* The port stands at the same place in both families. */
	return (((const struct sockaddr_in *)ret)->sin_port == 0) == any_port;
}

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
	if (!parse_address(address, &where, &len))
		return error_set(
			err, ERROR_USAGE, "%s: not an address with a port, as in 127.0.0.1:8402", address);
	if (!is_loopback(&where))
		return error_set(
			err, ERROR_USAGE, "%s: not a loopback address: HAProxy stands in front", address);
	c->listener = evconnlistener_new_bind(c->base, on_accept, c,
		LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE, CHALLENGE_BACKLOG,
		(struct sockaddr *)&where, len);
	if (!c->listener)
		return error_errno(err, "cannot listen at %s for http-01", address);
	return 0;
}

struct challenge *challenge_new(struct event_base *base, const char *address, struct error *err)
{
	struct challenge *c = mem_alloc(sizeof(*c));
	c->base = base;
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
	while (c->visits)
		visit_free(c->visits);
	if (c->listener)
		evconnlistener_free(c->listener);
	for (size_t i = 0; i < c->token_count; i++)
		token_release(&c->tokens[i]);
	free(c->tokens);
	free(c);
}

int challenge_add(struct challenge *c, const char *token, const char *authorization, struct error *err)
{
	size_t len = strcspn(authorization, ".");
	if (!base64url_is(token, CHALLENGE_TOKEN_MAX))
		return error_set(
			err, ERROR_PERMANENT, "the challenge's token \"%.80s\" is not base64url", token);
	if (len != strlen(token) || strncmp(authorization, token, len) != 0 || !authorization[len] ||
		!base64url_is(authorization + len + 1, CHALLENGE_TOKEN_MAX))
		return error_set(
			err, ERROR_PERMANENT, "the key authorization does not belong to the token %s", token);
	challenge_remove(c, token);
	if (c->token_count == CHALLENGE_TOKENS_MAX)
		return error_set(
			err, ERROR_RETRY, "%d challenges are being answered already", CHALLENGE_TOKENS_MAX);
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
