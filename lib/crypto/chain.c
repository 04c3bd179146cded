#include "lib/crypto/chain.h"
#include "lib/core/mem.h"
#include "lib/crypto/der.h"
#include "lib/crypto/seal.h"

#include <arpa/inet.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void bio_cleanup(BIO **bio)
{
	BIO_free_all(*bio);
}

#define auto_bio __attribute__((cleanup(bio_cleanup)))

void chain_free_x509(X509 **certificate)
{
	X509_free(*certificate);
	*certificate = NULL;
}

void chain_release(struct chain *c)
{
	chain_free_pkey(&c->key);
	chain_free_x509(&c->leaf);
	sk_X509_pop_free(c->rest, X509_free);
	c->rest = NULL;
}

/* ---- reading PEM ---- */

struct block {
	char *name;
	char *header;
	unsigned char *data;
	long len;
};

static void block_release(struct block *b)
{
	OPENSSL_free(b->name);
	OPENSSL_free(b->header);
	OPENSSL_clear_free(b->data, (size_t)b->len);
	*b = (struct block){0};
}

#define auto_block __attribute__((cleanup(block_release)))

/* Reads the next block. Returns 1, 0 at the end, or -1. Prose in front of a block is passed over. PEM_FLAG_SECURE makes
 * OpenSSL wipe its line buffers, with or without a secure heap. */
static int block_next(BIO *bio, struct block *ret, struct error *err)
{
	ERR_clear_error();
	if (PEM_read_bio_ex(
		    bio, &ret->name, &ret->header, &ret->data, &ret->len, PEM_FLAG_SECURE | PEM_FLAG_EAY_COMPATIBLE))
		return 1;
	if (ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE) {
		ERR_clear_error();
		return 0;
	}
	return openssl_error(err, ERROR_PERMANENT, "the PEM text is damaged or cut short");
}

/* Every form of a private key that PEM has is of a type that ends in PRIVATE KEY. */
static bool block_is_key(const struct block *b)
{
	static const char suffix[] = "PRIVATE KEY";
	size_t len = strlen(b->name), suffix_len = sizeof(suffix) - 1;
	return len >= suffix_len && strcmp(b->name + len - suffix_len, suffix) == 0;
}

static bool block_is_certificate(const struct block *b)
{
	return strcmp(b->name, PEM_STRING_X509) == 0 || strcmp(b->name, PEM_STRING_X509_OLD) == 0;
}

static X509 *certificate_from_der(const unsigned char *der, long len, struct error *err)
{
	const unsigned char *at = der;
	ERR_clear_error();
	X509 *certificate = d2i_X509(NULL, &at, len);
	if (certificate && at == der + len)
		return certificate;
	X509_free(certificate);
	openssl_error(err, ERROR_PERMANENT, "a certificate is not valid DER");
	return NULL;
}

/* OpenSSL takes three times as long for a key whose type it has to find out by itself. */
static EVP_PKEY *pkcs8_from_der(const unsigned char **at, long len)
{
	const unsigned char *again = *at;
	const ASN1_OBJECT *algorithm = NULL;
	PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, at, len);
	bool known = info && PKCS8_pkey_get0(&algorithm, NULL, NULL, NULL, info) == 1;
	int type = known ? OBJ_obj2nid(algorithm) : EVP_PKEY_NONE;
	EVP_PKEY *key = type == EVP_PKEY_EC || type == EVP_PKEY_RSA ? d2i_PrivateKey(type, NULL, &again, len)
		: info                                              ? EVP_PKCS82PKEY(info)
								    : NULL;
	PKCS8_PRIV_KEY_INFO_free(info);
	return key;
}

static EVP_PKEY *key_from_der(const char *form, const unsigned char *der, long len, struct error *err)
{
	const unsigned char *at = der;
	EVP_PKEY *key = NULL;
	ERR_clear_error();
	if (strcmp(form, PEM_STRING_PKCS8INF) == 0)
		key = pkcs8_from_der(&at, len);
	else if (strcmp(form, PEM_STRING_ECPRIVATEKEY) == 0)
		key = d2i_PrivateKey(EVP_PKEY_EC, NULL, &at, len);
	else if (strcmp(form, PEM_STRING_RSA) == 0)
		key = d2i_PrivateKey(EVP_PKEY_RSA, NULL, &at, len);
	if (key && at == der + len)
		return key;
	EVP_PKEY_free(key);
	openssl_error(err, ERROR_PERMANENT, "the private key (%s) cannot be read", form);
	return NULL;
}

