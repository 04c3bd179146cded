/* What an order has the hub answer for it, by http-01 (hub/daemon/acme/challenge.h) or by tls-alpn-01
 * (hub/daemon/acme/responder.h), from the authority's challenge until the order ends.
 */
#ifndef CERTSYNC_HUB_DAEMON_ACME_ORDER_ANSWERS_H
#define CERTSYNC_HUB_DAEMON_ACME_ORDER_ANSWERS_H

#include "hub/daemon/acme/challenge.h"
#include "hub/daemon/acme/responder.h"
#include "hub/daemon/store.h"
#include "lib/wire/json.h"

#include <stddef.h>

enum { ORDER_ANSWERS_MAX = 256 };

/* Both responders are borrowed. */
struct order_answers {
	struct challenge *challenge;
	struct responder *responder;    /* NULL: the order is proven by http-01 */
	char *given[ORDER_ANSWERS_MAX]; /* tokens, or with a responder names; owned */
	size_t count;
};

/* Takes the worker's message "challenge" (hub/worker/acme/acme.c), whose name is known to be one of the order's. Returns 1
 * when it is being answered, 0 when `ready` will tell, as responder_add says, and -1 with the reason. An answer for another
 * account than `account` is refused, since with it a name of ours would be proven to somebody else. */
int order_answers_give(struct order_answers *a, struct store *store, const char *account, const cJSON *message,
	responder_ready *ready, void *context, struct error *err);
void order_answers_release(struct order_answers *a);

#endif
