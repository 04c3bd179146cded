/* What the hub says to every agent's root half, signed with a key that is pinned there: a label that tells what it is about, never
 * sent, and a body. Sent are the body and the signature over label and body (man/certsync-protocol.7, HOST KEYS, SIGNING KEYS).
 */
#ifndef CERTSYNC_STATEMENT_H
#define CERTSYNC_STATEMENT_H

#include "lib/core/buf.h"
#include "lib/core/error.h"
#include "lib/crypto/bundle.h"
#include "lib/crypto/seal.h"

enum { STATEMENT_MAX = 2048 }; /* bytes of the whole */

/* Appends body and signature. */
int statement_sign(const char *label, const struct buf *body, const uint8_t private_key[SEAL_KEY_SIZE], struct buf *out,
	struct error *err);
/* `what` it is begins the error's text, which is ERROR_UNTRUSTED unless one of the signers signed it: *ret_signer is that one, borrowed
 * from `keys` (NULL: of no interest), *ret the body. Nothing of it is parsed before. */
int statement_open(const char *label, const char *what, const uint8_t *data, size_t len, const struct bundle_keys *keys,
	struct reader *ret, const uint8_t **ret_signer, struct error *err);

#endif