static int refuse_many(struct error *err)
{
	return error_set(err, ERROR_PERMANENT, "more than %d certificates: keep the leaf and its issuers",
		CHAIN_CERTIFICATES_MAX);
}

static int take_certificate(const struct block *b, struct chain *c, struct error *err)
{
	if (c->leaf && sk_X509_num(c->rest) + 1 >= CHAIN_CERTIFICATES_MAX)
		return refuse_many(err);
	X509 *certificate = certificate_from_der(b->data, b->len, err);
	if (!certificate)
		return -1;
	if (!c->leaf)
		c->leaf = certificate;
	else if (!sk_X509_push(c->rest, certificate))
		mem_abort(__func__);
	return 0;
}

static int take_key(const struct block *b, struct chain *c, struct error *err)
{
	if (strcmp(b->name, PEM_STRING_PKCS8) == 0 || strstr(b->header, "ENCRYPTED"))
		return error_set(err, ERROR_PERMANENT,
			"the private key is encrypted: write it without a passphrase, readable by its owner alone: umask "
			"077; openssl pkey -in FILE -out NEW");
	if (c->key)
		return error_set(err, ERROR_PERMANENT, "two private keys: keep the one of the first certificate");
	c->key = key_from_der(b->name, b->data, b->len, err);
	return c->key ? 0 : -1;
}

enum { WANT_CERTIFICATES = 1, WANT_KEY = 2 };

struct wanted {
	unsigned parts;
	struct chain *chain;
};

static int refuse_trusted(const struct block *b, struct error *err)
{
	if (strcmp(b->name, PEM_STRING_X509_TRUSTED) != 0)
		return 0;
	return error_set(err, ERROR_PERMANENT, "a TRUSTED CERTIFICATE: write it with openssl x509 without -trustout");
}

static int take_block(const struct block *b, void *context, struct error *err)
{
	const struct wanted *want = context;
	if (refuse_trusted(b, err) < 0)
		return -1;
	if (block_is_certificate(b))
		return want->parts & WANT_CERTIFICATES ? take_certificate(b, want->chain, err) : 0;
	if (!block_is_key(b))
		return 0;
	if (want->parts & WANT_KEY)
		return take_key(b, want->chain, err);
	return error_set(err, ERROR_PERMANENT,
		"a private key among the certificates: remove it there, it belongs into its own file");
}

typedef int take_one(const struct block *b, void *context, struct error *err);

static int each_block(const char *what, const void *pem, size_t len, take_one *take, void *context, struct error *err)
{
	if (len > CHAIN_PEM_MAX)
		return error_set(
			err, ERROR_PERMANENT, "%s: %zu bytes of PEM, at most %d are read", what, len, CHAIN_PEM_MAX);
	if (len && memchr(pem, '\0', len))
		return error_set(err, ERROR_PERMANENT, "%s: a NUL byte in the PEM text", what);
	auto_bio BIO *bio = BIO_new_mem_buf(len ? pem : "", (int)len);
	if (!bio)
		mem_abort(__func__);
	for (;;) {
		auto_block struct block b = {0};
		int found = block_next(bio, &b, err);
		if (found == 0)
			return 0;
		if (found < 0 || take(&b, context, err) < 0)
			return error_wrap(err, "%s", what);
	}
}

static int parse_text(const char *what, const void *pem, size_t len, unsigned want, struct chain *c, struct error *err)
{
	struct wanted w = {want, c};
	return each_block(what, pem, len, take_block, &w, err);
}

int chain_parse_pem(const void *certificates_pem, size_t certificates_len, const void *key_pem, size_t key_len,
	struct chain *ret, struct error *err)
{
	auto_chain struct chain c = {.rest = sk_X509_new_null()};
	bool combined = key_pem && key_len == certificates_len &&
		(key_pem == certificates_pem || memcmp(key_pem, certificates_pem, key_len) == 0);
	if (!c.rest)
		mem_abort(__func__);
	if (parse_text("certificates", certificates_pem, certificates_len,
		    combined ? WANT_CERTIFICATES | WANT_KEY : WANT_CERTIFICATES, &c, err) < 0)
		return -1;
	if (key_pem && !combined && parse_text("private key", key_pem, key_len, WANT_KEY, &c, err) < 0)
		return -1;
	if (!c.leaf)
		return error_set(
			err, ERROR_PERMANENT, "certificates: no certificate in %zu bytes of PEM", certificates_len);
	if (key_pem && !c.key)
		return error_set(err, ERROR_PERMANENT, "private key: no private key in %zu bytes of PEM", key_len);
	*ret = c;
	c = (struct chain){0};
	return 0;
}

