/* Keys that a new order is to have, instead of one of its own: the one that is in use (reuse_key), or the one that was
 * made ahead (next_key), from the store.
 */
#ifndef CERTSYNC_HUB_ORDER_KEY_H
#define CERTSYNC_HUB_ORDER_KEY_H

#include "hub/common/config.h"
#include "hub/daemon/store.h"

#include <stdbool.h>

/* The kind of the record, its NAME being the certificate: privkey.pem, privkey-2.pem. */
#define ORDER_NEXT_KEYS "nextkeys"

/* 1 and the PEM appended, 0 when there is none of the type that is wanted: a new one is made. `never_used` leaves the
 * one in use aside. */
int order_key_made(struct store *store, const struct hub_certificate *certificate, size_t pair, bool never_used,
	struct buf *out, struct error *err);

#endif
