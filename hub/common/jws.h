/* JSON web signatures as ACME uses them: ES256 in the flattened form (RFC 7515, RFC 8555 section 6.2), the
 * public key as a JWK and its thumbprint (RFC 7638), and the binding to an account elsewhere, HS256. Keys are
 * ECDSA P-256.
 */
#ifndef CERTSYNC_HUB_JWS_H
#define CERTSYNC_HUB_JWS_H

#include "lib/core/buf.h"
#include "lib/core/error.h"

#include <openssl/evp.h>
#include <stdbool.h>

enum { JWS_THUMBPRINT_MAX = 44, JWS_MAX = 64 * 1024 };

/* RFC 4648 section 5, without padding. -1 when `out` is full. */
int base64url_encode(const void *data, size_t len, struct buf *out);
/* The other way, appended; padding at the end is passed over. -1 when it is not of that alphabet, or `out` is full. */
int base64url_decode(const char *text, struct buf *out);
/* Whether `text` is 1 to `max` characters of that alphabet and nothing else. */
bool base64url_is(const char *text, size_t max);

/* The JWK in the one form that RFC 7638 hashes: members in order, no blanks. Appended to `out`. */
int jws_jwk(const EVP_PKEY *key, struct buf *out, struct error *err);
int jws_thumbprint(const EVP_PKEY *key, char ret[JWS_THUMBPRINT_MAX], struct error *err);

struct jws_header {
	const char *kid; /* the account's URL; NULL: the public key itself stands in the header */
	const char *nonce; /* NULL: none, inside of a key change */
	const char *url;
};

/* Appends {"protected": …, "payload": …, "signature": …}. payload NULL: the empty one of a POST-as-GET. */
int jws_sign(EVP_PKEY *key, const struct jws_header *header, const char *payload, struct buf *out,
	struct error *err);

/* The binding of RFC 8555 section 7.3.4: the account's public key, signed with the key (`hmac`, as bytes) that the
 * authority knows as `kid`. Appended; a JSON object. */
int jws_bind(const EVP_PKEY *account, const char *kid, const struct buf *hmac, const char *url, struct buf *out,
	struct error *err);

#endif