EVP_PKEY *chain_parse_key(const void *pem, size_t len, struct error *err)
{
	auto_chain struct chain c = {0};
	if (parse_text("private key", pem, len, WANT_KEY, &c, err) < 0)
		return NULL;
	if (!c.key)
		error_set(err, ERROR_PERMANENT, "private key: no private key in %zu bytes of PEM", len);
	return steal(c.key);
}

/* ---- certificates as bytes ---- */

struct cut {
	struct buf *out;
	size_t count, at;
};

static int cut_certificate(struct cut *cut, const void *der, size_t len, struct error *err)
{
	if (cut->count == CHAIN_CERTIFICATES_MAX)
		return refuse_many(err);
	if (!der_is_certificate(der, len))
		return error_set(err, ERROR_PERMANENT, "a certificate is not valid DER");
	if ((cut->count == 0 && buf_put_u8(cut->out, 0) < 0) || buf_put_bytes(cut->out, der, len) < 0)
		return error_set(err, ERROR_PERMANENT, "the certificates do not fit into %zu bytes", cut->out->max);
	cut->out->data[cut->at] = (uint8_t)++cut->count;
	return 0;
}

static int cut_block(const struct block *b, void *context, struct error *err)
{
	if (refuse_trusted(b, err) < 0)
		return -1;
	return block_is_certificate(b) ? cut_certificate(context, b->data, (size_t)b->len, err) : 0;
}

int chain_cut_certificates(const void *pem, size_t len, struct buf *out, struct error *err)
{
	struct cut cut = {.out = out, .at = out->len};
	if (der_is_certificate_3(pem, len))
		return cut_certificate(&cut, pem, len, err);
	return each_block("certificates", pem, len, cut_block, &cut, err);
}

int chain_take_public_key(struct chain *c, struct error *err)
{
	EVP_PKEY *key = X509_get0_pubkey(c->leaf);
	if (!key || !EVP_PKEY_up_ref(key))
		return openssl_error(err, ERROR_PERMANENT, "the certificate's public key cannot be read");
	c->key = key;
	return 0;
}

/* ---- writing ---- */

static int write_key(BIO *bio, EVP_PKEY *key, struct error *err)
{
	if (!key)
		return error_set(err, ERROR_PERMANENT, "no private key to write");
	if (PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1)
		return openssl_error(err, ERROR_PERMANENT, "the private key cannot be written");
	return 0;
}

static int write_parts(BIO *bio, const struct chain *c, unsigned parts, struct error *err)
{
	if (parts & CHAIN_KEY && write_key(bio, c->key, err) < 0)
		return -1;
	if (parts & CHAIN_LEAF && PEM_write_bio_X509(bio, c->leaf) != 1)
		return openssl_error(err, ERROR_PERMANENT, "the certificate cannot be written");
	for (int i = 0; parts & CHAIN_REST && i < sk_X509_num(c->rest); i++)
		if (PEM_write_bio_X509(bio, sk_X509_value(c->rest, i)) != 1)
			return openssl_error(err, ERROR_PERMANENT, "the chain cannot be written");
	return 0;
}

int chain_write_pem(const struct chain *c, unsigned parts, struct buf *out, struct error *err)
{
	/* Like every memory BIO this one wipes what it frees, and also what it outgrows. */
	auto_bio BIO *bio = BIO_new(BIO_s_secmem());
	if (!bio)
		mem_abort(__func__);
	if (write_parts(bio, c, parts, err) < 0)
		return -1;
	char *text;
	long len = BIO_get_mem_data(bio, &text);
	if (len > 0 && buf_add(out, text, (size_t)len) < 0)
		return error_set(err, ERROR_PERMANENT, "%ld bytes of PEM do not fit into %zu", len, out->max);
	return 0;
}

static int put_certificate(struct buf *out, const X509 *certificate)
{
	unsigned char *der = NULL;
	int len = i2d_X509(certificate, &der);
	int result = len > 0 ? buf_put_bytes(out, der, (size_t)len) : -1;
	OPENSSL_free(der);
	return result;
}

