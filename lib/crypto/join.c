#include "lib/crypto/join.h"
#include "lib/core/mem.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char login_label[] = "certsync join 1 login key";
static const char mac_label[] = "certsync join 1 mac key";
static const char request_label[] = "certsync join 1 request";
static const char answer_label[] = "certsync join 1 answer";

/* ---- keys ---- */

void join_keys_release(struct join_keys *k)
{
	explicit_bzero(k, sizeof(*k));
}

/* Expands by HKDF-SHA256 (RFC 5869) without a salt, since the secret is uniform. */
static int expand(const uint8_t secret[JOIN_SECRET_SIZE], const char *label, uint8_t ret[32], struct error *err)
{
	char digest[] = "SHA256";
	const OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)secret, JOIN_SECRET_SIZE),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)(uintptr_t)label, strlen(label)),
		OSSL_PARAM_construct_end(),
	};
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_HKDF, NULL);
	EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	int ok = ctx && EVP_KDF_derive(ctx, ret, 32, params) == 1;
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
	return ok ? 0 : error_set(err, ERROR_PERMANENT, "HKDF-SHA256 failed");
}

int join_derive(const uint8_t secret[JOIN_SECRET_SIZE], struct join_keys *ret, struct error *err)
{
	auto_join_keys struct join_keys k = {0};
	if (expand(secret, login_label, k.login_private, err) < 0 || expand(secret, mac_label, k.mac, err) < 0 ||
		sign_public(k.login_private, k.login_public, err) < 0)
		return -1;
	*ret = k;
	return 0;
}

/* ---- the line ---- */

int join_line_digest(const char *line, uint8_t ret[JOIN_DIGEST_SIZE], struct error *err)
{
	const char *secret = strstr(line, " secret=");
	if (sha256(line, secret ? (size_t)(secret - line) : strlen(line), ret) < 0)
		return error_set(err, ERROR_PERMANENT, "SHA-256 failed");
	return 0;
}

int join_line_check(const char *line, size_t len, char ret[JOIN_CHECK_SIZE + 1], struct error *err)
{
	uint8_t digest[JOIN_DIGEST_SIZE];
	if (sha256(line, len, digest) < 0)
		return error_set(err, ERROR_PERMANENT, "SHA-256 failed");
	for (size_t i = 0; i < JOIN_CHECK_SIZE / 2; i++)
		snprintf(ret + 2 * i, 3, "%02x", digest[i]);
	return 0;
}

/* ---- MACs: each part goes in behind its length, so that no two inputs have the same bytes ---- */

static int compute(const char *label, const uint8_t *key, const uint8_t line[JOIN_DIGEST_SIZE],
	const struct reader *request, const struct reader *body, uint8_t ret[JOIN_MAC_SIZE])
{
	auto_buf struct buf input = BUF_INIT(256 * 1024);
	size_t len = 0;
	if (buf_put_string(&input, label) < 0 || buf_put_bytes(&input, line, JOIN_DIGEST_SIZE) < 0 ||
		buf_put_bytes(&input, request->at, request->left) < 0 ||
		buf_put_bytes(&input, body->at, body->left) < 0)
		return -1;
	return EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, key, JOIN_MAC_SIZE, input.data, input.len, ret,
		       JOIN_MAC_SIZE, &len) &&
			len == JOIN_MAC_SIZE
		? 0
		: -1;
}

static bool is_authentic(const char *label, const uint8_t *data, size_t len, const uint8_t *key,
	const uint8_t line[JOIN_DIGEST_SIZE], const struct reader *request)
{
	uint8_t wanted[JOIN_MAC_SIZE];
	if (len < JOIN_MAC_SIZE)
		return false;
	const struct reader body = READER(data, len - JOIN_MAC_SIZE);
	return compute(label, key, line, request, &body, wanted) == 0 &&
		CRYPTO_memcmp(wanted, data + body.left, JOIN_MAC_SIZE) == 0;
}

static void read_fixed(struct reader *in, uint8_t *out, size_t len)
{
	const uint8_t *bytes = read_raw(in, len);
	if (bytes)
		memcpy(out, bytes, len);
}

static int check_version(struct reader *in, const char *what, struct error *err)
{
	unsigned version = read_u8(in);
	if (in->failed)
		return error_set(err, ERROR_PERMANENT, "join: the %s is empty", what);
	if (version != JOIN_VERSION)
		return error_set(err, ERROR_PERMANENT,
			"join: version %u of the %s is not spoken here, %d is: upgrade the older side", version, what,
			JOIN_VERSION);
	return 0;
}

/* ---- the request: encoder and decoder ---- */

int join_request_encode(const struct join_request *r, const uint8_t mac[JOIN_MAC_SIZE],
	const uint8_t line[JOIN_DIGEST_SIZE], struct buf *out, struct error *err)
{
	uint8_t tag[JOIN_MAC_SIZE];
	const struct reader none = READER(NULL, 0);
	if (buf_put_u8(out, JOIN_VERSION) < 0 || buf_put_string(out, r->agent) < 0 || buf_put_string(out, r->ssh) < 0 ||
		buf_add(out, r->seal, sizeof(r->seal)) < 0 || buf_add(out, r->nonce, sizeof(r->nonce)) < 0)
		return error_set(err, ERROR_PERMANENT, "join: the request is too long");
	const struct reader body = READER(out->data, out->len);
	if (compute(request_label, mac, line, &none, &body, tag) < 0 || buf_add(out, tag, sizeof(tag)) < 0)
		return error_set(err, ERROR_PERMANENT, "join: the request's HMAC cannot be made");
	return 0;
}

