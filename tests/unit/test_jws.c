/* Signatures of ACME requests, tested with the keys and texts of RFC 7515 and RFC 7638. */
#include "hub/common/jws.h"
#include "hub/keys/jws_key.h"
#include "lib/core/base64.h"
#include "lib/crypto/chain.h"
#include "lib/wire/json.h"
#include "lib/core/mem.h"
#include "lib/crypto/seal.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/param_build.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* RFC 7515 appendix A.3 */
#define A3_X "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
#define A3_Y "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
#define A3_D "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"
#define A3_INPUT \
	"eyJhbGciOiJFUzI1NiJ9." \
	"eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
#define A3_SIGNATURE "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"

static void unbase64url(const char *text, struct buf *out)
{
	char standard[4096];
	struct error err;
	snprintf(standard, sizeof(standard) - 4, "%s", text);
	for (char *p = standard; *p; p++)
		*p = *p == '-' ? '+' : *p == '_' ? '/' : *p;
	while (strlen(standard) % 4)
		strcat(standard, "=");
	assert_int_equal(base64_decode(standard, out, &err), 0);
}

static EVP_PKEY *a3_key(void)
{
	auto_buf struct buf x = BUF_INIT(64), y = BUF_INIT(64), d = BUF_INIT(64), point = BUF_INIT(80);
	unbase64url(A3_X, &x);
	unbase64url(A3_Y, &y);
	unbase64url(A3_D, &d);
	buf_put_u8(&point, 4);
	buf_add(&point, x.data, x.len);
	buf_add(&point, y.data, y.len);
	BIGNUM *secret = BN_bin2bn(d.data, (int)d.len, NULL);
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0);
	OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point.data, point.len);
	OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_PRIV_KEY, secret);
	OSSL_PARAM *parameters = OSSL_PARAM_BLD_to_param(builder);
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	EVP_PKEY *key = NULL;
	assert_int_equal(EVP_PKEY_fromdata_init(context), 1);
	assert_int_equal(EVP_PKEY_fromdata(context, &key, EVP_PKEY_KEYPAIR, parameters), 1);
	EVP_PKEY_CTX_free(context);
	OSSL_PARAM_free(parameters);
	OSSL_PARAM_BLD_free(builder);
	BN_free(secret);
	return key;
}

/* Whether `signature`, which is r || s in base64url, is the key's over `input`, judged by OpenSSL and not by what is
 * tested. */
static bool verifies(EVP_PKEY *key, const char *input, const char *signature)
{
	auto_buf struct buf raw = BUF_INIT(128);
	unsigned char *der = NULL;
	unbase64url(signature, &raw);
	if (raw.len != 64)
		return false;
	ECDSA_SIG *pair = ECDSA_SIG_new();
	ECDSA_SIG_set0(pair, BN_bin2bn(raw.data, 32, NULL), BN_bin2bn(raw.data + 32, 32, NULL));
	int len = i2d_ECDSA_SIG(pair, &der);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool good = EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
		EVP_DigestVerify(context, der, (size_t)len, (const unsigned char *)input, strlen(input)) == 1;
	EVP_MD_CTX_free(context);
	ECDSA_SIG_free(pair);
	OPENSSL_free(der);
	return good;
}

/* ---- stories ---- */

static void base64url_is_that_of_the_rfc(void **state)
{
	(void)state;
	static const struct {
		const char *bytes;
		size_t len;
		const char *text;
	} vectors[] = {
		{"\x03\xec\xff\xe0\xc1", 5, "A-z_4ME"}, /* RFC 7515 appendix C */
		{"", 0, ""},
		{"f", 1, "Zg"},
		{"fo", 2, "Zm8"},
		{"foo", 3, "Zm9v"},
		{"foob", 4, "Zm9vYg"},
		{"fooba", 5, "Zm9vYmE"},
		{"foobar", 6, "Zm9vYmFy"},
	};
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		auto_buf struct buf out = BUF_INIT(16);
		assert_int_equal(base64url_encode(vectors[i].bytes, vectors[i].len, &out), 0);
		assert_string_equal(buf_text(&out), vectors[i].text);
	}
	auto_buf struct buf small = BUF_INIT(7);
	assert_int_equal(base64url_encode("foobar", 6, &small), -1);
	assert_int_equal(small.len, 0);
}

static void only_its_alphabet_is_base64url(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "a=", "a+b", "a/b", "../x", "$(id)", "a b", "a\n", "a.b", "\xff"};
	assert_true(base64url_is("DGyRejmCefe7v4NfDGDKfA", 128));
	assert_true(base64url_is("-_", 2));
	assert_false(base64url_is("abc", 2));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(base64url_is(bad[i], 128));
}

