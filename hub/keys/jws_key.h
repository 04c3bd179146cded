/* Signing for ACME: ES256 over "BASE64URL(header).BASE64URL(payload)" (RFC 7515 section 5.1, RFC 8555 section 6.2), and
 * over nothing else. The alphabet keeps such a text apart from whatever else these keys may sign: a signing request is
 * DER, and what TLS signs has bytes outside of the alphabet (RFC 8446 section 4.4.3, RFC 5246 section 7.4.3).
 */
#ifndef CERTSYNC_HUB_KEYS_JWS_KEY_H
#define CERTSYNC_HUB_KEYS_JWS_KEY_H

#include "hub/common/keys_request.h"

#include <openssl/evp.h>

/* An account's key signs requests to its authority. A leaf's key signs one thing, that its certificate is revoked (RFC
 * 8555 section 7.6). */
int jws_key_sign(EVP_PKEY *key, enum keys_class key_class, const uint8_t *input, size_t len,
	uint8_t ret[KEYS_SIGNATURE_SIZE], struct error *err);

#endif
