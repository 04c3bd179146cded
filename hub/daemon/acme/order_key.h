/* Keys of orders as the daemon knows them: their public halves, in records of the store, by which certsync-keys is
 * asked. A new order gets the key that is in use (reuse_key), or the one that was made ahead (next_key), or one of its
 * own.
 */
#ifndef CERTSYNC_HUB_DAEMON_ACME_ORDER_KEY_H
#define CERTSYNC_HUB_DAEMON_ACME_ORDER_KEY_H

#include "hub/common/config.h"
#include "hub/daemon/keys.h"
#include "hub/daemon/store.h"
#include "lib/wire/json.h"

#include <stdbool.h>

/* The kind of the record in the certificate's NAME: key.pub, key-2.pub. */
#define ORDER_NEXT_KEYS "nextkeys"
/* The file of an order's record. */
#define ORDER_KEY "key.pub"

struct order_key {
	uint8_t spki[KEYS_SPKI_MAX];
	size_t len; /* 0: none */
	uint8_t id[KEYS_ID_SIZE];
};

int order_key_take(struct order_key *k, const struct buf *spki, struct error *err);
/* These read and write a record. They return 1, 0 when there is none, or -1. */
int order_key_load(struct store *store, const char *kind, const char *name, const char *file, struct order_key *ret,
	struct error *err);
int order_key_store(struct store *store, const char *kind, const char *name, const char *file,
	const struct order_key *k, struct error *err);
/* Adds the key as a worker is told it, in base64url. */
int order_key_add(const struct order_key *k, cJSON *object, const char *member, struct error *err);
int order_key_public(const struct order_key *k, EVP_PKEY **ret, struct error *err); /* owned */

/* Returns 1 and the key that a new order is to have, or 0 when there is none of the type that is wanted, so that a new
 * one is made. `never_used` leaves the one in use aside. */
int order_key_wanted(struct store *store, const struct hub_certificate *certificate, size_t pair, bool never_used,
	struct order_key *ret, struct error *err);
/* Returns 1 when there is a key of this type that was made ahead for the order after the one with `used`, 0, or -1. */
int order_key_next_is_unused(struct store *store, const char *certificate, size_t pair, const char *key_type,
	const struct order_key *used, struct error *err);
/* Puts a key there; the one that was there is dropped, unless a revision has it. */
int order_key_put_next(struct store *store, struct keys *keys, const char *certificate, size_t pair,
	const struct order_key *k, struct error *err);
/* Returns whether it is one that was made ahead. */
bool order_key_is_next(struct store *store, const char *certificate, const struct order_key *k);

#endif