static void base64url_is_read_back(void **state)
{
	(void)state;
	static const char *const wrong[] = {"a", "ab=c", "a+b/", "ab cd", "abcde"};
	for (size_t len = 0; len < 64; len++) {
		auto_buf struct buf text = BUF_INIT(256), bytes = BUF_INIT(64);
		uint8_t data[64] = {0};
		for (size_t i = 0; i < len; i++)
			data[i] = (uint8_t)(len * 37 + i * 101);
		assert_int_equal(base64url_encode(data, len, &text), 0);
		assert_int_equal(base64url_decode(buf_text(&text), &bytes), 0);
		assert_int_equal(bytes.len, len);
		assert_memory_equal(len ? bytes.data : data, data, len);
	}
	for (size_t i = 0; i < COUNT(wrong); i++) {
		auto_buf struct buf bytes = BUF_INIT(64);
		assert_int_equal(base64url_decode(wrong[i], &bytes), -1);
	}
	auto_buf struct buf few = BUF_INIT(2);
	assert_int_equal(base64url_decode("AAAA", &few), -1);
}

static void the_jwk_is_in_canonical_form(void **state)
{
	(void)state;
	struct error err;
	auto_pkey EVP_PKEY *key = a3_key();
	auto_buf struct buf jwk = BUF_INIT(512);
	assert_int_equal(jws_jwk(key, &jwk, &err), 0);
	assert_string_equal(buf_text(&jwk), "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"" A3_X "\",\"y\":\"" A3_Y "\"}");
}

static void coordinates_keep_their_leading_zeros(void **state)
{
	(void)state;
	struct error err;
	for (int i = 0; i < 600; i++) { /* there are two coordinates, and one in 256 begins with a zero byte */
		auto_pkey EVP_PKEY *key = chain_make_key("ecdsa-p256", &err);
		auto_buf struct buf jwk = BUF_INIT(512);
		assert_int_equal(jws_jwk(key, &jwk, &err), 0);
		assert_int_equal(jwk.len, strlen("{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"\",\"y\":\"\"}") + 2 * 43);
	}
}

static void the_thumbprint_is_that_of_rfc_7638(void **state)
{
	(void)state;
	/* RFC 7638 section 3.1 gives the text that is hashed and its hash. */
	static const char rfc[] =
		"{\"e\":\"AQAB\",\"kty\":\"RSA\",\"n\":"
		"\"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zw"
		"u1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_"
		"RN5w6Cf0h4QyQ5v-6"
		"5YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-"
		"bFTWhAI4vMQFh"
		"6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw\"}";
	uint8_t hash[32];
	auto_buf struct buf text = BUF_INIT(64);
	assert_int_equal(sha256(rfc, sizeof(rfc) - 1, hash), 0);
	assert_int_equal(base64url_encode(hash, sizeof(hash), &text), 0);
	assert_string_equal(buf_text(&text), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
	/* The thumbprint of the key of RFC 7515 appendix A.3, as another implementation computed it. */
	struct error err;
	char thumbprint[JWS_THUMBPRINT_MAX];
	auto_pkey EVP_PKEY *key = a3_key();
	assert_int_equal(jws_thumbprint(key, thumbprint, &err), 0);
	assert_string_equal(thumbprint, "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U");
}

/* Signs as the worker and certsync-keys do together. */
static int jws_sign(
	EVP_PKEY *key, const struct jws_header *header, const char *payload, struct buf *out, struct error *err)
{
	uint8_t signature[KEYS_SIGNATURE_SIZE];
	auto_buf struct buf input = BUF_INIT(JWS_MAX);
	if (jws_input(key, header, payload, &input, err) < 0 ||
		jws_key_sign(key, KEYS_ACCOUNT, input.data, input.len, signature, err) < 0)
		return -1;
	return jws_finish(&input, signature, out, err);
}

static void keys_of_other_kinds_are_refused(void **state)
{
	(void)state;
	static const char *const kinds[] = {"ecdsa-p384", "rsa-2048"};
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct error err;
		char thumbprint[JWS_THUMBPRINT_MAX];
		auto_pkey EVP_PKEY *key = chain_make_key(kinds[i], &err);
		auto_buf struct buf out = BUF_INIT(JWS_MAX);
		const struct jws_header header = {.nonce = "n", .url = "https://ca.example/x"};
		assert_int_equal(jws_thumbprint(key, thumbprint, &err), -1);
		assert_int_equal(err.kind, ERROR_PERMANENT);
		assert_int_equal(jws_sign(key, &header, "{}", &out, &err), -1);
		assert_int_equal(out.len, 0);
	}
}

