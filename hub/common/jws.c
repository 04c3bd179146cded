#include "hub/common/jws.h"
#include "lib/core/base64.h"
#include "lib/crypto/chain.h"
#include "lib/wire/json.h"
#include "lib/core/mem.h"
#include "lib/crypto/seal.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COORDINATE_SIZE = 32 };

static int add_coordinate(const EVP_PKEY *key, const char *parameter, struct buf *out)
{
	uint8_t bytes[COORDINATE_SIZE];
	BIGNUM *number = NULL;
	int result = -1;
	if (EVP_PKEY_get_bn_param(key, parameter, &number) == 1 &&
		BN_bn2binpad(number, bytes, sizeof(bytes)) == sizeof(bytes))
		result = base64url_encode(bytes, sizeof(bytes), out);
	BN_free(number);
	return result;
}

int jws_jwk(const EVP_PKEY *key, struct buf *out, struct error *err)
{
	char curve[32] = "";
	size_t before = out->len;
	EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, curve, sizeof(curve), NULL);
	if (strcmp(curve, "prime256v1") == 0 && buf_addf(out, "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"") == 0 &&
		add_coordinate(key, OSSL_PKEY_PARAM_EC_PUB_X, out) == 0 && buf_addf(out, "\",\"y\":\"") == 0 &&
		add_coordinate(key, OSSL_PKEY_PARAM_EC_PUB_Y, out) == 0 && buf_addf(out, "\"}") == 0)
		return 0;
	out->len = before;
	return openssl_error(err, ERROR_PERMANENT, "the account key is not an ECDSA key on P-256");
}

int jws_thumbprint(const EVP_PKEY *key, char ret[JWS_THUMBPRINT_MAX], struct error *err)
{
	auto_buf struct buf jwk = BUF_INIT(512);
	auto_buf struct buf text = BUF_INIT(JWS_THUMBPRINT_MAX);
	uint8_t hash[32];
	if (jws_jwk(key, &jwk, err) < 0)
		return -1;
	if (sha256(jwk.data, jwk.len, hash) < 0)
		return openssl_error(err, ERROR_PERMANENT, "SHA-256");
	base64url_encode(hash, sizeof(hash), &text);
	snprintf(ret, JWS_THUMBPRINT_MAX, "%s", buf_text(&text));
	return 0;
}

static int add_protected(const EVP_PKEY *key, const struct jws_header *header, struct buf *out, struct error *err)
{
	auto_buf struct buf jwk = BUF_INIT(512);
	auto_buf struct buf text = BUF_INIT(JWS_MAX);
	auto_json cJSON *object = cJSON_CreateObject();
	cJSON_AddStringToObject(object, "alg", "ES256");
	if (header->kid) {
		cJSON_AddStringToObject(object, "kid", header->kid);
	} else {
		if (jws_jwk(key, &jwk, err) < 0)
			return -1;
		cJSON_AddRawToObject(object, "jwk", buf_text(&jwk));
	}
	if (header->nonce)
		cJSON_AddStringToObject(object, "nonce", header->nonce);
	cJSON_AddStringToObject(object, "url", header->url);
	if (json_print(object, &text) < 0 || base64url_encode(text.data, text.len, out) < 0)
		return error_set(err, ERROR_PERMANENT, "the header of a request is too long");
	return 0;
}

/* Puts together what is signed: two parts and the dot between them. */
static int join(const struct buf *protected_part, const struct buf *payload, struct buf *out)
{
	if (base64url_encode(protected_part->data, protected_part->len, out) < 0 || buf_add(out, ".", 1) < 0)
		return -1;
	return base64url_encode(payload->data, payload->len, out);
}

int jws_bind(const EVP_PKEY *account, const char *kid, const struct buf *hmac, const char *url, struct buf *out,
	struct error *err)
{
	auto_buf struct buf text = BUF_INIT(JWS_MAX), jwk = BUF_INIT(512), input = BUF_INIT(JWS_MAX);
	auto_buf struct buf signature = BUF_INIT(64);
	auto_json cJSON *header = cJSON_CreateObject();
	uint8_t mac[EVP_MAX_MD_SIZE];
	unsigned mac_len = 0;
	cJSON_AddStringToObject(header, "alg", "HS256");
	cJSON_AddStringToObject(header, "kid", kid);
	cJSON_AddStringToObject(header, "url", url);
	if (jws_jwk(account, &jwk, err) < 0)
		return -1;
	if (json_print(header, &text) < 0 || join(&text, &jwk, &input) < 0)
		return error_set(err, ERROR_PERMANENT, "the binding of the account is too long");
	if (!HMAC(EVP_sha256(), hmac->data, (int)hmac->len, input.data, input.len, mac, &mac_len))
		return openssl_error(err, ERROR_PERMANENT, "the account cannot be bound");
	size_t dot = (size_t)((uint8_t *)memchr(input.data, '.', input.len) - input.data);
	if (base64url_encode(mac, mac_len, &signature) < 0 ||
		buf_addf(out, "{\"protected\":\"%.*s\",\"payload\":\"%s\",\"signature\":\"%s\"}", (int)dot,
			buf_text(&input), buf_text(&input) + dot + 1, buf_text(&signature)) < 0)
		return error_set(err, ERROR_PERMANENT, "the binding of the account is too long");
	return 0;
}

int jws_input(
	const EVP_PKEY *key, const struct jws_header *header, const char *payload, struct buf *out, struct error *err)
{
	if (add_protected(key, header, out, err) < 0)
		return -1;
	if (buf_add(out, ".", 1) < 0 || (payload && base64url_encode(payload, strlen(payload), out) < 0))
		return error_set(err, ERROR_PERMANENT, "a request is too long");
	return 0;
}

int jws_finish(struct buf *input, const uint8_t signature[JWS_SIGNATURE_SIZE], struct buf *out, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(128);
	const uint8_t *dot = memchr(input->data, '.', input->len);
	int len = dot ? (int)(dot - input->data) : 0;
	base64url_encode(signature, JWS_SIGNATURE_SIZE, &text);
	if (buf_addf(out, "{\"protected\":\"%.*s\",\"payload\":\"%s\",\"signature\":\"%s\"}", len, buf_text(input),
		    buf_text(input) + len + 1, buf_text(&text)) < 0)
		return error_set(err, ERROR_PERMANENT, "a signed request does not fit into %zu bytes", out->max);
	return 0;
}
