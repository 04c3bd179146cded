/* The hub's statement on which of its keys may sign, so that its signing key is replaced without a visit to each node.
 * While both keys are good the list has both and the old one has signed it; afterwards it has the new one alone.
 * Whoever signs a list is in it, so that a key can take away another one but never itself: what it leaves behind has
 * been seen to sign. The encoding is fixed (man/certsync-protocol.7, SIGNING KEYS).
 */
#ifndef CERTSYNC_LIB_CRYPTO_SIGNER_LIST_H
#define CERTSYNC_LIB_CRYPTO_SIGNER_LIST_H

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
/* Fails with ERROR_UNTRUSTED unless one of the signers signed the data and is in the list. Nothing of it is parsed
 * before the signature is checked. */
int signer_list_open(
	const uint8_t *data, size_t len, const struct bundle_keys *keys, struct signer_list *ret, struct error *err);

#endif