/* Signs, takes the three parts apart, and checks the signature with the key. */
static cJSON *sign_and_check(EVP_PKEY *key, const struct jws_header *header, const char *payload, const char *encoded)
{
	struct error err;
	char input[8192];
	auto_buf struct buf out = BUF_INIT(JWS_MAX), decoded = BUF_INIT(JWS_MAX);
	assert_int_equal(jws_sign(key, header, payload, &out, &err), 0);
	auto_json cJSON *jws = json_parse(out.data, out.len, &err);
	assert_non_null(jws);
	assert_int_equal(cJSON_GetArraySize(jws), 3);
	const char *protected = json_string(jws, "protected", 8000, &err);
	assert_string_equal(json_string(jws, "payload", 8000, &err), encoded);
	snprintf(input, sizeof(input), "%s.%s", protected, encoded);
	assert_true(verifies(key, input, json_string(jws, "signature", 100, &err)));
	input[3] ^= 1;
	assert_false(verifies(key, input, json_string(jws, "signature", 100, &err)));
	unbase64url(protected, &decoded);
	cJSON *result = json_parse(decoded.data, decoded.len, &err);
	assert_non_null(result);
	return result;
}

static void the_rfcs_signature_passes_the_check_used_here(void **state)
{
	(void)state;
	auto_pkey EVP_PKEY *key = a3_key();
	assert_true(verifies(key, A3_INPUT, A3_SIGNATURE));
}

static void a_request_with_an_account_bears_its_url(void **state)
{
	(void)state;
	struct error err;
	auto_pkey EVP_PKEY *key = a3_key();
	const struct jws_header header = {"https://ca.example/acct/1", "nonce-1", "https://ca.example/new-order"};
	auto_json cJSON *protected = sign_and_check(key, &header, "{\"a\":1}", "eyJhIjoxfQ");
	assert_string_equal(json_string(protected, "alg", 10, &err), "ES256");
	assert_string_equal(json_string(protected, "kid", 100, &err), header.kid);
	assert_string_equal(json_string(protected, "nonce", 100, &err), header.nonce);
	assert_string_equal(json_string(protected, "url", 100, &err), header.url);
	assert_int_equal(cJSON_GetArraySize(protected), 4);
}

static void a_request_without_an_account_bears_the_key(void **state)
{
	(void)state;
	struct error err;
	auto_pkey EVP_PKEY *key = a3_key();
	const struct jws_header header = {.nonce = "nonce-2", .url = "https://ca.example/new-account"};
	auto_json cJSON *protected = sign_and_check(key, &header, "{}", "e30");
	const cJSON *jwk = json_object(protected, "jwk", &err);
	assert_string_equal(json_string(jwk, "x", 100, &err), A3_X);
	assert_string_equal(json_string(jwk, "y", 100, &err), A3_Y);
	assert_null(json_get(jwk, "d"));
	assert_null(json_get(protected, "kid"));
}

static void a_post_as_get_has_an_empty_payload(void **state)
{
	(void)state;
	auto_pkey EVP_PKEY *key = a3_key();
	const struct jws_header header = {"https://ca.example/acct/1", "nonce-3", "https://ca.example/order/1"};
	auto_json cJSON *protected = sign_and_check(key, &header, NULL, "");
	assert_non_null(protected);
}

static void many_signatures_all_have_64_bytes(void **state)
{
	(void)state;
	auto_pkey EVP_PKEY *key = a3_key();
	const struct jws_header header = {"https://ca.example/acct/1", "nonce-4", "https://ca.example/order/1"};
	for (int i = 0; i < 300; i++) { /* in one of 128 signatures r or s begins with a zero byte */
		auto_json cJSON *protected = sign_and_check(key, &header, "{}", "e30");
		assert_non_null(protected);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(base64url_is_that_of_the_rfc),
		cmocka_unit_test(only_its_alphabet_is_base64url),
		cmocka_unit_test(base64url_is_read_back),
		cmocka_unit_test(the_jwk_is_in_canonical_form),
		cmocka_unit_test(coordinates_keep_their_leading_zeros),
		cmocka_unit_test(the_thumbprint_is_that_of_rfc_7638),
		cmocka_unit_test(keys_of_other_kinds_are_refused),
		cmocka_unit_test(the_rfcs_signature_passes_the_check_used_here),
		cmocka_unit_test(a_request_with_an_account_bears_its_url),
		cmocka_unit_test(a_request_without_an_account_bears_the_key),
		cmocka_unit_test(a_post_as_get_has_an_empty_payload),
		cmocka_unit_test(many_signatures_all_have_64_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
