#include "lib/crypto/bundle.h"
#include "lib/core/mem.h"

#include <string.h>

enum {
	BUNDLE_VERSION = 1,
	BUNDLE_NAME_FIELD = 256,
	BUNDLE_FLAGS = BUNDLE_MAY_EXPIRE_SOONER | BUNDLE_ROLLBACK | BUNDLE_NO_RETURN,
};

static const uint8_t magic[4] = {'C', 'S', 'B', '1'};
static const char info[] = "certsync bundle 1";

/* The header's fields stand in their order; header_put and header_read are each other's inverse. */
struct header {
	uint16_t version, flags;
	uint8_t recipient[CHAIN_SHA256_SIZE];
	struct revision revision;
	uint8_t digest[CHAIN_SHA256_SIZE];
	int64_t not_after;
	char name[BUNDLE_NAME_FIELD];
	uint32_t sealed_len;
};

static int header_put(const struct header *h, struct buf *out)
{
	return buf_add(out, magic, sizeof(magic)) < 0 || buf_put_u16(out, h->version) < 0 ||
			buf_put_u16(out, h->flags) < 0 || buf_add(out, h->recipient, sizeof(h->recipient)) < 0 ||
			buf_put_u32(out, h->revision.epoch) < 0 || buf_put_u32(out, h->revision.number) < 0 ||
			buf_add(out, h->digest, sizeof(h->digest)) < 0 ||
			buf_put_u64(out, (uint64_t)h->not_after) < 0 || buf_add(out, h->name, sizeof(h->name)) < 0 ||
			buf_put_u32(out, h->sealed_len) < 0
		? -1
		: 0;
}

/* The caller has made sure that BUNDLE_HEADER_SIZE bytes are there. */
static void header_read(const uint8_t *data, struct header *ret)
{
	struct reader r = READER(data + sizeof(magic), BUNDLE_HEADER_SIZE - sizeof(magic));
	ret->version = read_u16(&r);
	ret->flags = read_u16(&r);
	memcpy(ret->recipient, read_raw(&r, sizeof(ret->recipient)), sizeof(ret->recipient));
	ret->revision.epoch = read_u32(&r);
	ret->revision.number = read_u32(&r);
	memcpy(ret->digest, read_raw(&r, sizeof(ret->digest)), sizeof(ret->digest));
	ret->not_after = (int64_t)read_u64(&r);
	memcpy(ret->name, read_raw(&r, sizeof(ret->name)), sizeof(ret->name));
	ret->sealed_len = read_u32(&r);
}

int bundle_subject(
	const uint8_t *data, size_t len, char ret_certificate[NAME_CERTIFICATE_MAX], struct revision *ret_revision)
{
	struct header h;
	if (len < BUNDLE_HEADER_SIZE || memcmp(data, magic, sizeof(magic)) != 0)
		return -1;
	header_read(data, &h);
	if (strnlen(h.name, sizeof(h.name)) >= NAME_CERTIFICATE_MAX)
		return -1;
	memcpy(ret_certificate, h.name, NAME_CERTIFICATE_MAX);
	*ret_revision = h.revision;
	return 0;
}

void bundle_release(struct bundle *b)
{
	for (size_t i = 0; i < b->pair_count; i++)
		chain_release(&b->pairs[i]);
	b->pair_count = 0;
}

static int first_expiry(const struct chain *pairs, int64_t *ret, struct error *err)
{
	struct chain_facts facts;
	if (chain_facts(pairs[0].leaf, &facts, err) < 0)
		return -1;
	*ret = facts.not_after;
	chain_facts_release(&facts);
	return 0;
}

/* ---- sealing, at the hub ---- */

