/* Makes certificates for tests. What a wish leaves open is as a sound mail server has it. */
#ifndef CERTSYNC_TEST_ISSUE_H
#define CERTSYNC_TEST_ISSUE_H

#include "lib/crypto/chain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <openssl/x509v3.h>

#define ISSUE_NOW INT64_C(1800000000) /* 2027-01-15T08:00:00Z */
#define ISSUE_DAY INT64_C(86400)

struct issued {
	X509 *certificate;
	EVP_PKEY *key;
};

struct wish {
	const char *subject;         /* common name */
	const struct issued *issuer; /* NULL: self-signed */
	const char *san;             /* "DNS:mail.domain.pl,IP:10.0.0.1"; NULL: none */
	const char *usage;           /* extended key usage; NULL: serverAuth, for an authority none; "": none */
	const char *key_type; /* NULL: ecdsa-p256; also "rsa-1024", "rsa-4104" (public), "ed25519", "ecdsa-p521" */
	EVP_PKEY *key;        /* borrowed; NULL: a new one */
	bool authority;
	bool bare;        /* without key identifiers: names alone tell issuers apart */
	int64_t from, to; /* 0, 0: a day ago to 90 days ahead of ISSUE_NOW */
};

/* Makes a key of these parameters, and takes them over. */
static inline EVP_PKEY *issue_key_of(const char *kind, int selection, OSSL_PARAM_BLD *build)
{
	EVP_PKEY *key = NULL;
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, kind, NULL);
	assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
	assert_int_equal(EVP_PKEY_fromdata(ctx, &key, selection, params), 1);
	EVP_PKEY_CTX_free(ctx);
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(build);
	return key;
}

/* Makes the public half of an RSA key of 4104 bits. Its modulus is no product of primes: generating them would take
 * seconds, and only the length is looked at. */
static inline EVP_PKEY *issue_rsa_4104(void)
{
	BIGNUM *modulus = BN_new();
	assert_true(BN_set_bit(modulus, 4103) && BN_set_bit(modulus, 0));
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, modulus);
	OSSL_PARAM_BLD_push_ulong(build, OSSL_PKEY_PARAM_RSA_E, 65537);
	EVP_PKEY *key = issue_key_of("RSA", EVP_PKEY_PUBLIC_KEY, build);
	BN_free(modulus);
	return key;
}

static inline EVP_PKEY *issue_key(const char *type)
{
	struct error err;
	EVP_PKEY *key = strcmp(type, "rsa-1024") == 0 ? EVP_RSA_gen(1024)
		: strcmp(type, "rsa-4104") == 0       ? issue_rsa_4104()
		: strcmp(type, "ed25519") == 0        ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")
		: strcmp(type, "ecdsa-p521") == 0     ? EVP_EC_gen("P-521")
						      : chain_make_key(type, &err);
	assert_non_null(key);
	return key;
}

static inline void issue_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509V3_set_ctx(&ctx, issuer, certificate, NULL, NULL, 0);
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert_non_null(extension);
	assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
	X509_EXTENSION_free(extension);
}

static inline void issue_extensions(const struct wish *w, X509 *certificate, X509 *issuer)
{
	issue_extension(
		certificate, issuer, NID_basic_constraints, w->authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
	issue_extension(certificate, issuer, NID_key_usage,
		w->authority ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature");
	if (!w->bare) {
		issue_extension(certificate, issuer, NID_subject_key_identifier, "hash");
		issue_extension(certificate, issuer, NID_authority_key_identifier, "keyid");
	}
	if (w->usage ? *w->usage : !w->authority)
		issue_extension(certificate, issuer, NID_ext_key_usage, w->usage ? w->usage : "serverAuth");
	if (w->san)
		issue_extension(certificate, issuer, NID_subject_alt_name, w->san);
}

static inline struct issued issue(struct wish w)
{
	static long serial = 1;
	struct issued made = {.certificate = X509_new(), .key = w.key};
	if (w.key)
		EVP_PKEY_up_ref(w.key);
	else
		made.key = issue_key(w.key_type ? w.key_type : "ecdsa-p256");
	X509 *certificate = made.certificate, *issuer = w.issuer ? w.issuer->certificate : certificate;
	EVP_PKEY *signer = w.issuer ? w.issuer->key : made.key;
	X509_set_version(certificate, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++);
	ASN1_TIME_set(X509_getm_notBefore(certificate), w.from ? w.from : ISSUE_NOW - ISSUE_DAY);
	ASN1_TIME_set(X509_getm_notAfter(certificate), w.to ? w.to : ISSUE_NOW + 90 * ISSUE_DAY);
	X509_NAME_add_entry_by_txt(
		X509_get_subject_name(certificate), "CN", MBSTRING_UTF8, (const unsigned char *)w.subject, -1, -1, 0);
	X509_set_issuer_name(certificate, X509_get_subject_name(issuer));
	X509_set_pubkey(certificate, made.key);
	issue_extensions(&w, certificate, issuer);
	assert_true(X509_sign(certificate, signer, EVP_PKEY_is_a(signer, "ED25519") ? NULL : EVP_sha256()) > 0);
	return made;
}

static inline void issued_release(struct issued *i)
{
	X509_free(i->certificate);
	EVP_PKEY_free(i->key);
	*i = (struct issued){0};
}

/* Makes a chain of the leaf and `count` more certificates, with a reference to each; the caller keeps its own. */
static inline struct chain issued_chain(const struct issued *leaf, const struct issued *const *rest, size_t count)
{
	struct chain c = {.key = leaf->key, .leaf = leaf->certificate, .rest = sk_X509_new_null()};
	if (c.key)
		EVP_PKEY_up_ref(c.key);
	X509_up_ref(c.leaf);
	for (size_t i = 0; i < count; i++) {
		X509_up_ref(rest[i]->certificate);
		sk_X509_push(c.rest, rest[i]->certificate);
	}
	return c;
}

#endif
