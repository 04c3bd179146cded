#include "lib/crypto/content.h"

#include <string.h>

static bool is_known(const uint8_t sha256[CHAIN_SHA256_SIZE])
{
	static const uint8_t none[CHAIN_SHA256_SIZE];
	return memcmp(sha256, none, sizeof(none)) != 0;
}

bool content_is_set(const struct content *c)
{
	return is_known(c->leaf);
}

bool content_same_digest(const struct content *a, const struct content *b)
{
	return is_known(a->digest) && memcmp(a->digest, b->digest, sizeof(a->digest)) == 0;
}

bool content_same(const struct content *a, const struct content *b)
{
	return content_is_set(a) && content_is_set(b) && revision_compare(a->revision, b->revision) == 0 &&
		memcmp(a->digest, b->digest, sizeof(a->digest)) == 0;
}

const char *content_hex(const uint8_t sha256[CHAIN_SHA256_SIZE], char text[CHAIN_HEX_MAX])
{
	text[0] = '\0';
	return is_known(sha256) ? chain_hex(sha256, text) : text;
}

int content_put(struct buf *out, const struct content *c)
{
	return buf_put_u32(out, c->revision.epoch) < 0 || buf_put_u32(out, c->revision.number) < 0 ||
			buf_add(out, c->digest, sizeof(c->digest)) < 0 || buf_add(out, c->leaf, sizeof(c->leaf)) < 0 ||
			buf_put_u64(out, (uint64_t)c->not_before) < 0 || buf_put_u64(out, (uint64_t)c->not_after) < 0
		? -1
		: 0;
}

void content_read(struct reader *r, struct content *ret)
{
	*ret = (struct content){.revision.epoch = read_u32(r)};
	ret->revision.number = read_u32(r);
	if (ret->revision.epoch > REVISION_PART_MAX || ret->revision.number > REVISION_PART_MAX)
		r->failed = true;
	const uint8_t *digest = read_raw(r, sizeof(ret->digest));
	const uint8_t *leaf = read_raw(r, sizeof(ret->leaf));
	if (digest && leaf) {
		memcpy(ret->digest, digest, sizeof(ret->digest));
		memcpy(ret->leaf, leaf, sizeof(ret->leaf));
	}
	ret->not_before = (int64_t)read_u64(r);
	ret->not_after = (int64_t)read_u64(r);
}
