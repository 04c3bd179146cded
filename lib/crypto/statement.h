/* What the hub says to every agent's root half, signed with a key that is pinned there. A statement has a label, which
 * says what it is about and is never sent, and a body. The body is sent with the signature over label and body
 * (man/certsync-protocol.7, HOST KEYS, SIGNING KEYS).
 */
#ifndef CERTSYNC_LIB_CRYPTO_STATEMENT_H
#define CERTSYNC_LIB_CRYPTO_STATEMENT_H

#include "lib/core/buf.h"
#include "lib/core/error.h"
#include "lib/crypto/bundle.h"
#include "lib/crypto/seal.h"

enum { STATEMENT_MAX = 2048 }; /* bytes of the whole */

/* Appends the body and the signature. */
int statement_sign(const char *label, const struct buf *body, const uint8_t private_key[SEAL_KEY_SIZE], struct buf *out,
	struct error *err);
/* Fails with ERROR_UNTRUSTED unless one of the signers signed the data; the error's text begins with `what` it is.
 * *ret_signer is that signer, borrowed from `keys` (NULL when it is of no interest), and *ret reads the body. Nothing
 * of it is parsed before the signature is checked. */
int statement_open(const char *label, const char *what, const uint8_t *data, size_t len, const struct bundle_keys *keys,
	struct reader *ret, const uint8_t **ret_signer, struct error *err);

#endif
