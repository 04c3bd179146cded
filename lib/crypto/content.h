/* What a certificate's revision is: its number, its content's identity, its leaf, and how long that is valid. This one
 * shape goes from the hub's manifest over the rollout and the `offer` to the agent and into its root half's journal;
 * whoever compares two revisions by their content does it here.
 */
#ifndef CERTSYNC_LIB_CRYPTO_CONTENT_H
#define CERTSYNC_LIB_CRYPTO_CONTENT_H

#include "lib/core/buf.h"
#include "lib/crypto/chain.h"
#include "lib/crypto/revision.h"

#include <stdbool.h>
#include <stdint.h>

struct content {
	struct revision revision;          /* (0, 0): a placeholder, or nothing */
	uint8_t digest[CHAIN_SHA256_SIZE]; /* chain_digest over its pairs; zeros: not known */
	uint8_t leaf[CHAIN_SHA256_SIZE];   /* fingerprint of the first leaf; zeros: there is none, or it is not known */
	/* Wall clock, seconds; 0: not known. The hub has those of the leaf that ends first, the root half those of the
	 * first one. */
	int64_t not_before, not_after;
};

/* Returns whether there is one at all: each has a leaf, the placeholder too. */
bool content_is_set(const struct content *c);
/* Returns true when both are set and have one revision and one content. */
bool content_same(const struct content *a, const struct content *b);
/* Returns true when both digests are known and equal, whatever the revisions. */
bool content_same_digest(const struct content *a, const struct content *b);
/* Does what chain_hex does; zeros become the empty text. */
const char *content_hex(const uint8_t sha256[CHAIN_SHA256_SIZE], char text[CHAIN_HEX_MAX]);

/* The binary form, of a journal and between the agent's daemon and its root half: 88 bytes, u32 epoch, u32 number, digest,
 * leaf, i64 not_before, i64 not_after. JSON is in lib/wire/content_json.h. */
int content_put(struct buf *out, const struct content *c);
void content_read(struct reader *r, struct content *ret); /* what is cut short shows at the reader */

#endif