int chain_write_der(const struct chain *c, struct buf *out, struct error *err)
{
	auto_buf struct buf key = BUF_INIT(CHAIN_PEM_MAX);
	if (c->key && chain_write_key(c->key, &key, err) < 0)
		return -1;
	if (buf_put_bytes(out, key.data, key.len) < 0)
		return openssl_error(err, ERROR_PERMANENT, "the chain does not fit into %zu bytes", out->max);
	return chain_write_certificates(c, out, err);
}

int chain_write_certificates(const struct chain *c, struct buf *out, struct error *err)
{
	int count = sk_X509_num(c->rest);
	int failed = buf_put_u8(out, (uint8_t)(1 + count)) < 0 || put_certificate(out, c->leaf) < 0;
	for (int i = 0; !failed && i < count; i++)
		failed = put_certificate(out, sk_X509_value(c->rest, i)) < 0;
	if (failed)
		return openssl_error(err, ERROR_PERMANENT, "the chain does not fit into %zu bytes", out->max);
	return 0;
}

static int take_certificates(struct reader *r, struct chain *c, struct error *err)
{
	uint8_t count = read_u8(r);
	if (count < 1 || count > CHAIN_CERTIFICATES_MAX)
		return error_set(
			err, ERROR_PERMANENT, "%d certificates, from 1 to %d are read", count, CHAIN_CERTIFICATES_MAX);
	for (uint8_t i = 0; i < count; i++) {
		size_t len;
		const uint8_t *der = read_bytes(r, CHAIN_PEM_MAX, &len);
		if (!der)
			return error_set(err, ERROR_PERMANENT, "certificate %d of %d is cut short", i + 1, count);
		X509 *certificate = certificate_from_der(der, (long)len, err);
		if (!certificate)
			return -1;
		if (i == 0)
			c->leaf = certificate;
		else if (!sk_X509_push(c->rest, certificate))
			mem_abort(__func__);
	}
	return 0;
}

int chain_read_certificates(struct reader *r, struct chain *ret, struct error *err)
{
	auto_chain struct chain c = {.rest = sk_X509_new_null()};
	if (!c.rest)
		mem_abort(__func__);
	if (take_certificates(r, &c, err) < 0)
		return -1;
	*ret = c;
	c = (struct chain){0};
	return 0;
}

int chain_read_der(struct reader *r, struct chain *ret, struct error *err)
{
	auto_chain struct chain c = {.rest = sk_X509_new_null()};
	size_t len;
	if (!c.rest)
		mem_abort(__func__);
	const uint8_t *der = read_bytes(r, CHAIN_PEM_MAX, &len);
	if (!der)
		return error_set(err, ERROR_PERMANENT, "the private key is cut short");
	c.key = len ? key_from_der(PEM_STRING_PKCS8INF, der, (long)len, err) : NULL;
	if (len && !c.key)
		return -1;
	if (take_certificates(r, &c, err) < 0)
		return -1;
	*ret = c;
	c = (struct chain){0};
	return 0;
}

/* ---- identity ---- */

static void digest_certificate(EVP_MD_CTX *ctx, const X509 *certificate)
{
	auto_buf struct buf b = BUF_INIT(2 * CHAIN_PEM_MAX);
	if (put_certificate(&b, certificate) < 0 || EVP_DigestUpdate(ctx, b.data, b.len) != 1)
		mem_abort(__func__);
}

void chain_digest(const struct chain *chains, size_t count, uint8_t ret[CHAIN_SHA256_SIZE])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	if (!ctx || EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1)
		mem_abort(__func__);
	for (size_t i = 0; i < count; i++) {
		digest_certificate(ctx, chains[i].leaf);
		for (int k = 0; k < sk_X509_num(chains[i].rest); k++)
			digest_certificate(ctx, sk_X509_value(chains[i].rest, k));
	}
	if (EVP_DigestFinal_ex(ctx, ret, NULL) != 1)
		mem_abort(__func__);
	EVP_MD_CTX_free(ctx);
}

void chain_fingerprint(const X509 *certificate, uint8_t ret[CHAIN_SHA256_SIZE])
{
	if (X509_digest(certificate, EVP_sha256(), ret, NULL) != 1)
		mem_abort(__func__);
}

