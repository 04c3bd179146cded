#include "hub/keys/jws_key.h"
#include "lib/core/base64.h"
#include "lib/core/mem.h"

#include <openssl/bn.h>
#include <openssl/ecdsa.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

enum { COORDINATE_SIZE = 32, DER_SIGNATURE_MAX = 80 };

static const char header_start[] = "{\"alg\":\"ES256\",\"", revocation_start[] = "{\"certificate\":\"";

/* Appends what the text says, decoded, and returns 0. */
static int decode(const uint8_t *text, size_t len, struct buf *out)
{
	auto_free char *copy = mem_strndup((const char *)text, len);
	return strlen(copy) == len && base64url_is(copy, len) ? base64url_decode(copy, out) : -1;
}

static bool starts(const struct buf *b, const char *with)
{
	return b->len >= strlen(with) && memcmp(b->data, with, strlen(with)) == 0;
}

static int check_form(enum keys_class key_class, const uint8_t *input, size_t len, struct error *err)
{
	auto_buf struct buf header = BUF_INIT(KEYS_INPUT_MAX), payload = BUF_INIT(KEYS_INPUT_MAX);
	const uint8_t *dot = len ? memchr(input, '.', len) : NULL;
	size_t left = dot ? (size_t)(dot - input) : 0, right = dot ? len - left - 1 : 0;
	if (!dot || decode(input, left, &header) < 0 || (right && decode(dot + 1, right, &payload) < 0) ||
		!starts(&header, header_start))
		return error_set(err, ERROR_PERMANENT, "what is to be signed is no request of ACME");
	if (key_class == KEYS_LEAF && !starts(&payload, revocation_start))
		return error_set(
			err, ERROR_PERMANENT, "a certificate's key signs no request of ACME but its revocation");
	return 0;
}

/* Makes the fixed form r || s of RFC 7518 section 3.4 from OpenSSL's DER. */
static int fixed_signature(const uint8_t *der, size_t len, uint8_t ret[2 * COORDINATE_SIZE])
{
	ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &der, (long)len);
	int result = -1;
	if (signature && BN_bn2binpad(ECDSA_SIG_get0_r(signature), ret, COORDINATE_SIZE) == COORDINATE_SIZE &&
		BN_bn2binpad(ECDSA_SIG_get0_s(signature), ret + COORDINATE_SIZE, COORDINATE_SIZE) == COORDINATE_SIZE)
		result = 0;
	ECDSA_SIG_free(signature);
	return result;
}

int jws_key_sign(EVP_PKEY *key, enum keys_class key_class, const uint8_t *input, size_t len,
	uint8_t ret[KEYS_SIGNATURE_SIZE], struct error *err)
{
	uint8_t der[DER_SIGNATURE_MAX];
	size_t der_len = sizeof(der);
	char type[CHAIN_KEY_TYPE_MAX];
	if (strcmp(chain_key_type(key, type), "ecdsa-p256") != 0)
		return error_set(
			err, ERROR_PERMANENT, "a key that is %s signs no request of ACME: ecdsa-p256 alone does", type);
	if (check_form(key_class, input, len, err) < 0)
		return -1;
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	if (!context)
		mem_abort(__func__);
	int made = EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
		EVP_DigestSign(context, der, &der_len, input, len) == 1 && fixed_signature(der, der_len, ret) == 0;
	EVP_MD_CTX_free(context);
	return made ? 0 : openssl_error(err, ERROR_PERMANENT, "the key cannot sign");
}
