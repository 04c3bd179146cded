#include "lib/wire/content_json.h"

#include <string.h>

void revision_to_json(struct revision r, const char *key, cJSON *o)
{
	char text[REVISION_TEXT_MAX];
	cJSON_AddStringToObject(o, key, revision_text(r, text));
}

int revision_from_json(const cJSON *o, const char *key, struct revision *ret, struct error *err)
{
	const char *text = json_string(o, key, REVISION_TEXT_MAX, err);
	if (!text)
		return -1;
	if (!revision_parse(text, ret))
		return error_set(err, ERROR_PERMANENT, "%s: \"%s\" is not a revision", key, text);
	return 0;
}

void sha256_to_json(const uint8_t sha256[CHAIN_SHA256_SIZE], const char *key, cJSON *o)
{
	char text[CHAIN_HEX_MAX];
	cJSON_AddStringToObject(o, key, content_hex(sha256, text));
}

int sha256_from_json(const cJSON *o, const char *key, uint8_t ret[CHAIN_SHA256_SIZE], struct error *err)
{
	const char *text = json_string(o, key, CHAIN_HEX_MAX - 1, err);
	if (!text)
		return -1;
	memset(ret, 0, CHAIN_SHA256_SIZE);
	if (text[0] && (strspn(text, "0123456789abcdef") != strlen(text) || chain_unhex(text, ret) < 0))
		return error_set(err, ERROR_PERMANENT, "%s: is not a SHA-256", key);
	return 0;
}

void content_to_json(const struct content *c, cJSON *o)
{
	revision_to_json(c->revision, "revision", o);
	sha256_to_json(c->digest, "digest", o);
	sha256_to_json(c->leaf, "fingerprint", o);
	cJSON_AddNumberToObject(o, "not_before", (double)c->not_before);
	cJSON_AddNumberToObject(o, "not_after", (double)c->not_after);
}

int content_from_json(const cJSON *o, struct content *ret, struct error *err)
{
	if (revision_from_json(o, "revision", &ret->revision, err) < 0 ||
		sha256_from_json(o, "digest", ret->digest, err) < 0 ||
		sha256_from_json(o, "fingerprint", ret->leaf, err) < 0 ||
		json_i64(o, "not_before", &ret->not_before, err) < 0)
		return -1;
	return json_i64(o, "not_after", &ret->not_after, err);
}
