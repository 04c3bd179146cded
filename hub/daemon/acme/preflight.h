/* Before an order is spent, this looks whether every address of every name leads to this hub's responder, that of http-01 or
 * of tls-alpn-01: an answer of the daemon's own is served, and a worker (hub/worker/acme/preflight.h) asks for it as the
 * authority would.
 *
 * A node that cannot reach its own public address (NAT without hairpin) fails such a test and is sound all the same, so
 * the configuration says what comes of it.
 */
#ifndef CERTSYNC_HUB_DAEMON_ACME_PREFLIGHT_H
#define CERTSYNC_HUB_DAEMON_ACME_PREFLIGHT_H

#include "hub/daemon/hub.h"
#include "lib/wire/json.h"

struct preflight;

/* `findings` is an array, which the receiver owns, of name, address ("" where there is none), ok and text. `bad` is how
 * many are not ok. With NULL findings it could not be done, and err says why. The preflight is gone after the call. */
typedef void preflight_done(cJSON *findings, size_t bad, const struct error *err, void *context);

struct preflight *preflight_start(struct hub *hub, const struct hub_certificate *certificate, preflight_done *done,
	void *context, struct error *err);
void preflight_cancel(struct preflight *p); /* no callback; NULL is allowed */

/* Writes "192.0.2.7 of mail.domain.pl: answered 404; …", for the first few of those that are not ok. */
void preflight_text(const cJSON *findings, char *ret, size_t size);

#endif
