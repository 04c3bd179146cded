/* A small HTTP server behind HAProxy, for the http-01 responder and for the status page. Each connection has one
 * request, GET alone, on a loopback address. It is bounded: 8 KiB of headers, no body, a deadline from the accept to
 * the last byte that no byte postpones, a cap on connections, and a cap on what lies unread for all of them, beyond
 * which it answers 503. At the cap the oldest connection that has not sent a whole request gives way to the next: so
 * nobody who holds all places keeps a client from its answer that asks at once, as HAProxy does.
 */
#ifndef CERTSYNC_HUB_DAEMON_HTTPD_H
#define CERTSYNC_HUB_DAEMON_HTTPD_H

#include "lib/core/error.h"

#include <event2/event.h>
#include <stddef.h>
#include <stdint.h>

struct httpd;

struct httpd_limits {
	const char *purpose; /* for errors: "http-01" */
	int seconds;         /* from accept to the end */
	size_t visits;       /* connections at once */
	size_t output;       /* bytes of bodies under way at once */
};

/* What is answered; all of it is borrowed until the handler is called again. */
struct httpd_answer {
	const char *status;  /* "200 OK" */
	const char *headers; /* each line with its CRLF; "" none. Content-Length and Connection are added */
	const void *body;
	size_t len;
};
/* `path` is what stood between GET and HTTP/1.x, as it came. `answer` begins as 404 without a body. */
typedef void httpd_handler(const char *path, struct httpd_answer *answer, void *context);

/* `address` is "127.0.0.1:8402" or "[::1]:8402"; port 0 means any port. `limits` is copied, and its purpose
 * borrowed. */
struct httpd *httpd_new(struct event_base *base, const char *address, const struct httpd_limits *limits,
	httpd_handler *handler, void *context, struct error *err);
void httpd_free(struct httpd *h);           /* NULL is fine; connections are closed */
uint16_t httpd_port(const struct httpd *h); /* which one it is when the address said 0 */

#endif
