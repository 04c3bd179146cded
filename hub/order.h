/* One ACME order for one certificate, as the daemon sees it: it runs the worker (hub/acme.c), keeps what must
 * survive (account, private key, order URL) in the store before the worker may go on, and serves the
 * challenge.
 *
 * Records in the store: kind "acme", NAME of the account: account.key (PKCS#8 PEM), account.json (its URL);
 * kind "orders", NAME of the certificate: privkey.pem, order.json (order URL, account, names); kind "dns" is
 * hub/order_dns's. A stored order
 * is resumed, never doubled (N4).
 */
#ifndef CERTSYNC_HUB_ORDER_H
#define CERTSYNC_HUB_ORDER_H

#include "hub/challenge.h"
#include "hub/config.h"
#include "hub/store.h"
#include "lib/chain.h"
#include "lib/error.h"

#include <event2/event.h>

struct order;

struct order_handler {
	/* `step` is a word of RFC 8555 for `status`: "account", "order", "challenge mail.domain.pl",
	 * "finalize"… */
	void (*progress)(const char *certificate, const char *step, void *context);
	/* Issued: key and chain, borrowed. The handler publishes; when it returns 0 the stored order is
	 * dropped, on -1 it stays for a person to see. The order is gone after the call. */
	int (*issued)(const char *certificate, const struct chain *chain, void *context);
	/* Gave up. retry_after: seconds that the server asked for, clamped to 1 s … 1 day; 0 when it did not
	 * say. The order is gone after the call. */
	void (*failed)(const char *certificate, const struct error *err, int64_t retry_after, void *context);
};

/* `resolvers` as in struct hub_config. Starts at once; the handler is only called from the loop. NULL with the reason when it cannot even start.
 */
struct order *order_start(struct event_base *base, struct store *store, struct challenge *challenge,
	char *const *resolvers, const struct hub_certificate *certificate, const struct order_handler *handler, void *context,
	struct error *err);
/* Kills the worker; no callback. */
void order_cancel(struct order *o);

#endif
