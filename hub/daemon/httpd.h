/* A small HTTP server behind HAProxy, for the http-01 responder and for the status page: one request a
 * connection, GET alone, on a loopback address. Bounded: 8 KiB of headers, no body, a deadline from accept to
 * the last byte that no byte postpones, a cap on connections, and a cap on what lies unread for all of them (beyond it: 503). At the cap the
 * oldest that has not sent a whole request gives way to the next: whoever holds all places, whoever he is, keeps nobody
 * from an answer who asks at once, as HAProxy does.
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

/* What is answered; all of it borrowed, until the handler is called again. */
struct httpd_answer {
	const char *status;  /* "200 OK" */
	const char *headers; /* each line with its CRLF; "" none. Content-Length and Connection are added */
	const void *body;
	size_t len;
};
/* `path` is what stood between GET and HTTP/1.x, as it came. `answer` begins as 404 without a body. */
typedef void httpd_handler(const char *path, struct httpd_answer *answer, void *context);

/* `address`: "127.0.0.1:8402" or "[::1]:8402"; port 0: any. `limits` is copied, its purpose borrowed. */
struct httpd *httpd_new(struct event_base *base, const char *address, const struct httpd_limits *limits,
	httpd_handler *handler, void *context, struct error *err);
void httpd_free(struct httpd *h);           /* NULL is fine; connections are closed */
uint16_t httpd_port(const struct httpd *h); /* which one it is when the address said 0 */

#endif