int join_request_decode(const uint8_t *data, size_t len, struct join_request *ret, struct error *err)
{
	struct reader in = READER(data, len);
	struct join_request r = {0};
	uint8_t tag[JOIN_MAC_SIZE];
	if (check_version(&in, "request", err) < 0)
		return -1;
	read_string(&in, r.agent, sizeof(r.agent));
	read_string(&in, r.ssh, sizeof(r.ssh));
	read_fixed(&in, r.seal, sizeof(r.seal));
	read_fixed(&in, r.nonce, sizeof(r.nonce));
	read_fixed(&in, tag, sizeof(tag));
	if (!read_done(&in) || !name_is_agent(r.agent))
		return error_set(err, ERROR_PERMANENT, "join: the request is malformed");
	*ret = r;
	return 0;
}

bool join_request_is_authentic(
	const uint8_t *data, size_t len, const uint8_t mac[JOIN_MAC_SIZE], const uint8_t line[JOIN_DIGEST_SIZE])
{
	const struct reader none = READER(NULL, 0);
	return is_authentic(request_label, data, len, mac, line, &none);
}

/* ---- the answer: encoder and decoder ---- */

void join_answer_release(struct join_answer *a)
{
	for (size_t i = 0; i < a->certificate_count; i++) {
		for (size_t k = 0; k < a->certificates[i].name_count; k++)
			free(a->certificates[i].names[k]);
		free(a->certificates[i].names);
	}
	free(a->certificates);
	*a = (struct join_answer){0};
}

static int put_certificates(struct buf *out, const struct join_answer *a)
{
	int result = buf_put_u8(out, (uint8_t)a->certificate_count);
	for (size_t i = 0; i < a->certificate_count && result == 0; i++) {
		const struct join_certificate *c = &a->certificates[i];
		result = buf_put_string(out, c->name) < 0 ? -1 : buf_put_u8(out, (uint8_t)c->name_count);
		for (size_t k = 0; k < c->name_count && result == 0; k++)
			result = buf_put_string(out, c->names[k]);
	}
	return result;
}

int join_answer_encode(const struct join_answer *a, const uint8_t *mac, const uint8_t line[JOIN_DIGEST_SIZE],
	const uint8_t *request, size_t request_len, struct buf *out, struct error *err)
{
	uint8_t tag[JOIN_MAC_SIZE] = {0};
	if (buf_put_u8(out, JOIN_VERSION) < 0 || buf_put_u8(out, a->ok) < 0 || buf_put_string(out, a->text) < 0 ||
		a->certificate_count > JOIN_CERTIFICATES_MAX || put_certificates(out, a) < 0)
		return error_set(err, ERROR_PERMANENT, "join: the answer is too long");
	const struct reader body = READER(out->data, out->len), asked = READER(request, request_len);
	if ((mac && compute(answer_label, mac, line, &asked, &body, tag) < 0) || buf_add(out, tag, sizeof(tag)) < 0)
		return error_set(err, ERROR_PERMANENT, "join: the answer's HMAC cannot be made");
	return 0;
}

static void read_certificate(struct reader *in, struct join_certificate *c)
{
	char name[NAME_CERTIFICATE_MAX + 2];
	read_string(in, c->name, sizeof(c->name));
	size_t count = read_u8(in);
	if (in->failed || !name_is_certificate(c->name) || count > JOIN_NAMES_MAX) {
		in->failed = true;
		return;
	}
	c->names = mem_array(count + 1, sizeof(*c->names));
	for (size_t i = 0; i < count; i++) {
		read_string(in, name, sizeof(name));
		in->failed = in->failed || !name_is_dns(name, true);
		if (in->failed)
			return;
		c->names[c->name_count++] = mem_strdup(name);
	}
}

int join_answer_decode(const uint8_t *data, size_t len, struct join_answer *ret, struct error *err)
{
	struct reader in = READER(data, len);
	auto_join_answer struct join_answer a = {0};
	uint8_t tag[JOIN_MAC_SIZE];
	if (check_version(&in, "answer", err) < 0)
		return -1;
	unsigned ok = read_u8(&in);
	read_string(&in, a.text, sizeof(a.text));
	size_t count = read_u8(&in);
	if (in.failed || ok > 1 || count > JOIN_CERTIFICATES_MAX)
		return error_set(err, ERROR_PERMANENT, "join: the answer is malformed");
	a.ok = ok;
	a.certificates = mem_array(count, sizeof(*a.certificates));
	for (; a.certificate_count < count && !in.failed; a.certificate_count++)
		read_certificate(&in, &a.certificates[a.certificate_count]);
	read_fixed(&in, tag, sizeof(tag));
	if (!read_done(&in))
		return error_set(err, ERROR_PERMANENT, "join: the answer is malformed");
	text_clean(a.text, 0);
	*ret = a;
	/* NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores): read as its scope ends */
	a = (struct join_answer){0};
	return 0;
}

bool join_answer_is_authentic(const uint8_t *data, size_t len, const uint8_t mac[JOIN_MAC_SIZE],
	const uint8_t line[JOIN_DIGEST_SIZE], const uint8_t *request, size_t request_len)
{
	const struct reader asked = READER(request, request_len);
	return is_authentic(answer_label, data, len, mac, line, &asked);
}
