#include "agent/root/opener_child.h"
#include "lib/core/mem.h"
#include "lib/crypto/bundle.h"
#include "lib/crypto/verify.h"

#include <openssl/x509v3.h>
#include <string.h>

enum { PLACEHOLDER_SECONDS = 3650 * 24 * 3600, NAMES_MAX = 1000, ANCHORS_KEPT_SIZE = 16 * 1024 };

/* ---- a pair ---- */

int parts_make(const struct chain *pair, struct parts *ret, struct error *err)
{
	auto_parts struct parts p = PARTS_INIT;
	struct chain_facts facts;
	if (!pair->key || X509_check_private_key(pair->leaf, pair->key) != 1)
		return openssl_error(err, ERROR_UNTRUSTED, "key-match: the private key is not the certificate's");
	if (chain_facts(pair->leaf, &facts, err) < 0)
		return -1;
	p.not_before = facts.not_before;
	p.not_after = facts.not_after;
	p.rsa = EVP_PKEY_get_base_id(pair->key) == EVP_PKEY_RSA;
	chain_facts_release(&facts);
	if (chain_write_pem(pair, CHAIN_KEY, &p.key, err) < 0 || chain_write_pem(pair, CHAIN_LEAF, &p.leaf, err) < 0 ||
		chain_write_pem(pair, CHAIN_REST, &p.rest, err) < 0)
		return -1;
	*ret = p;
	p = PARTS_INIT;
	return 0;
}

static int put_pairs(const struct chain *pairs, size_t count, struct buf *answer, struct error *err)
{
	buf_put_u8(answer, OPENER_TAKEN);
	buf_put_u8(answer, (uint8_t)count);
	for (size_t i = 0; i < count; i++) {
		auto_parts struct parts p = PARTS_INIT;
		if (parts_make(&pairs[i], &p, err) < 0)
			return -1;
		if (parts_put(&p, answer) < 0)
			return error_set(err, ERROR_UNTRUSTED, "format: the pairs are too long to be installed");
	}
	return 0;
}

static int malformed(struct error *err)
{
	return error_set(err, ERROR_PERMANENT, "a request of the root half's that cannot be read");
}

static int work_on_pair(struct reader *r, struct buf *answer, struct error *err)
{
	auto_chain struct chain pair = {0};
	size_t certificates_len, key_len;
	const uint8_t *certificates = read_bytes(r, CHAIN_PEM_MAX, &certificates_len);
	const uint8_t *key = read_bytes(r, CHAIN_PEM_MAX, &key_len);
	if (!read_done(r))
		return malformed(err);
	if (chain_parse_pem(certificates, certificates_len, key, key_len, &pair, err) < 0)
		return -1;
	return put_pairs(&pair, 1, answer, err);
}

/* ---- a bundle ---- */

struct bundle_request {
	uint8_t *seal_private; /* in the request: wiped as soon as it has been used */
	const uint8_t *data;
	size_t len;
	struct verify_policy policy;
	char **required, **allow; /* owned; NULL at the end */
	bool by_name;
	char place[4096]; /* of the anchors, for messages */
	const uint8_t *anchors;
	size_t anchors_len;
};

static char **read_names(struct reader *r)
{
	uint32_t count = read_u32(r);
	char text[512];
	r->failed = r->failed || count > NAMES_MAX;
	char **names = mem_array((r->failed ? 0 : count) + 1, sizeof(*names));
	for (uint32_t i = 0; !r->failed && i < count; i++) {
		read_string(r, text, sizeof(text));
		names[i] = r->failed ? NULL : mem_strdup(text);
	}
	return names;
}

static void free_names(char **names)
{
	for (size_t i = 0; names && names[i]; i++)
		free(names[i]);
	free(names);
}

static int read_bundle_request(struct reader *r, struct bundle_request *ret, struct error *err)
{
	ret->seal_private = (uint8_t *)(uintptr_t)read_raw(r, SEAL_KEY_SIZE);
	ret->data = read_bytes(r, BUNDLE_MAX, &ret->len);
	ret->policy.now = (int64_t)read_u64(r);
	ret->policy.replaces_not_after = (int64_t)read_u64(r);
	ret->policy.may_expire_sooner = read_u8(r);
	ret->required = read_names(r);
	ret->allow = read_names(r);
	ret->policy.required = (const char *const *)ret->required;
	ret->policy.allow = (const char *const *)ret->allow;
	ret->by_name = read_u8(r);
	read_string(r, ret->place, sizeof(ret->place));
	ret->anchors = read_bytes(r, ANCHORS_PEM_MAX, &ret->anchors_len);
	return read_done(r) ? 0 : malformed(err);
}

/* A small file of one's own authorities is decoded once, for as long as its bytes are the same. */
static struct anchors *take_anchors(const struct bundle_request *q, struct error *err)
{
	static struct anchors *kept;
	static struct buf of = {.max = ANCHORS_KEPT_SIZE};
	bool small = !q->by_name && q->anchors_len <= ANCHORS_KEPT_SIZE;
	if (small && kept && of.len == q->anchors_len && memcmp(of.data, q->anchors, of.len) == 0)
		return kept;
	anchors_free(kept);
	kept = anchors_none();
	buf_reset(&of);
	if ((q->anchors_len || !q->by_name) && anchors_add(kept, q->anchors, q->anchors_len, err) < 0 && !q->by_name) {
		error_wrap(err, "anchors %s", q->place);
		anchors_free(kept);
		kept = NULL;
	}
	if (kept && small)
		buf_add(&of, q->anchors, q->anchors_len);
	return kept;
}

