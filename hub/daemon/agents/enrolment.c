#include "hub/daemon/agents/enrolment.h"
#include "lib/core/base64.h"
#include "lib/core/mem.h"
#include "lib/wire/json.h"

#include <stdio.h>
#include <string.h>

/* Decodes "x25519:BASE64" or plain BASE64 into 32 bytes. */
int enrolment_parse_key(const char *text, uint8_t ret[SEAL_KEY_SIZE], struct error *err)
{
	auto_buf struct buf raw = BUF_INIT(64);
	if (base64_decode(text, &raw, err) < 0)
		return -1;
	if (raw.len != SEAL_KEY_SIZE)
		return error_set(err, ERROR_USAGE, "the sealing key has %zu bytes, not %d", raw.len, SEAL_KEY_SIZE);
	memcpy(ret, raw.data, SEAL_KEY_SIZE);
	return 0;
}

/* ---- the record: encoder and decoder ---- */

static int record_encode(const struct enrolment *e, struct buf *out)
{
	auto_buf struct buf seal = BUF_INIT(64);
	auto_json cJSON *o = cJSON_CreateObject();
	base64_encode(e->seal, SEAL_KEY_SIZE, &seal);
	cJSON_AddStringToObject(o, "ssh", e->ssh);
	cJSON_AddStringToObject(o, "seal", buf_text(&seal));
	cJSON_AddNumberToObject(o, "added", (double)e->added);
	if (e->rotation) {
		cJSON_AddNumberToObject(o, "rotation", (double)e->rotation);
		cJSON_AddNumberToObject(o, "rotation_by", e->rotation_by);
	}
	if (e->rotates) {
		buf_reset(&seal);
		base64_encode(e->next_seal, SEAL_KEY_SIZE, &seal);
		cJSON_AddStringToObject(o, "next_ssh", e->next_ssh);
		cJSON_AddStringToObject(o, "next_seal", buf_text(&seal));
	}
	return json_print(o, out);
}

static int decode_next(const cJSON *o, struct enrolment *ret, struct error *err)
{
	const char *ssh = json_string(o, "next_ssh", sizeof(ret->next_ssh) - 1, err);
	const char *seal_key = ssh ? json_string(o, "next_seal", 64, err) : NULL;
	if (!seal_key || enrolment_parse_key(seal_key, ret->next_seal, err) < 0)
		return -1;
	if (!hub_key_is_valid(ssh))
		return error_set(err, ERROR_PERMANENT, "next_ssh: is not a public key");
	snprintf(ret->next_ssh, sizeof(ret->next_ssh), "%s", ssh);
	ret->rotates = true;
	return 0;
}

/* The record of an older version did not say since when; then it is since the keys were given. */
static int decode_rotation(const cJSON *o, struct enrolment *ret, struct error *err)
{
	if (!json_get(o, "rotation")) {
		ret->rotation = ret->rotates ? ret->added : 0;
		ret->rotation_by = (uid_t)-1;
		return 0;
	}
	int64_t by;
	if (json_i64(o, "rotation", &ret->rotation, err) < 0 || json_i64(o, "rotation_by", &by, err) < 0)
		return -1;
	if (by < 0 || by > UINT32_MAX)
		return error_set(err, ERROR_PERMANENT, "rotation_by: is no uid");
	ret->rotation_by = (uid_t)by;
	return 0;
}

int enrolment_decode(const struct buf *text, struct enrolment *ret, struct error *err)
{
	auto_json cJSON *o = json_parse(text->data, text->len, err);
	memset(ret, 0, sizeof(*ret));
	const char *ssh = o ? json_string(o, "ssh", sizeof(ret->ssh) - 1, err) : NULL;
	const char *seal_key = ssh ? json_string(o, "seal", 64, err) : NULL;
	if (!seal_key || enrolment_parse_key(seal_key, ret->seal, err) < 0)
		return -1;
	if (!hub_key_is_valid(ssh))
		return error_set(err, ERROR_PERMANENT, "ssh: is not a public key");
	snprintf(ret->ssh, sizeof(ret->ssh), "%s", ssh);
	if (json_i64(o, "added", &ret->added, err) < 0)
		return -1;
	if (json_get(o, "next_ssh") && decode_next(o, ret, err) < 0)
		return -1;
	return decode_rotation(o, ret, err);
}

static int find(struct hub *hub, const char *kind, const char *agent, struct enrolment *ret, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(ENROLMENT_RECORD_MAX);
	int found = store_get(hub->store, kind, agent, "agent.json", &text, err);
	if (found <= 0)
		return found;
	if (enrolment_decode(&text, ret, err) < 0)
		return error_wrap(err, "the keys of agent %s in the store", agent);
	return 1;
}

int enrolment_find(struct hub *hub, const char *agent, struct enrolment *ret, struct error *err)
{
	return find(hub, "agents", agent, ret, err);
}

int enrolment_find_removed(struct hub *hub, const char *agent, struct enrolment *ret, struct error *err)
{
	return find(hub, "removed-agents", agent, ret, err);
}

bool enrolment_has_mark(const char *ssh, const char *mark)
{
	char own[HUB_KEY_MARK_MAX];
	hub_key_mark(ssh, own);
	return strcmp(own, mark) == 0;
}

int enrolment_find_key(
	struct hub *hub, const char *agent, const char *mark, struct enrolled_key *ret, struct error *err)
{
	struct enrolment e;
	int found = enrolment_find(hub, agent, &e, err);
	if (found <= 0)
		return found;
	ret->next = e.rotates && (!mark || enrolment_has_mark(e.next_ssh, mark));
	if (!ret->next && mark && !enrolment_has_mark(e.ssh, mark))
		return 0;
	memcpy(ret->seal, ret->next ? e.next_seal : e.seal, SEAL_KEY_SIZE);
	return 1;
}

int enrolment_put(struct hub *hub, const char *agent, const struct enrolment *e, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(ENROLMENT_RECORD_MAX);
	if (record_encode(e, &text) < 0)
		return error_set(err, ERROR_USAGE, "the keys are too long");
	return store_put(hub->store, "agents", agent, "agent.json", text.data, text.len, err);
}

int enrolment_fingerprint(const char *public_key, struct buf *out, struct error *err)
{
	auto_buf struct buf blob = BUF_INIT(16 * 1024);
	auto_buf struct buf hash = BUF_INIT(64);
	uint8_t digest[32];
	char *save_at = NULL;
	auto_free char *copy = mem_strdup(public_key);
	const char *type = strtok_r(copy, " \t\n", &save_at);
	const char *key = type ? strtok_r(NULL, " \t\n", &save_at) : NULL;
	if (!key || base64_decode(key, &blob, err) < 0)
		return error_set(err, ERROR_USAGE, "it is not a public key file of sshd");
	if (sha256(blob.data, blob.len, digest) < 0)
		return error_set(err, ERROR_RETRY, "SHA-256 failed");
	base64_encode(digest, sizeof(digest), &hash);
	while (hash.len && hash.data[hash.len - 1] == '=')
		hash.len--;
	return buf_addf(out, "SHA256:%s", buf_text(&hash));
}
