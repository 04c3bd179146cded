/* Certificates that were revoked from here. They are never published again, neither by a rollback nor by an
 * import.
 *
 * Records in the store: kind "revoked", NAME of the certificate: the leaf's fingerprint in hex ".json".
 */
#ifndef CERTSYNC_HUB_DAEMON_REVOKED_H
#define CERTSYNC_HUB_DAEMON_REVOKED_H

#include "hub/common/revocation.h"
#include "hub/daemon/store.h"

#include <stdbool.h>

struct revoked {
	char reason[REVOKED_REASON_MAX]; /* as RFC 5280 calls it */
	int64_t at;
};

int revoked_note(struct store *store, const char *certificate, const uint8_t leaf[CHAIN_SHA256_SIZE],
	const struct revoked *r, struct error *err);
/* 1 and what is known of it, 0 it was not revoked. A damaged record is one all the same. */
int revoked_find(
	struct store *store, const char *certificate, const uint8_t leaf[CHAIN_SHA256_SIZE], struct revoked *ret);

/* ERROR_UNTRUSTED, "revoked: …", when one of these was. */
int revoked_check(
	struct store *store, const char *certificate, const struct chain *pairs, size_t count, struct error *err);

#endif
