/* A revision's content on its way to one agent: fixed header, sealed content, signature.
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
 *      88  256  certificate's name, padded with NULs
 *     344    4  length of what is sealed (enc, ciphertext, tag)
 *     348       sealed: HPKE, info "certsync bundle 1", aad = bytes 0..347, plaintext u8 pairs then chain DER
 *     end   64  Ed25519 signature by the hub over everything before it
 *
 * bundle_check looks, in this order, at length and magic, recipient, signature; only then is anything parsed.
 */
#ifndef CERTSYNC_BUNDLE_H
#define CERTSYNC_BUNDLE_H

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
	BUNDLE_MAY_EXPIRE_SOONER = 1, /* the operator said so at the hub */
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

/* Seals and signs; appends to `out`. digest and not_after are computed from the pairs. */
int bundle_seal(const struct bundle *b, const uint8_t recipient[SEAL_KEY_SIZE],
	const uint8_t sign_private[SEAL_KEY_SIZE], struct buf *out, struct error *err);

/* The same in two steps, where one content goes to many: bundle_pack fills `plain` with what will be sealed, and in `b`
 * digest and not_after; bundle_seal_packed needs its pairs no more. */
int bundle_pack(struct bundle *b, struct buf *plain, struct error *err);
int bundle_seal_packed(const struct bundle *b, const struct buf *plain, const uint8_t recipient[SEAL_KEY_SIZE],
	const uint8_t sign_private[SEAL_KEY_SIZE], struct buf *out, struct error *err);

struct bundle_keys {
	uint8_t seal_private[SEAL_KEY_SIZE];
	uint8_t seal_public[SEAL_KEY_SIZE];
	uint8_t signers[BUNDLE_SIGNERS_MAX][SEAL_KEY_SIZE]; /* pinned hub keys */
	size_t signer_count;
};

/* All three: ERROR_UNTRUSTED with the rule (format, recipient, signature, seal, digest) as the first word.
 *
 * The agent's root half takes two processes for it. It checks itself, over fixed offsets, who has signed what for whom: `ret` has the
 * header's fields and no pairs, and seal_private is not looked at. */
int bundle_check(
	const uint8_t *data, size_t len, const struct bundle_keys *keys, struct bundle *ret, struct error *err);
/* The rest is done where nothing can come of it, on bytes that bundle_check has let through. Appends the plaintext; then the
 * sealing key is needed no more. */
int bundle_unseal(const uint8_t *data, size_t len, const uint8_t seal_private[SEAL_KEY_SIZE], struct buf *plain,
	struct error *err);
/* Header and pairs. The content's digest equals the header's; whether to accept it is lib/crypto/verify.h's. */
int bundle_unpack(const uint8_t *data, size_t len, const struct buf *plain, struct bundle *ret, struct error *err);

/* The three in a row, for tools and tests. */
int bundle_open(const uint8_t *data, size_t len, const struct bundle_keys *keys, struct bundle *ret, struct error *err);

#endif