static int check_pairs(const struct bundle *b, struct error *err)
{
	if (b->pair_count < 1 || b->pair_count > BUNDLE_PAIRS_MAX)
		return error_set(err, ERROR_PERMANENT, "a bundle of %zu pairs, it holds 1 to %d", b->pair_count,
			BUNDLE_PAIRS_MAX);
	for (size_t i = 0; i < b->pair_count; i++)
		if (!b->pairs[i].key)
			return error_set(
				err, ERROR_PERMANENT, "pair %zu of %s has no private key", i + 1, b->certificate);
	return 0;
}

static int check_subject(const struct bundle *b, struct error *err)
{
	char text[REVISION_TEXT_MAX];
	if (!name_is_certificate(b->certificate))
		return error_set(err, ERROR_PERMANENT, "\"%s\" is not a certificate's name", b->certificate);
	if (b->revision.epoch > REVISION_PART_MAX || b->revision.number > REVISION_PART_MAX ||
		revision_is_placeholder(b->revision))
		return error_set(err, ERROR_PERMANENT, "revision %s of %s cannot be sent",
			revision_text(b->revision, text), b->certificate);
	if (b->flags & ~BUNDLE_FLAGS)
		return error_set(
			err, ERROR_PERMANENT, "flags %#x of %s are not defined", (unsigned)b->flags, b->certificate);
	return 0;
}

static int write_pairs(const struct bundle *b, struct buf *out, struct error *err)
{
	if (buf_put_u8(out, (uint8_t)b->pair_count) < 0)
		return error_set(err, ERROR_PERMANENT, "no room for the pairs");
	for (size_t i = 0; i < b->pair_count; i++)
		if (chain_write_der(&b->pairs[i], out, err) < 0)
			return error_wrap(err, "%s", b->certificate);
	return 0;
}

static int make_header(const struct bundle *b, const uint8_t recipient[SEAL_KEY_SIZE], size_t plain_len,
	struct buf *out, struct error *err)
{
	struct header h = {.version = BUNDLE_VERSION,
		.flags = b->flags,
		.revision = b->revision,
		.not_after = b->not_after,
		.sealed_len = (uint32_t)(SEAL_ENC_SIZE + plain_len + SEAL_TAG_SIZE)};
	memcpy(h.name, b->certificate, strlen(b->certificate));
	memcpy(h.digest, b->digest, sizeof(h.digest));
	if (sha256(recipient, SEAL_KEY_SIZE, h.recipient) < 0 || header_put(&h, out) < 0)
		return error_set(err, ERROR_PERMANENT, "the header of %s cannot be made", b->certificate);
	return 0;
}

int bundle_pack(struct bundle *b, struct buf *plain, struct error *err)
{
	if (check_pairs(b, err) < 0 || write_pairs(b, plain, err) < 0)
		return -1;
	chain_digest(b->pairs, b->pair_count, b->digest);
	return first_expiry(b->pairs, &b->not_after, err);
}

int bundle_seal(const struct bundle *b, const uint8_t recipient[SEAL_KEY_SIZE],
	const uint8_t sign_private[SEAL_KEY_SIZE], struct buf *out, struct error *err)
{
	auto_buf struct buf plain = BUF_INIT(BUNDLE_PLAIN_MAX);
	struct bundle packed = *b; /* the pairs stay the caller's */
	if (bundle_pack(&packed, &plain, err) < 0)
		return -1;
	return bundle_seal_packed(&packed, &plain, recipient, sign_private, out, err);
}

int bundle_seal_packed(const struct bundle *b, const struct buf *plain, const uint8_t recipient[SEAL_KEY_SIZE],
	const uint8_t sign_private[SEAL_KEY_SIZE], struct buf *out, struct error *err)
{
	auto_buf struct buf made = BUF_INIT(BUNDLE_MAX);
	uint8_t signature[SEAL_SIGNATURE_SIZE];
	if (check_subject(b, err) < 0 || make_header(b, recipient, plain->len, &made, err) < 0)
		return -1;

	uint8_t header[BUNDLE_HEADER_SIZE];
	memcpy(header, made.data, sizeof(header));
	if (seal(recipient, info, sizeof(info) - 1, header, sizeof(header), plain->data, plain->len, &made, err) < 0 ||
		sign(sign_private, made.data, made.len, signature, err) < 0)
		return error_wrap(err, "%s", b->certificate);
	if (buf_add(&made, signature, sizeof(signature)) < 0 || buf_add(out, made.data, made.len) < 0)
		return error_set(
			err, ERROR_PERMANENT, "the bundle of %s does not fit into %zu bytes", b->certificate, out->max);
	return 0;
}

