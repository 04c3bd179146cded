/* One key of a certificate: how it is made, what its type is called, and its public half. */
#ifndef CERTSYNC_LIB_CRYPTO_KEY_H
#define CERTSYNC_LIB_CRYPTO_KEY_H

#include "lib/core/buf.h"
#include "lib/core/error.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <stdint.h>

enum { CHAIN_SHA256_SIZE = 32, CHAIN_SPKI_MAX = 2048 };

void chain_free_pkey(EVP_PKEY **key);
#define auto_pkey __attribute__((cleanup(chain_free_pkey)))

/* Fills `err` with `fmt` and the reason on top of OpenSSL's error queue, which it empties. Returns -1. */
int openssl_error(struct error *err, enum error_kind kind, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The public half of a key. The functions append its SubjectPublicKeyInfo in DER (a point of a curve is written out,
 * however the key came), compute the SHA-256 of that, which names the key, and make the key from it. */
int chain_write_spki(EVP_PKEY *key, struct buf *out, struct error *err);
int chain_key_id(EVP_PKEY *key, uint8_t ret[CHAIN_SHA256_SIZE], struct error *err);
EVP_PKEY *chain_public_key(const void *der, size_t len, struct error *err); /* owned */
/* Appends only the private half, as PKCS#8 DER. */
int chain_write_key(const EVP_PKEY *key, struct buf *out, struct error *err);
/* Returns whether the private half signs what the public one accepts, since a file can hold two that do not belong
 * together. */
bool chain_key_is_sound(EVP_PKEY *key, EVP_PKEY *public_key);

/* Writes the key's type, "ecdsa-p256", "ecdsa-p521", "rsa-2048", "ed25519", … or "other", into `text` and returns it. */
enum { CHAIN_KEY_TYPE_MAX = 16 };
const char *chain_key_type(EVP_PKEY *key, char text[CHAIN_KEY_TYPE_MAX]);
/* Makes a new private key: "ecdsa-p256", "ecdsa-p384", "rsa-2048", "rsa-3072" or "rsa-4096". Returns NULL with the
 * reason. */
EVP_PKEY *chain_make_key(const char *key_type, struct error *err);

#endif