/* The second pair replaces nothing: what is served and its expiry are the first one's, and a second one is renewed on
 * its own. */
static int verify_pairs(const struct bundle *b, struct bundle_request *q, struct error *err)
{
	const struct anchors_source source = {opener_want, NULL};
	struct anchors *anchors = take_anchors(q, err);
	if (!anchors)
		return -1;
	q->policy.anchors = anchors;
	for (size_t i = 0; i < b->pair_count; i++) {
		if ((q->by_name && anchors_find(anchors, &b->pairs[i], &source, err) < 0) ||
			verify_chain(&b->pairs[i], &q->policy, err) < 0)
			return -1;
		q->policy.replaces_not_after = 0;
	}
	return 0;
}

static int open_bundle(struct bundle_request *q, struct buf *answer, struct error *err)
{
	auto_bundle struct bundle b = {0};
	auto_buf struct buf plain = BUF_INIT(BUNDLE_PLAIN_MAX);
	int unsealed = bundle_unseal(q->data, q->len, q->seal_private, &plain, err);
	explicit_bzero(q->seal_private, SEAL_KEY_SIZE);
	if (unsealed < 0 || bundle_unpack(q->data, q->len, &plain, &b, err) < 0 || verify_pairs(&b, q, err) < 0)
		return -1;
	return put_pairs(b.pairs, b.pair_count, answer, err);
}

static int work_on_bundle(struct reader *r, struct buf *answer, struct error *err)
{
	struct bundle_request q = {0};
	int result = read_bundle_request(r, &q, err);
	if (result == 0)
		result = open_bundle(&q, answer, err);
	free_names(q.required);
	free_names(q.allow);
	return result;
}

/* ---- the placeholder ---- */

static int add_extension(X509 *leaf, int nid, const char *value)
{
	X509V3_CTX context;
	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, leaf, leaf, NULL, NULL, 0);
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	int ok = extension && X509_add_ext(leaf, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	return ok ? 0 : -1;
}

static int sign_placeholder(X509 *leaf, EVP_PKEY *key, const char *certificate, int64_t now)
{
	static const unsigned char subject[] = "certsync placeholder";
	/* The serial is the time, so that a placeholder made anew is another certificate for whoever remembers the
	 * first. */
	auto_free char *names = mem_printf("DNS:%s", certificate);
	X509_NAME *name = X509_get_subject_name(leaf);
	bool ok = X509_set_version(leaf, X509_VERSION_3) == 1 &&
		ASN1_INTEGER_set_int64(X509_get_serialNumber(leaf), now) == 1 &&
		ASN1_TIME_set(X509_getm_notBefore(leaf), (time_t)(now - 3600)) &&
		ASN1_TIME_set(X509_getm_notAfter(leaf), (time_t)(now + PLACEHOLDER_SECONDS)) &&
		X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, subject, -1, -1, 0) == 1 &&
		X509_set_issuer_name(leaf, name) == 1 && X509_set_pubkey(leaf, key) == 1 &&
		add_extension(leaf, NID_subject_alt_name, names) == 0 && X509_sign(leaf, key, EVP_sha256()) > 0;
	return ok ? 0 : -1;
}

static int work_on_placeholder(struct reader *r, struct buf *answer, struct error *err)
{
	auto_chain struct chain pair = {0};
	char certificate[NAME_CERTIFICATE_MAX];
	read_string(r, certificate, sizeof(certificate));
	int64_t now = (int64_t)read_u64(r);
	if (!read_done(r))
		return malformed(err);
	pair.key = chain_make_key("ecdsa-p256", err);
	if (!pair.key)
		return -1;
	pair.leaf = X509_new();
	pair.rest = sk_X509_new_null();
	if (!pair.leaf || !pair.rest || sign_placeholder(pair.leaf, pair.key, certificate, now) < 0)
		return openssl_error(err, ERROR_PERMANENT, "%s", certificate);
	return put_pairs(&pair, 1, answer, err);
}

/* ---- all of them ---- */

void opener_work_on(const struct buf *request, struct buf *answer)
{
	struct error err = {0};
	struct reader r = READER(request->data, request->len);
	uint8_t op = read_u8(&r);
	int result = op == OPENER_BUNDLE   ? work_on_bundle(&r, answer, &err)
		: op == OPENER_PAIR        ? work_on_pair(&r, answer, &err)
		: op == OPENER_PLACEHOLDER ? work_on_placeholder(&r, answer, &err)
					   : malformed(&err);
	if (result == 0)
		return;
	buf_reset(answer);
	buf_put_u8(answer, OPENER_REFUSED);
	buf_put_u8(answer, (uint8_t)err.kind);
	buf_put_string(answer, err.message);
}