/* ---- opening, at the agent's root half ---- */

static int refuse_format(struct error *err, const char *what)
{
	return error_set(err, ERROR_UNTRUSTED, "format: %s: is the hub's certsync of the same version?", what);
}

static int check_frame(const uint8_t *data, size_t len, struct header *ret, struct error *err)
{
	if (len < BUNDLE_HEADER_SIZE + SEAL_ENC_SIZE + SEAL_TAG_SIZE + SEAL_SIGNATURE_SIZE || len > BUNDLE_MAX)
		return error_set(
			err, ERROR_UNTRUSTED, "format: %zu bytes cannot be a bundle (at most %d)", len, BUNDLE_MAX);
	if (memcmp(data, magic, sizeof(magic)) != 0)
		return refuse_format(err, "it does not begin as a bundle does");
	header_read(data, ret);
	if (ret->version != BUNDLE_VERSION)
		return error_set(err, ERROR_UNTRUSTED,
			"format: bundle version %u, this program reads %d: update the older of hub and agent",
			(unsigned)ret->version, BUNDLE_VERSION);
	if (ret->sealed_len != len - BUNDLE_HEADER_SIZE - SEAL_SIGNATURE_SIZE)
		return refuse_format(err, "its length is not the one that its header names");
	return 0;
}

static int check_recipient(const struct header *h, const struct bundle_keys *keys, struct error *err)
{
	uint8_t mine[CHAIN_SHA256_SIZE];
	char theirs_text[CHAIN_HEX_MAX], mine_text[CHAIN_HEX_MAX];
	if (sha256(keys->seal_public, SEAL_KEY_SIZE, mine) < 0)
		return error_set(err, ERROR_PERMANENT, "SHA-256 failed");
	if (memcmp(mine, h->recipient, sizeof(mine)) == 0)
		return 0;
	return error_set(err, ERROR_UNTRUSTED,
		"recipient: sealed to the key %.16s, this agent's is %.16s: give the hub this agent's "
		"identity again",
		chain_hex(h->recipient, theirs_text), chain_hex(mine, mine_text));
}

static int check_signature(const uint8_t *data, size_t len, const struct bundle_keys *keys, struct error *err)
{
	size_t signed_len = len - SEAL_SIGNATURE_SIZE;
	for (size_t i = 0; i < keys->signer_count && i < BUNDLE_SIGNERS_MAX; i++)
		if (sign_check(keys->signers[i], data, signed_len, data + signed_len, err) == 0)
			return 0;
	return error_set(err, ERROR_UNTRUSTED,
		"signature: made by none of the %zu pinned hub keys, or the bundle was changed: "
		"if the hub has a new key, join it again",
		keys->signer_count);
}

/* The header is signed by the hub, and still it is read strictly: what is not understood is not installed. */
static int read_header(const struct header *h, struct bundle *ret, struct error *err)
{
	size_t len = strnlen(h->name, sizeof(h->name));
	if (len >= sizeof(ret->certificate))
		return refuse_format(err, "the certificate's name is too long");
	for (size_t i = len; i < sizeof(h->name); i++)
		if (h->name[i])
			return refuse_format(err, "the certificate's name goes on behind its end");
	memcpy(ret->certificate, h->name, len + 1);
	if (!name_is_certificate(ret->certificate))
		return refuse_format(err, "the certificate's name is not one");
	if (h->flags & ~BUNDLE_FLAGS)
		return refuse_format(err, "it has a flag that is unknown here");
	if (h->revision.epoch > REVISION_PART_MAX || h->revision.number > REVISION_PART_MAX)
		return refuse_format(err, "its revision is out of range");
	ret->flags = h->flags;
	ret->revision = h->revision;
	ret->not_after = h->not_after;
	memcpy(ret->digest, h->digest, sizeof(ret->digest));
	return 0;
}

