#include "hub/common/root_request.h"
#include "lib/core/mem.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_BLOB_MAX = HUB_KEY_TEXT_MAX };

static const char *const key_types[] = {
	"ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"};

static int base64_value(char c)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(letters, c) : NULL;
	return at ? (int)(at - letters) : -1;
}

/* Decodes strict base64, by hand since the root half links no OpenSSL. Returns the number of bytes, or -1. */
static long unbase64(const char *text, uint8_t *out)
{
	size_t len = strlen(text), used = 0;
	if (len == 0 || len % 4 != 0)
		return -1;
	size_t padding = text[len - 1] != '=' ? 0 : text[len - 2] != '=' ? 1 : 2;
	uint32_t bits = 0;
	for (size_t i = 0; i < len - padding; i++) {
		int value = base64_value(text[i]);
		if (value < 0)
			return -1;
		bits = bits << 6 | (uint32_t)value;
		if (i % 4 == 3) {
			out[used++] = (uint8_t)(bits >> 16);
			out[used++] = (uint8_t)(bits >> 8);
			out[used++] = (uint8_t)bits;
		}
	}
	if (padding == 1) {
		out[used++] = (uint8_t)(bits >> 10);
		out[used++] = (uint8_t)(bits >> 2);
	} else if (padding == 2) {
		out[used++] = (uint8_t)(bits >> 4);
	}
	/* What the last digit says beyond the last byte must be zero, so that one key has one text. */
	bool rest = (padding == 1 && (bits & 3)) || (padding == 2 && (bits & 15));
	return rest ? -1 : (long)used;
}

bool hub_key_is_valid(const char *key)
{
	uint8_t blob[KEY_BLOB_MAX];
	const char *space = strchr(key, ' ');
	if (!space || strlen(key) >= HUB_KEY_TEXT_MAX)
		return false;
	size_t type_len = (size_t)(space - key);
	bool known = false;
	for (size_t i = 0; i < COUNT(key_types); i++)
		known |= strlen(key_types[i]) == type_len && memcmp(key, key_types[i], type_len) == 0;
	long len = known ? unbase64(space + 1, blob) : -1;
	if (len < 0)
		return false;
	/* The key names its type once more (RFC 4253 section 6.6). */
	struct reader r = READER(blob, (size_t)len);
	size_t inner_len = 0, value_len = 0;
	const uint8_t *inner = read_bytes(&r, 64, &inner_len);
	if (r.failed || inner_len != type_len || memcmp(inner, key, type_len) != 0)
		return false;
	(void)read_bytes(&r, KEY_BLOB_MAX, &value_len);
	bool ed25519 = type_len == strlen(key_types[0]) && memcmp(key, key_types[0], type_len) == 0;
	return !r.failed && (!ed25519 || (r.left == 0 && value_len == 32));
}

/* ---- the text of the forced command: encoder and decoder ---- */

static const char join_prefix[] = "join:";

void hub_key_mark(const char *key, char ret[HUB_KEY_MARK_MAX])
{
	const char *text = strchr(key, ' ');
	text = text ? text + 1 : key;
	size_t len = strcspn(text, "="), most = HUB_KEY_MARK_MAX - 1;
	text += len > most ? len - most : 0;
	snprintf(ret, HUB_KEY_MARK_MAX, "%.*s", (int)(len > most ? most : len), text);
}

void hub_key_word(const struct hub_key *key, char ret[HUB_KEY_WORD_MAX])
{
	char mark[HUB_KEY_MARK_MAX];
	hub_key_mark(key->key, mark);
	if (key->use == HUB_KEY_JOIN)
		snprintf(ret, HUB_KEY_WORD_MAX, "%s%s", join_prefix, key->agent);
	else
		snprintf(ret, HUB_KEY_WORD_MAX, "%s:%s", key->agent, mark);
}

bool hub_key_word_parse(
	const char *word, enum hub_key_use *ret_use, char ret_agent[NAME_AGENT_MAX], char ret_mark[HUB_KEY_MARK_MAX])
{
	bool joins = strncmp(word, join_prefix, strlen(join_prefix)) == 0;
	const char *name = word + (joins ? strlen(join_prefix) : 0), *colon = strchr(name, ':');
	size_t len = colon ? (size_t)(colon - name) : strlen(name);
	const char *mark = colon ? colon + 1 : "";
	if ((colon && (joins || !*mark)) || len >= NAME_AGENT_MAX || strlen(mark) >= HUB_KEY_MARK_MAX)
		return false;
	for (const char *at = mark; *at; at++)
		if (base64_value(*at) < 0)
			return false;
	*ret_use = joins ? HUB_KEY_JOIN : HUB_KEY_AGENT;
	snprintf(ret_agent, NAME_AGENT_MAX, "%.*s", (int)len, name);
	snprintf(ret_mark, HUB_KEY_MARK_MAX, "%s", mark);
	return name_is_agent(ret_agent);
}

static int put_key(struct buf *out, const struct hub_key *key)
{
	if (buf_put_string(out, key->agent) < 0 || buf_put_string(out, key->key) < 0 ||
		buf_put_u8(out, (uint8_t)key->use) < 0)
		return -1;
	return buf_put_u64(out, (uint64_t)key->expires);
}

