/* A private key with its certificate chain, and PEM from outside turned into DER.
 *
 * PEM that came from outside is never passed on, since what follows a blank line in it is a command to HAProxy's
 * socket. It is parsed here and written anew.
 */
#ifndef CERTSYNC_LIB_CRYPTO_CHAIN_H
#define CERTSYNC_LIB_CRYPTO_CHAIN_H

#include "lib/core/buf.h"
#include "lib/core/error.h"
#include "lib/crypto/key.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdint.h>

enum { CHAIN_CERTIFICATES_MAX = 10, CHAIN_HEX_MAX = 65, CHAIN_PEM_MAX = 64 * 1024 };

struct chain {
	EVP_PKEY *key;         /* owned; NULL when only the certificates are known */
	X509 *leaf;            /* owned */
	STACK_OF(X509) * rest; /* owned, issuers in order, the leaf not among them; never NULL */
};

void chain_release(struct chain *c);
#define auto_chain __attribute__((cleanup(chain_release)))
void chain_free_x509(X509 **certificate);
#define auto_x509 __attribute__((cleanup(chain_free_x509)))

/* Parses PEM: the certificates of `certificates_pem`, the first as the leaf, and one key of `key_pem` (with NULL and 0 there is
 * none; both may be the same combined text). It refuses no certificate, more than CHAIN_CERTIFICATES_MAX, an encrypted
 * key, two keys, a private key among the certificates unless the same text is given as key_pem, a TRUSTED CERTIFICATE,
 * a NUL byte, and more than CHAIN_PEM_MAX. Prose between blocks is passed over, and so are certificates in a separate
 * key_pem. It does not judge what it reads; lib/crypto/verify.h does. */
int chain_parse_pem(const void *certificates_pem, size_t certificates_len, const void *key_pem, size_t key_len,
	struct chain *ret, struct error *err);

/* Parses a private key that stands alone, by the same rules. The caller owns it; NULL comes with the reason. */
EVP_PKEY *chain_parse_key(const void *pem, size_t len, struct error *err);

/* Appends the DER of each block that says CERTIFICATE, in their order, as chain_write_certificates writes them (u8
 * count, bytes certificate…), and nothing else of the text; or the one certificate that it is, in DER without PEM. No X.509 is read; but it is made sure that each has the
 * frame of a certificate and is not a key that calls itself one. Nothing is appended when there is none. */
int chain_cut_certificates(const void *pem, size_t len, struct buf *out, struct error *err);
/* Does the inverse, from a reader into a chain without a key. */
int chain_read_certificates(struct reader *r, struct chain *ret, struct error *err);

/* Gives a chain without a key the public half that its leaf has. */
int chain_take_public_key(struct chain *c, struct error *err);

/* Writes PEM blocks anew from DER, with nothing between them, and appends them to `out`. */
enum chain_part { CHAIN_KEY = 1, CHAIN_LEAF = 2, CHAIN_REST = 4 };
int chain_write_pem(const struct chain *c, unsigned parts, struct buf *out, struct error *err);

/* The binary form travels sealed (lib/crypto/bundle.h): bytes key (PKCS#8 DER), u8 count, bytes certificate…. */
int chain_write_der(const struct chain *c, struct buf *out, struct error *err);
/* Writes the form without the key: u8 count, bytes certificate…. */
int chain_write_certificates(const struct chain *c, struct buf *out, struct error *err);
int chain_read_der(struct reader *r, struct chain *ret, struct error *err);

/* Computes the content's identity: SHA-256 over u32 length and DER of each certificate. The leaf binds the key. For
 * several chains (ECDSA and RSA) it goes over all of them in order. */
void chain_digest(const struct chain *chains, size_t count, uint8_t ret[CHAIN_SHA256_SIZE]);
/* Computes a certificate's fingerprint, the SHA-256 of its DER. */
void chain_fingerprint(const X509 *certificate, uint8_t ret[CHAIN_SHA256_SIZE]);
const char *chain_hex(const uint8_t sha256[CHAIN_SHA256_SIZE], char text[CHAIN_HEX_MAX]); /* lower case */
int chain_unhex(const char *text, uint8_t ret[CHAIN_SHA256_SIZE]);

/* The public facts of a leaf, as they travel in an offer. */
struct chain_facts {
	uint8_t fingerprint[CHAIN_SHA256_SIZE];
	int64_t not_before, not_after; /* wall clock, seconds */
	char key_type[16];             /* "ecdsa-p256", "rsa-2048", "ed25519", …; "other" */
	char issuer[256];              /* common name or one-line form, cleaned */
	char **names;                  /* dNSName SANs, owned, lower case; iPAddress as text */
	size_t name_count;
};
int chain_facts(const X509 *leaf, struct chain_facts *ret, struct error *err); /* however many names it has */
void chain_facts_release(struct chain_facts *f);

/* What is published, stored and told has at most so many names, of so many bytes together: authorities put some
 * hundreds into one certificate. Returns how many of the names, from the first on, are within that. */
enum { CHAIN_NAMES_MAX = 1000, CHAIN_NAMES_TEXT_MAX = 24 * 1024 };
size_t chain_names_fitting(const struct chain_facts *f);

#endif
