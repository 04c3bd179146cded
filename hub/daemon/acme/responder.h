/* The tls-alpn-01 responder (RFC 8737) behind HAProxy: a worker (hub/worker/acme/responder.h) that lives for as long as a
 * certificate is proven so, and is started again when it ends. What it has to answer is kept here and told to each new
 * one.
 */
#ifndef CERTSYNC_HUB_DAEMON_ACME_RESPONDER_H
#define CERTSYNC_HUB_DAEMON_ACME_RESPONDER_H

#include "hub/daemon/hub.h"
#include "lib/core/error.h"

struct responder;

/* `address` is "127.0.0.1:8404". The worker begins at once. */
struct responder *responder_new(struct event_base *base, struct workers *workers, const char *address);
void responder_free(struct responder *r); /* after every order; NULL is fine */

/* The name is answered for from now on (err->kind is ERROR_NONE), or never will be. Called once, from the loop, unless
 * the name was removed before. */
typedef void responder_ready(const struct error *err, void *context);

/* Answers whoever asks for `name` with the digest of `authorization`. A name that another order has proven at this moment
 * is ERROR_RETRY, since a client of tls-alpn-01 says nothing but the name. */
int responder_add(struct responder *r, const char *name, const char *authorization, responder_ready *ready,
	void *context, struct error *err);
void responder_remove(struct responder *r, const char *name);

/* For the daemon: makes hub->responder when a certificate of the configuration needs it. */
void responder_open(struct hub *hub);
void responder_close(struct hub *hub);

#endif