static int read_pairs(const struct buf *plain, struct bundle *b, struct error *err)
{
	struct reader r = READER(plain->data, plain->len);
	uint8_t count = read_u8(&r);
	if (count < 1 || count > BUNDLE_PAIRS_MAX)
		return refuse_format(err, "the number of its pairs is out of range");
	for (uint8_t i = 0; i < count; i++) {
		if (chain_read_der(&r, &b->pairs[i], err) < 0) {
			err->kind = ERROR_UNTRUSTED;
			return error_wrap(err, "format");
		}
		b->pair_count++;
		if (!b->pairs[i].key)
			return refuse_format(err, "a pair without a private key");
	}
	return read_done(&r) ? 0 : refuse_format(err, "bytes behind its last pair");
}

static int check_content_of(const struct bundle *b, struct error *err)
{
	uint8_t digest[CHAIN_SHA256_SIZE];
	char theirs[CHAIN_HEX_MAX], ours[CHAIN_HEX_MAX];
	int64_t not_after;
	chain_digest(b->pairs, b->pair_count, digest);
	if (memcmp(digest, b->digest, sizeof(digest)) != 0)
		return error_set(err, ERROR_UNTRUSTED,
			"digest: the content's is %.16s, the header says %.16s: publish it at the hub again",
			chain_hex(digest, ours), chain_hex(b->digest, theirs));
	if (first_expiry(b->pairs, &not_after, err) < 0)
		return -1;
	if (not_after != b->not_after)
		return error_set(err, ERROR_UNTRUSTED,
			"digest: the content expires at %lld, the header says %lld: publish it at the hub "
			"again",
			(long long)not_after, (long long)b->not_after);
	return 0;
}

int bundle_check(const uint8_t *data, size_t len, const struct bundle_keys *keys, struct bundle *ret, struct error *err)
{
	struct header h;
	struct bundle b = {0};
	if (check_frame(data, len, &h, err) < 0 || check_recipient(&h, keys, err) < 0 ||
		check_signature(data, len, keys, err) < 0 || read_header(&h, &b, err) < 0)
		return -1;
	*ret = b;
	return 0;
}

int bundle_unseal(const uint8_t *data, size_t len, const uint8_t seal_private[SEAL_KEY_SIZE], struct buf *plain,
	struct error *err)
{
	struct header h;
	if (check_frame(data, len, &h, err) < 0)
		return -1;
	return unseal(seal_private, info, sizeof(info) - 1, data, BUNDLE_HEADER_SIZE, data + BUNDLE_HEADER_SIZE,
		h.sealed_len, plain, err);
}

int bundle_unpack(const uint8_t *data, size_t len, const struct buf *plain, struct bundle *ret, struct error *err)
{
	struct header h;
	auto_bundle struct bundle b = {0};
	if (check_frame(data, len, &h, err) < 0 || read_header(&h, &b, err) < 0 || read_pairs(plain, &b, err) < 0 ||
		check_content_of(&b, err) < 0)
		return -1;
	*ret = b;
	b = (struct bundle){0};
	return 0;
}

int bundle_open(const uint8_t *data, size_t len, const struct bundle_keys *keys, struct bundle *ret, struct error *err)
{
	auto_buf struct buf plain = BUF_INIT(BUNDLE_PLAIN_MAX);
	struct bundle checked;
	if (bundle_check(data, len, keys, &checked, err) < 0 ||
		bundle_unseal(data, len, keys->seal_private, &plain, err) < 0)
		return -1;
	return bundle_unpack(data, len, &plain, ret, err);
}