int hub_request_encode(const struct hub_request *r, struct buf *out)
{
	if (buf_put_u8(out, (uint8_t)r->op) < 0)
		return -1;
	if (r->op == HUB_REQUEST_ALIVE || r->op == HUB_REQUEST_READING)
		return 0;
	if (r->op == HUB_REQUEST_SCAN)
		return buf_put_string(out, r->certificate);
	if (r->key_count > HUB_KEYS_MAX || buf_put_u8(out, r->more) < 0 || buf_put_u16(out, (uint16_t)r->key_count) < 0)
		return -1;
	for (size_t i = 0; i < r->key_count; i++)
		if (put_key(out, &r->keys[i]) < 0)
			return -1;
	return 0;
}

static int decode_keys(struct reader *in, struct hub_request *ret, struct error *err)
{
	unsigned more = read_u8(in);
	size_t count = read_u16(in);
	if (in->failed || more > 1 || count > HUB_KEYS_MAX)
		return error_set(err, ERROR_PERMANENT, "keys: not in the form of hub/common/root_request.h");
	ret->more = more;
	ret->keys = mem_array(count, sizeof(*ret->keys));
	for (ret->key_count = 0; ret->key_count < count; ret->key_count++) {
		struct hub_key *key = &ret->keys[ret->key_count];
		read_string(in, key->agent, sizeof(key->agent));
		read_string(in, key->key, sizeof(key->key));
		key->use = (enum hub_key_use)read_u8(in);
		key->expires = (int64_t)read_u64(in);
		if (in->failed)
			return error_set(err, ERROR_PERMANENT, "keys: cut short");
		if (key->use >= HUB_KEY_USES || key->expires < 0 || key->expires > HUB_KEY_EXPIRES_MAX ||
			(key->use == HUB_KEY_JOIN) != (key->expires > 0))
			return error_set(err, ERROR_PERMANENT,
				"keys: what the key of %.63s is good for, and until when, makes no sense", key->agent);
		if (!name_is_agent(key->agent))
			return error_set(err, ERROR_PERMANENT, "keys: \"%s\" is not an agent's name", key->agent);
		if (hub_key_is_kept(key->use) ? key->key[0] != '\0' : !hub_key_is_valid(key->key))
			return error_set(err, ERROR_PERMANENT, "keys: what is given for %s is not one SSH public key",
				key->agent);
	}
	return 0;
}

int hub_request_decode(const uint8_t *data, size_t len, struct hub_request *ret, struct error *err)
{
	struct reader in = READER(data, len);
	memset(ret, 0, sizeof(*ret));
	ret->op = (enum hub_request_op)read_u8(&in);
	int result = 0;
	if (ret->op == HUB_REQUEST_SCAN) {
		read_string(&in, ret->certificate, sizeof(ret->certificate));
		if (in.failed || !name_is_certificate(ret->certificate))
			result = error_set(err, ERROR_PERMANENT, "scan: not a certificate's name");
	} else if (ret->op == HUB_REQUEST_KEYS) {
		result = decode_keys(&in, ret, err);
	} else if (ret->op != HUB_REQUEST_ALIVE && ret->op != HUB_REQUEST_READING) {
		result = error_set(err, ERROR_PERMANENT, "unknown request %u", (unsigned)ret->op);
	}
	if (result == 0 && !read_done(&in))
		result = error_set(err, ERROR_PERMANENT, "a request has something behind its end");
	if (result < 0)
		hub_request_release(ret);
	return result;
}

void hub_request_release(struct hub_request *r)
{
	free(r->keys);
	r->keys = NULL;
	r->key_count = 0;
}

int hub_reply_encode(const struct hub_reply *r, struct buf *out)
{
	if (buf_put_u8(out, (uint8_t)r->op) < 0 || buf_put_string(out, r->certificate) < 0 ||
		buf_put_u8(out, r->ok) < 0)
		return -1;
	if (buf_put_string(out, r->text) < 0)
		return -1;
	return r->op == HUB_REQUEST_READING ? buf_put_u32(out, r->number) : 0;
}

int hub_reply_decode(const uint8_t *data, size_t len, struct hub_reply *ret, struct error *err)
{
	struct reader in = READER(data, len);
	memset(ret, 0, sizeof(*ret));
	ret->op = (enum hub_request_op)read_u8(&in);
	read_string(&in, ret->certificate, sizeof(ret->certificate));
	unsigned ok = read_u8(&in);
	read_string(&in, ret->text, sizeof(ret->text));
	bool of_reading = ret->op == HUB_REQUEST_READING;
	if (of_reading)
		ret->number = read_u32(&in);
	if (!read_done(&in) || ok > 1 || (ret->op != HUB_REQUEST_SCAN && ret->op != HUB_REQUEST_KEYS && !of_reading))
		return error_set(err, ERROR_PERMANENT,
			"a reply of the root half is not in the form of hub/common/root_request.h");
	ret->ok = ok;
	return 0;
}
