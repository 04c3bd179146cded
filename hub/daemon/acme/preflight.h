/* Before an order is spent: does every address of every name lead to this hub's http-01 responder? A token of
 * the daemon's own is served, and a worker (hub/worker/acme/preflight.h) asks for it as the authority would.
 *
 * A node that cannot reach its own public address (NAT without hairpin) fails such a test and is sound all
 * the same: what comes of it is the configuration's to say.
 */
#ifndef CERTSYNC_HUB_DAEMON_ACME_PREFLIGHT_H
#define CERTSYNC_HUB_DAEMON_ACME_PREFLIGHT_H

#include "hub/daemon/hub.h"
#include "lib/wire/json.h"

struct preflight;

/* `findings`: an array, the receiver's own: name, address ("" where there is none), ok, text. `bad`: how many
 * are not ok. NULL findings: it could not be done, and err says why. The preflight is gone after the call. */
typedef void preflight_done(cJSON *findings, size_t bad, const struct error *err, void *context);

struct preflight *preflight_start(struct hub *hub, const struct hub_certificate *certificate, preflight_done *done,
	void *context, struct error *err);
void preflight_cancel(struct preflight *p); /* no callback; NULL is allowed */

/* "192.0.2.7 of mail.domain.pl: answered 404; …", the first few of those that are not ok. */
void preflight_text(const cJSON *findings, char *ret, size_t size);

#endif
