/* Sealing to one recipient (HPKE, RFC 9180, base mode, single shot: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
 * ChaCha20-Poly1305) and the hub's Ed25519 signature (RFC 8032). Keys are raw strings of 32 bytes.
 */
#ifndef CERTSYNC_LIB_CRYPTO_SEAL_H
#define CERTSYNC_LIB_CRYPTO_SEAL_H

#include "lib/core/buf.h"
#include "lib/core/error.h"

enum { SEAL_KEY_SIZE = 32, SEAL_ENC_SIZE = 32, SEAL_TAG_SIZE = 16, SEAL_SIGNATURE_SIZE = 64 };

/* Makes an X25519 pair. */
int seal_keypair(uint8_t ret_private[SEAL_KEY_SIZE], uint8_t ret_public[SEAL_KEY_SIZE], struct error *err);
int seal_public(const uint8_t private_key[SEAL_KEY_SIZE], uint8_t ret_public[SEAL_KEY_SIZE], struct error *err);

/* Appends enc, then the ciphertext with its tag (plain_len + SEAL_TAG_SIZE). */
int seal(const uint8_t recipient[SEAL_KEY_SIZE], const void *info, size_t info_len, const void *aad, size_t aad_len,
	const void *plain, size_t plain_len, struct buf *out, struct error *err);
/* Does the inverse and appends the plaintext. It fails with ERROR_UNTRUSTED when the data was not sealed to this key or
 * was changed. */
int unseal(const uint8_t private_key[SEAL_KEY_SIZE], const void *info, size_t info_len, const void *aad, size_t aad_len,
	const uint8_t *sealed, size_t sealed_len, struct buf *out, struct error *err);

int sign_keypair(uint8_t ret_private[SEAL_KEY_SIZE], uint8_t ret_public[SEAL_KEY_SIZE], struct error *err);
int sign_public(const uint8_t private_key[SEAL_KEY_SIZE], uint8_t ret_public[SEAL_KEY_SIZE], struct error *err);
int sign(const uint8_t private_key[SEAL_KEY_SIZE], const void *data, size_t len,
	uint8_t ret_signature[SEAL_SIGNATURE_SIZE], struct error *err);
/* Returns 0 when it is the signature, else -1 with ERROR_UNTRUSTED. */
int sign_check(const uint8_t public_key[SEAL_KEY_SIZE], const void *data, size_t len,
	const uint8_t signature[SEAL_SIGNATURE_SIZE], struct error *err);

int sha256(const void *data, size_t len, uint8_t ret[32]);

/* Seals with a given ephemeral private key, for tests with the RFC's vectors. */
int seal_with_ephemeral(const uint8_t ephemeral[SEAL_KEY_SIZE], const uint8_t recipient[SEAL_KEY_SIZE],
	const void *info, size_t info_len, const void *aad, size_t aad_len, const void *plain, size_t plain_len,
	struct buf *out, struct error *err);

#endif
