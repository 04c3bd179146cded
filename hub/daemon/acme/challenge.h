/* The http-01 responder (RFC 8555 section 8.3) behind HAProxy: GET /.well-known/acme-challenge/TOKEN on a loopback
 * address. It is bounded as hub/daemon/httpd.h says: 8 KiB of headers, no body, GET alone, 5 s, a cap on connections.
 */
#ifndef CERTSYNC_HUB_DAEMON_ACME_CHALLENGE_H
#define CERTSYNC_HUB_DAEMON_ACME_CHALLENGE_H

#include "lib/core/error.h"

#include <event2/event.h>
#include <stdint.h>

struct challenge;

/* `address` is "127.0.0.1:8402" or "[::1]:8402". */
struct challenge *challenge_new(struct event_base *base, const char *address, struct error *err);
void challenge_free(struct challenge *c);
uint16_t challenge_port(const struct challenge *c); /* which one it is when the address said 0 */
/* Serves `authorization` for `token`. Returns -1 when the token is outside its alphabet (base64url) or there are too
 * many. */
int challenge_add(struct challenge *c, const char *token, const char *authorization, struct error *err);
void challenge_remove(struct challenge *c, const char *token);

#endif
