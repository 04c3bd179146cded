/* JSON web signatures as ACME uses them: ES256 in the flattened form (RFC 7515, RFC 8555 section 6.2), the public key
 * as a JWK and its thumbprint (RFC 7638), and the binding to an account elsewhere, by HS256. Keys are ECDSA P-256.
 */
#ifndef CERTSYNC_HUB_COMMON_JWS_H
#define CERTSYNC_HUB_COMMON_JWS_H

#include "lib/core/base64.h"
#include "lib/core/buf.h"
#include "lib/core/error.h"

#include <openssl/evp.h>
#include <stdbool.h>

enum { JWS_THUMBPRINT_MAX = 44, JWS_MAX = 64 * 1024, JWS_SIGNATURE_SIZE = 64 };

/* Appends the JWK in the one form that RFC 7638 hashes: members in order, no blanks. */
int jws_jwk(const EVP_PKEY *key, struct buf *out, struct error *err);
int jws_thumbprint(const EVP_PKEY *key, char ret[JWS_THUMBPRINT_MAX], struct error *err);

struct jws_header {
	const char *kid;   /* the account's URL; NULL: the public key itself stands in the header */
	const char *nonce; /* NULL: none, inside of a key change */
	const char *url;
};

/* Appends what is to be signed: header and payload. With payload NULL it is the empty one of a POST-as-GET. Only the
 * public half of the key is needed, since certsync-keys signs (hub/common/keys_request.h). */
int jws_input(
	const EVP_PKEY *key, const struct jws_header *header, const char *payload, struct buf *out, struct error *err);
/* Appends {"protected": …, "payload": …, "signature": …}. The signature is r and s (RFC 7518 section 3.4). */
int jws_finish(struct buf *input, const uint8_t signature[JWS_SIGNATURE_SIZE], struct buf *out, struct error *err);

/* Appends the binding of RFC 8555 section 7.3.4, a JSON object: the account's public key, signed with the key (`hmac`,
 * as bytes) that the authority knows as `kid`. */
int jws_bind(const EVP_PKEY *account, const char *kid, const struct buf *hmac, const char *url, struct buf *out,
	struct error *err);

#endif
