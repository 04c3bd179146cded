/* HTTPS requests to a server that is not believed: there is no other protocol, no redirect, and nothing longer or
 * slower than said here. One connection is kept from request to request. Requests block, so this is for workers alone.
 */
#ifndef CERTSYNC_HUB_WORKER_HTTP_H
#define CERTSYNC_HUB_WORKER_HTTP_H

#include "hub/common/url.h"
#include "lib/core/buf.h"
#include "lib/core/error.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	HTTP_BODY_MAX = 256 * 1024,
	HTTP_HEADERS_MAX = 64 * 1024,
	HTTP_NONCE_MAX = 512,
	HTTP_TYPE_MAX = 128,
	HTTP_ALTERNATES_MAX = 8,
	HTTP_RETRY_AFTER_MAX = 24 * 3600,
};

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST };

struct http_request {
	enum http_method method;
	const char *url;
	const char *accept;       /* NULL: anything */
	const char *content_type; /* of `body` */
	const void *body;
	size_t body_len;
};

struct http_response {
	long status;
	struct buf body;
	char content_type[HTTP_TYPE_MAX];             /* lower case, without parameters */
	char nonce[HTTP_NONCE_MAX];                   /* Replay-Nonce, when it is base64url; else empty */
	char location[URL_MAX];                       /* as sent; judge it with url_is_good */
	char alternate[HTTP_ALTERNATES_MAX][URL_MAX]; /* of each Link with rel="alternate", as sent */
	size_t alternate_count;                       /* the first ones; more are passed over */
	int64_t date;                                 /* the server's clock; 0: it did not say */
	int64_t retry_after; /* seconds, 1 … HTTP_RETRY_AFTER_MAX; 0: the server did not say */
};

void http_response_release(struct http_response *r);
#define auto_http_response __attribute__((cleanup(http_response_release)))

struct http;

/* ca_file names trust anchors that replace the system's, or is NULL. */
struct http *http_new(const char *ca_file, struct error *err);
void http_free(struct http *h); /* NULL is allowed */

/* Returns 0 with whatever status the server answered, also a 404, and -1 when there is no whole answer: ERROR_UNTRUSTED
 * when its certificate was refused, ERROR_PERMANENT for a URL that is not https, else ERROR_RETRY. `ret` is released
 * first, so that one may be used again and again. */
int http_send(struct http *h, const struct http_request *request, struct http_response *ret, struct error *err);

/* Returns the value of a Retry-After header, in seconds or as a date, in the form of http_response.retry_after. `now`
 * is the server's own idea of the time where it gives one, so that a wrong clock here does not matter. */
int64_t http_retry_after(const char *value, int64_t now);

#endif