const char *chain_hex(const uint8_t sha256_bytes[CHAIN_SHA256_SIZE], char text[CHAIN_HEX_MAX])
{
	for (size_t i = 0; i < CHAIN_SHA256_SIZE; i++)
		snprintf(text + 2 * i, 3, "%02x", sha256_bytes[i]);
	return text;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int chain_unhex(const char *text, uint8_t ret[CHAIN_SHA256_SIZE])
{
	uint8_t bytes[CHAIN_SHA256_SIZE];
	if (strlen(text) != 2 * CHAIN_SHA256_SIZE)
		return -1;
	for (size_t i = 0; i < sizeof(bytes); i++) {
		int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
		if (high < 0 || low < 0)
			return -1;
		bytes[i] = (uint8_t)(high << 4 | low);
	}
	memcpy(ret, bytes, sizeof(bytes));
	return 0;
}

/* ---- facts ---- */

void chain_facts_release(struct chain_facts *f)
{
	for (size_t i = 0; i < f->name_count; i++)
		free(f->names[i]);
	free(f->names);
	f->names = NULL;
	f->name_count = 0;
}

static int64_t asn1_seconds(const ASN1_TIME *time)
{
	struct tm tm;
	return time && ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) : -1;
}

static void issuer_text(const X509 *leaf, char *text, size_t size)
{
	X509_NAME *name = X509_get_issuer_name(leaf);
	int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
	unsigned char *utf8 = NULL;
	int len = at < 0 ? -1 : ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
	if (len > 0)
		snprintf(text, size, "%.*s", len, (const char *)utf8);
	else
		X509_NAME_oneline(name, text, (int)size);
	OPENSSL_free(utf8);
	text_clean(text, 0);
}

static char *dns_name(const ASN1_IA5STRING *value)
{
	size_t len = (size_t)ASN1_STRING_length(value);
	const unsigned char *bytes = ASN1_STRING_get0_data(value);
	if (!len || memchr(bytes, '\0', len))
		return NULL;
	char *text = mem_strndup((const char *)bytes, len);
	for (char *p = text; *p; p++)
		*p = *p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p;
	text_clean(text, 0);
	return text;
}

static char *address_name(const ASN1_OCTET_STRING *value)
{
	char text[INET6_ADDRSTRLEN];
	int len = ASN1_STRING_length(value);
	if (len != 4 && len != 16)
		return NULL;
	inet_ntop(len == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(value), text, sizeof(text));
	return mem_strdup(text);
}

static int add_name(struct chain_facts *f, const GENERAL_NAME *name, struct error *err)
{
	if (name->type != GEN_DNS && name->type != GEN_IPADD)
		return 0;
	char *text = name->type == GEN_DNS ? dns_name(name->d.dNSName) : address_name(name->d.iPAddress);
	if (!text)
		return error_set(err, ERROR_UNTRUSTED,
			"names: subject alternative name %zu is empty, contains a NUL or is no address: "
			"have the certificate issued anew",
			f->name_count + 1);
	f->names = mem_grow(f->names, f->name_count + 1, sizeof(*f->names));
	f->names[f->name_count++] = text;
	return 0;
}

static int collect_names(const X509 *leaf, struct chain_facts *f, struct error *err)
{
	int critical, result = 0;
	GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, &critical, NULL);
	if (!names && critical != -1)
		result = openssl_error(err, ERROR_UNTRUSTED,
			"names: the subject alternative names cannot be read, or stand there twice");
	for (int i = 0; result == 0 && i < sk_GENERAL_NAME_num(names); i++)
		result = add_name(f, sk_GENERAL_NAME_value(names, i), err);
	GENERAL_NAMES_free(names);
	return result;
}

int chain_facts(const X509 *leaf, struct chain_facts *ret, struct error *err)
{
	struct chain_facts f = {0};
	chain_fingerprint(leaf, f.fingerprint);
	f.not_before = asn1_seconds(X509_get0_notBefore(leaf));
	f.not_after = asn1_seconds(X509_get0_notAfter(leaf));
	chain_key_type(X509_get0_pubkey(leaf), f.key_type);
	issuer_text(leaf, f.issuer, sizeof(f.issuer));
	if (collect_names(leaf, &f, err) < 0) {
		chain_facts_release(&f);
		return -1;
	}
	*ret = f;
	return 0;
}

size_t chain_names_fitting(const struct chain_facts *f)
{
	size_t count = 0, left = CHAIN_NAMES_TEXT_MAX;
	for (; count < f->name_count && count < CHAIN_NAMES_MAX && strlen(f->names[count]) <= left; count++)
		left -= strlen(f->names[count]);
	return count;
}
