/* The hub's word on which of its keys may sign, so that its signing key is replaced without a visit to each node: while both are good
 * the list has both and the old one has signed it, then the new one alone. Whoever signs a list is in it, so that a key takes away
 * another one, never itself: what it leaves behind has been seen to sign. Fixed binary (man/certsync-protocol.7, SIGNING KEYS).
 */
#ifndef CERTSYNC_SIGNER_LIST_H
#define CERTSYNC_SIGNER_LIST_H

#include "lib/crypto/statement.h"

#include <stdbool.h>

enum { SIGNER_LIST_MAX = 8 + 1 + BUNDLE_SIGNERS_MAX * SEAL_KEY_SIZE + SEAL_SIGNATURE_SIZE }; /* bytes of the whole */

struct signer_list {
	int64_t serial; /* grows with every change */
	uint8_t keys[BUNDLE_SIGNERS_MAX][SEAL_KEY_SIZE];
	size_t count;
};

bool signer_list_has(const struct signer_list *l, const uint8_t key[SEAL_KEY_SIZE]);

int signer_list_sign(
	const struct signer_list *l, const uint8_t private_key[SEAL_KEY_SIZE], struct buf *out, struct error *err);
/* ERROR_UNTRUSTED unless one of the signers signed it, who is in it. Nothing of it is parsed before. */
int signer_list_open(
	const uint8_t *data, size_t len, const struct bundle_keys *keys, struct signer_list *ret, struct error *err);

#endif
