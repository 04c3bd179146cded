/* A PKCS#12 file (RFC 7292) of a private key and its certificates, as Java, Windows and appliances read it. It is written
 * and never read, from DER that is not parsed.
 *
 * Key and certificates are encrypted by AES-256-CBC under PBKDF2 with HMAC-SHA-256, and the MAC is HMAC-SHA-256 (RFC
 * 7292 section 5, RFC 8018), which is what OpenSSL 3 and Java since 16 write by themselves.
 *
 * The salts and initialization vectors are not random: they are computed, keyed with the private key, from everything
 * that goes into the file, password and name included. So the same content is the same file, byte for byte, which
 * whoever installed it can tell from a changed one; and no salt serves for two contents. Without the private key they
 * are as good as random, and help nobody to guess the password.
 */
#ifndef CERTSYNC_LIB_CRYPTO_PKCS12_H
#define CERTSYNC_LIB_CRYPTO_PKCS12_H

#include "lib/core/buf.h"
#include "lib/core/error.h"

enum { PKCS12_ROUNDS = 10000 }; /* of each of the three derivations from the password */

struct pkcs12 {
	const struct buf *key;          /* PKCS#8 in DER */
	const struct buf *certificates; /* in DER, the leaf first; at least one */
	size_t certificate_count;
	const char *name;           /* friendlyName of key and leaf: ASCII */
	const struct buf *password; /* ASCII, since readers differ about anything else */
};

/* Appends the file to `out`, whose maximum must leave room for the DER twice. */
int pkcs12_write(const struct pkcs12 *p, struct buf *out, struct error *err);

#endif
