#include "agent/root/parts.h"
#include "lib/core/base64.h"
#include "lib/crypto/seal.h"

#include <openssl/evp.h>
#include <string.h>

enum { LINE_MAX_LEN = 64 };

void parts_release(struct parts *p)
{
	buf_release(&p->key);
	buf_release(&p->leaf);
	buf_release(&p->rest);
}

int parts_put(const struct parts *p, struct buf *out)
{
	return buf_put_u8(out, p->rsa) < 0 || buf_put_u64(out, (uint64_t)p->not_before) < 0 ||
			buf_put_u64(out, (uint64_t)p->not_after) < 0 ||
			buf_put_bytes(out, p->key.data, p->key.len) < 0 ||
			buf_put_bytes(out, p->leaf.data, p->leaf.len) < 0 ||
			buf_put_bytes(out, p->rest.data, p->rest.len) < 0
		? -1
		: 0;
}

/* ---- lines and alphabet ---- */

static int refuse(struct error *err, const char *label, const char *what)
{
	return error_set(err, ERROR_UNTRUSTED, "opener: a block %s %s", label, what);
}

/* Takes this line, with its end, from the front of what is left. Returns whether it was there. */
static bool take_text(struct reader *r, const char *before, const char *label)
{
	size_t before_len = strlen(before), label_len = strlen(label);
	const char *at = (const char *)r->at;
	if (r->left < before_len + label_len + 6 || memcmp(at, before, before_len) != 0 ||
		memcmp(at + before_len, label, label_len) != 0 ||
		memcmp(at + before_len + label_len, "-----\n", 6) != 0)
		return false;
	return read_raw(r, before_len + label_len + 6) != NULL;
}

/* Takes a block's lines without their ends: full ones, and a last one with what is left over. */
static int take_lines(struct reader *r, const char *label, struct buf *text, struct error *err)
{
	for (bool last = false; !last;) {
		const uint8_t *end = memchr(r->at, '\n', r->left);
		size_t len = end ? (size_t)(end - r->at) : 0;
		if (len < 1 || len > LINE_MAX_LEN)
			return refuse(err, label, "with a line that is empty, too long or without an end");
		last = len < LINE_MAX_LEN || (r->left > len + 1 && end[1] == '-');
		const uint8_t *line = read_raw(r, len + 1);
		if (memchr(line, '\0', len) || buf_add(text, line, len) < 0)
			return refuse(err, label, "that is too long, or has a NUL in it");
	}
	return 0;
}

int parts_block(struct reader *r, const char *label, struct buf *ret, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(CHAIN_PEM_MAX);
	struct error ignored; /* what is wrong in a key is not told */
	if (!take_text(r, "-----BEGIN ", label))
		return refuse(err, label, "does not stand where one must");
	if (take_lines(r, label, &text, err) < 0)
		return -1;
	if (base64_decode(buf_text(&text), ret, &ignored) < 0)
		return refuse(err, label, "that is not base64");
	if (!take_text(r, "-----END ", label))
		return refuse(err, label, "that does not end as it began");
	return 0;
}

static int check_blocks(const struct buf *pem, const char *label, int least, int most, struct error *err)
{
	struct reader r = READER(pem->data, pem->len);
	int count = 0;
	while (r.left) {
		auto_buf struct buf der = BUF_INIT(CHAIN_PEM_MAX);
		if (count++ == most)
			return refuse(err, label, "too many");
		if (parts_block(&r, label, &der, err) < 0)
			return -1;
	}
	return count < least ? refuse(err, label, "is missing") : 0;
}

static int read_part(struct reader *r, struct buf *ret)
{
	size_t len;
	const uint8_t *bytes = read_bytes(r, CHAIN_PEM_MAX, &len);
	return bytes ? buf_add(ret, bytes, len) : -1;
}

int parts_read(struct reader *r, struct parts *ret, struct error *err)
{
	auto_parts struct parts p = PARTS_INIT;
	uint8_t rsa = read_u8(r);
	p.rsa = rsa;
	p.not_before = (int64_t)read_u64(r);
	p.not_after = (int64_t)read_u64(r);
	if (rsa > 1 || read_part(r, &p.key) < 0 || read_part(r, &p.leaf) < 0 || read_part(r, &p.rest) < 0)
		return error_set(err, ERROR_UNTRUSTED, "opener: a pair is cut short or too long");
	if (check_blocks(&p.key, "PRIVATE KEY", 1, 1, err) < 0 || check_blocks(&p.leaf, "CERTIFICATE", 1, 1, err) < 0 ||
		check_blocks(&p.rest, "CERTIFICATE", 0, CHAIN_CERTIFICATES_MAX - 1, err) < 0)
		return -1;
	*ret = p;
	p = PARTS_INIT;
	return 0;
}

/* ---- identity ---- */

static int add_blocks(const struct buf *pem, EVP_MD_CTX *ctx, struct error *err)
{
	struct reader r = READER(pem->data, pem->len);
	while (r.left) {
		auto_buf struct buf der = BUF_INIT(CHAIN_PEM_MAX);
		auto_buf struct buf len = BUF_INIT(sizeof(uint32_t));
		if (parts_block(&r, "CERTIFICATE", &der, err) < 0)
			return -1;
		if (buf_put_u32(&len, (uint32_t)der.len) < 0 || EVP_DigestUpdate(ctx, len.data, len.len) != 1 ||
			EVP_DigestUpdate(ctx, der.data, der.len) != 1)
			return error_set(err, ERROR_RETRY, "SHA-256 failed");
	}
	return 0;
}

int parts_digest(const struct parts *pairs, size_t count, uint8_t ret[CHAIN_SHA256_SIZE], struct error *err)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	int result = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1
		? 0
		: error_set(err, ERROR_RETRY, "SHA-256 failed");
	for (size_t i = 0; result == 0 && i < count; i++) {
		result = add_blocks(&pairs[i].leaf, ctx, err);
		if (result == 0)
			result = add_blocks(&pairs[i].rest, ctx, err);
	}
	if (result == 0 && EVP_DigestFinal_ex(ctx, ret, NULL) != 1)
		result = error_set(err, ERROR_RETRY, "SHA-256 failed");
	EVP_MD_CTX_free(ctx);
	return result;
}

int parts_fingerprint(const struct parts *p, uint8_t ret[CHAIN_SHA256_SIZE], struct error *err)
{
	struct reader r = READER(p->leaf.data, p->leaf.len);
	auto_buf struct buf der = BUF_INIT(CHAIN_PEM_MAX);
	if (parts_block(&r, "CERTIFICATE", &der, err) < 0)
		return -1;
	return sha256(der.data, der.len, ret) == 0 ? 0 : error_set(err, ERROR_RETRY, "SHA-256 failed");
}
