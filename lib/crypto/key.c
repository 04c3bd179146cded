#include "lib/crypto/key.h"
#include "lib/core/mem.h"
#include "lib/crypto/seal.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/obj_mac.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void chain_free_pkey(EVP_PKEY **key)
{
	EVP_PKEY_free(*key);
	*key = NULL;
}

int openssl_error(struct error *err, enum error_kind kind, const char *fmt, ...)
{
	/* The oldest entry is the cause; later ones only say where it passed. */
	unsigned long code = ERR_peek_error();
	const char *reason = !code       ? NULL
		: ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code))
					 : ERR_reason_error_string(code);
	char text[ERROR_MESSAGE_MAX];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	error_set(err, kind, reason ? "%s: %s" : "%s", text, reason);
	ERR_clear_error();
	return -1;
}

int chain_write_spki(EVP_PKEY *key, struct buf *out, struct error *err)
{
	unsigned char *der = NULL;
	if (EVP_PKEY_is_a(key, "EC"))
		EVP_PKEY_set_utf8_string_param(key, OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT,
			OSSL_PKEY_EC_POINT_CONVERSION_FORMAT_UNCOMPRESSED);
	int len = i2d_PUBKEY(key, &der);
	int result = len > 0 ? buf_add(out, der, (size_t)len) : -1;
	OPENSSL_free(der);
	return result < 0 ? openssl_error(err, ERROR_PERMANENT, "the public half of a key cannot be written") : 0;
}

int chain_key_id(EVP_PKEY *key, uint8_t ret[CHAIN_SHA256_SIZE], struct error *err)
{
	auto_buf struct buf spki = BUF_INIT(CHAIN_SPKI_MAX);
	if (chain_write_spki(key, &spki, err) < 0)
		return -1;
	return sha256(spki.data, spki.len, ret) < 0 ? openssl_error(err, ERROR_PERMANENT, "SHA-256 of a public key")
						    : 0;
}

EVP_PKEY *chain_public_key(const void *der, size_t len, struct error *err)
{
	const unsigned char *at = der;
	ERR_clear_error();
	EVP_PKEY *key = d2i_PUBKEY(NULL, &at, (long)len);
	if (key && at == (const unsigned char *)der + len)
		return key;
	EVP_PKEY_free(key);
	openssl_error(err, ERROR_PERMANENT, "a public key is not valid DER");
	return NULL;
}

bool chain_key_is_sound(EVP_PKEY *key, EVP_PKEY *public_key)
{
	static const unsigned char text[] = "certsync";
	unsigned char signature[1024];
	size_t len = sizeof(signature);
	EVP_MD_CTX *made = EVP_MD_CTX_new(), *checked = EVP_MD_CTX_new();
	if (!made || !checked)
		mem_abort(__func__);
	bool sound = EVP_DigestSignInit(made, NULL, EVP_sha256(), NULL, key) == 1 &&
		EVP_DigestSign(made, signature, &len, text, sizeof(text)) == 1 &&
		EVP_DigestVerifyInit(checked, NULL, EVP_sha256(), NULL, public_key) == 1 &&
		EVP_DigestVerify(checked, signature, len, text, sizeof(text)) == 1;
	EVP_MD_CTX_free(made);
	EVP_MD_CTX_free(checked);
	ERR_clear_error();
	return sound;
}

int chain_write_key(const EVP_PKEY *key, struct buf *out, struct error *err)
{
	unsigned char *der = NULL;
	PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
	int len = info ? i2d_PKCS8_PRIV_KEY_INFO(info, &der) : -1;
	int result = len > 0 ? buf_add(out, der, (size_t)len) : -1;
	PKCS8_PRIV_KEY_INFO_free(info);
	if (len > 0)
		OPENSSL_clear_free(der, (size_t)len);
	return result < 0 ? openssl_error(err, ERROR_PERMANENT, "the private key cannot be written") : 0;
}

static void type_text(EVP_PKEY *key, char *text, size_t size)
{
	char group[64] = "";
	int explicit_parameters = 0;
	snprintf(text, size, "other");
	if (!key)
		return;
	if (EVP_PKEY_is_a(key, "RSA")) {
		snprintf(text, size, "rsa-%d", EVP_PKEY_get_bits(key));
		return;
	}
	/* They are told by name so that a refusal says what was given. */
	if (EVP_PKEY_is_a(key, "ED25519") || EVP_PKEY_is_a(key, "ED448"))
		snprintf(text, size, "%s", EVP_PKEY_is_a(key, "ED448") ? "ed448" : "ed25519");
	if (!EVP_PKEY_is_a(key, "EC") || EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) != 1)
		return;
	EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &explicit_parameters);
	if (explicit_parameters)
		return;
	if (strcmp(group, SN_X9_62_prime256v1) == 0)
		snprintf(text, size, "ecdsa-p256");
	else if (strcmp(group, SN_secp384r1) == 0)
		snprintf(text, size, "ecdsa-p384");
	else if (strcmp(group, SN_secp521r1) == 0)
		snprintf(text, size, "ecdsa-p521");
}

const char *chain_key_type(EVP_PKEY *key, char text[CHAIN_KEY_TYPE_MAX])
{
	type_text(key, text, CHAIN_KEY_TYPE_MAX);
	return text;
}

EVP_PKEY *chain_make_key(const char *key_type, struct error *err)
{
	static const struct {
		const char *type, *curve;
		unsigned bits;
	} types[] = {
		{"ecdsa-p256", "P-256", 0},
		{"ecdsa-p384", "P-384", 0},
		{"rsa-2048", NULL, 2048},
		{"rsa-3072", NULL, 3072},
		{"rsa-4096", NULL, 4096},
	};
	for (size_t i = 0; i < COUNT(types); i++) {
		if (strcmp(types[i].type, key_type) != 0)
			continue;
		EVP_PKEY *key = types[i].curve ? EVP_EC_gen(types[i].curve) : EVP_RSA_gen(types[i].bits);
		if (!key)
			openssl_error(err, ERROR_RETRY, "a new %s key cannot be made", key_type);
		return key;
	}
	error_set(err, ERROR_USAGE, "key type %s is unknown: ecdsa-p256, ecdsa-p384, rsa-2048, rsa-3072 or rsa-4096",
		key_type);
	return NULL;
}
