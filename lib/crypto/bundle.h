/* A revision's content on its way to one agent: a fixed header, the sealed content, and a signature.
 *
 *  offset size
 *       0    4  magic "CSB1"
 *       4    2  version, 1
 *       6    2  flags
 *       8   32  recipient: SHA-256 of the agent's sealing public key
 *      40    4  epoch
 *      44    4  number
 *      48   32  digest of the content (chain_digest over all pairs)
 *      80    8  not_after of the first leaf, seconds since 1970
 *      88  256  the certificate's name, padded with NULs
 *     344    4  length of what is sealed (enc, ciphertext, tag)
 *     348       sealed: HPKE, info "certsync bundle 1", aad = bytes 0..347, plaintext u8 pairs then chain DER
 *     end   64  the hub's Ed25519 signature over everything before it
 *
 * bundle_check looks at length and magic, recipient, and signature, in this order; only then is anything parsed.
 */
#ifndef CERTSYNC_LIB_CRYPTO_BUNDLE_H
#define CERTSYNC_LIB_CRYPTO_BUNDLE_H

#include "lib/crypto/chain.h"
#include "lib/core/name.h"
#include "lib/crypto/revision.h"
#include "lib/crypto/seal.h"

enum {
	BUNDLE_HEADER_SIZE = 348,
	BUNDLE_MAX = 256 * 1024,
	BUNDLE_PLAIN_MAX = BUNDLE_MAX - BUNDLE_HEADER_SIZE - SEAL_ENC_SIZE - SEAL_TAG_SIZE - SEAL_SIGNATURE_SIZE,
	BUNDLE_PAIRS_MAX = 2,
	BUNDLE_SIGNERS_MAX = 8,
};

enum bundle_flag {
	BUNDLE_MAY_EXPIRE_SOONER = 1, /* than what an agent has: the hub has a reason, or its operator */
	BUNDLE_ROLLBACK = 2,          /* old content as a new revision */
	BUNDLE_NO_RETURN = 4,         /* what the agent serves was revoked: an undo must not put it back */
};

struct bundle {
	char certificate[NAME_CERTIFICATE_MAX];
	struct revision revision;
	uint16_t flags;
	uint8_t digest[CHAIN_SHA256_SIZE];
	int64_t not_after;
	struct chain pairs[BUNDLE_PAIRS_MAX]; /* owned */
	size_t pair_count;
};

void bundle_release(struct bundle *b);
#define auto_bundle __attribute__((cleanup(bundle_release)))

/* Seals and signs, and appends to `out`. digest and not_after are computed from the pairs. */
int bundle_seal(const struct bundle *b, const uint8_t recipient[SEAL_KEY_SIZE],
	const uint8_t sign_private[SEAL_KEY_SIZE], struct buf *out, struct error *err);

/* Does the same in two steps, for one content that goes to many: bundle_pack fills `plain` with what will be sealed,
 * and digest and not_after of `b`; bundle_seal_packed no longer needs the pairs. */
int bundle_pack(struct bundle *b, struct buf *plain, struct error *err);
int bundle_seal_packed(const struct bundle *b, const struct buf *plain, const uint8_t recipient[SEAL_KEY_SIZE],
	const uint8_t sign_private[SEAL_KEY_SIZE], struct buf *out, struct error *err);

struct bundle_keys {
	uint8_t seal_private[SEAL_KEY_SIZE];
	uint8_t seal_public[SEAL_KEY_SIZE];
	uint8_t signers[BUNDLE_SIGNERS_MAX][SEAL_KEY_SIZE]; /* pinned hub keys */
	size_t signer_count;
};

/* Reads which certificate and revision it is about from the clear header, before anyone has looked at the signature: good
 * for knowing whom to hand it to, and for nothing else. Returns -1 when it does not begin as a bundle does. */
int bundle_subject(
	const uint8_t *data, size_t len, char ret_certificate[NAME_CERTIFICATE_MAX], struct revision *ret_revision);

/* All three functions fail with ERROR_UNTRUSTED and the rule (format, recipient, signature, seal, digest) as the first
 * word.
 *
 * The agent's root half uses two processes for them. It runs bundle_check itself, which looks over fixed offsets at who
 * has signed what for whom: `ret` gets the header's fields and no pairs, and seal_private is not looked at. */
int bundle_check(
	const uint8_t *data, size_t len, const struct bundle_keys *keys, struct bundle *ret, struct error *err);
/* The rest is done where nothing can come of it, on bytes that bundle_check has let through. This appends the
 * plaintext; after it the sealing key is no longer needed. */
int bundle_unseal(const uint8_t *data, size_t len, const uint8_t seal_private[SEAL_KEY_SIZE], struct buf *plain,
	struct error *err);
/* Reads header and pairs. The content's digest equals the header's when it succeeds; whether to accept the content is
 * for lib/crypto/verify.h to say. */
int bundle_unpack(const uint8_t *data, size_t len, const struct buf *plain, struct bundle *ret, struct error *err);

/* Does the three in a row, for tools and tests. */
int bundle_open(const uint8_t *data, size_t len, const struct bundle_keys *keys, struct bundle *ret, struct error *err);

#endif
