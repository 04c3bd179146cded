/* Certificates that were revoked from here. They are never published again, neither by a rollback nor by an import.
 *
 * The store has a record for each, of kind "revoked" in the certificate's NAME: the leaf's fingerprint in hex with
 * ".json".
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
/* Returns 1 and what is known of it, or 0 when it was not revoked. A damaged record counts as one all the same. */
int revoked_find(
	struct store *store, const char *certificate, const uint8_t leaf[CHAIN_SHA256_SIZE], struct revoked *ret);

/* Does the same for either leaf of a revision. */
int revoked_find_either(struct store *store, const char *certificate, const struct manifest *m, struct revoked *ret);

/* Fails with ERROR_UNTRUSTED, "revoked: …", when one of these was revoked. */
int revoked_check(
	struct store *store, const char *certificate, const struct chain *pairs, size_t count, struct error *err);

#endif
