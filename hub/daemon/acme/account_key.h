/* The key of an account at an authority, as the daemon knows it: its public half, in a record; certsync-keys holds the
 * key and signs.
 */
#ifndef CERTSYNC_HUB_DAEMON_ACME_ACCOUNT_KEY_H
#define CERTSYNC_HUB_DAEMON_ACME_ACCOUNT_KEY_H

#include "hub/daemon/acme/order_key.h"

/* The file of an account's record, of kind "acme" or "acme-next". */
#define ACCOUNT_KEY "account.pub"

/* Makes a key and records it, durably. */
int account_key_make(struct store *store, struct keys *keys, const char *kind, const char *account,
	struct order_key *ret, struct error *err);
/* Makes the answer to a worker's "sign", which the caller owns; returns NULL with the reason. */
cJSON *account_key_sign(struct keys *keys, enum keys_class key_class, const uint8_t id[KEYS_ID_SIZE],
	const cJSON *message, struct error *err);

#endif
