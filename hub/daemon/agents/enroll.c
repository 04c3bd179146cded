#include "hub/daemon/agents/enroll.h"
#include "hub/daemon/agents/key_changes.h"
#include "hub/daemon/agents/session.h"
#include "hub/daemon/agents/signing.h"
#include "hub/daemon/agents/join_line.h"
#include "lib/core/clock.h"
#include "lib/core/fs.h"
#include "lib/wire/json.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ENROLL_RECORD_MAX = 8192, ENROLL_KEYS_EACH = 3, ENROLL_AGAIN = 5 /* seconds */ };

/* "x25519:BASE64" or plain BASE64 into 32 bytes. */
static int parse_key(const char *text, uint8_t ret[SEAL_KEY_SIZE], struct error *err)
{
	auto_buf struct buf raw = BUF_INIT(64);
	if (base64_decode(text, &raw, err) < 0)
		return -1;
	if (raw.len != SEAL_KEY_SIZE)
		return error_set(err, ERROR_USAGE, "the sealing key has %zu bytes, not %d", raw.len, SEAL_KEY_SIZE);
	memcpy(ret, raw.data, SEAL_KEY_SIZE);
	return 0;
}

/* The record: encoder and decoder. */

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
	if (!seal_key || parse_key(seal_key, ret->next_seal, err) < 0)
		return -1;
	if (!hub_key_is_valid(ssh))
		return error_set(err, ERROR_PERMANENT, "next_ssh: is not a public key");
	snprintf(ret->next_ssh, sizeof(ret->next_ssh), "%s", ssh);
	ret->rotates = true;
	return 0;
}

/* Of the record of an older version, which did not say: since the keys are there. */
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

static int record_decode(const struct buf *text, struct enrolment *ret, struct error *err)
{
	auto_json cJSON *o = json_parse(text->data, text->len, err);
	memset(ret, 0, sizeof(*ret));
	const char *ssh = o ? json_string(o, "ssh", sizeof(ret->ssh) - 1, err) : NULL;
	const char *seal_key = ssh ? json_string(o, "seal", 64, err) : NULL;
	if (!seal_key || parse_key(seal_key, ret->seal, err) < 0)
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
	auto_buf struct buf text = BUF_INIT(ENROLL_RECORD_MAX);
	int found = store_get(hub->store, kind, agent, "agent.json", &text, err);
	if (found <= 0)
		return found;
	if (record_decode(&text, ret, err) < 0)
		return error_wrap(err, "the keys of agent %s in the store", agent);
	return 1;
}

int enroll_find(struct hub *hub, const char *agent, struct enrolment *ret, struct error *err)
{
	return find(hub, "agents", agent, ret, err);
}

int enroll_find_removed(struct hub *hub, const char *agent, struct enrolment *ret, struct error *err)
{
	return find(hub, "removed-agents", agent, ret, err);
}

static bool has_mark(const char *ssh, const char *mark)
{
	char own[HUB_KEY_MARK_MAX];
	hub_key_mark(ssh, own);
	return strcmp(own, mark) == 0;
}

int enroll_find_key(struct hub *hub, const char *agent, const char *mark, struct enrolled_key *ret, struct error *err)
{
	struct enrolment e;
	int found = enroll_find(hub, agent, &e, err);
	if (found <= 0)
		return found;
	ret->next = e.rotates && (!mark || has_mark(e.next_ssh, mark));
	if (!ret->next && mark && !has_mark(e.ssh, mark))
		return 0;
	memcpy(ret->seal, ret->next ? e.next_seal : e.seal, SEAL_KEY_SIZE);
	return 1;
}

/* certsync-agent:1 ssh-ed25519 BASE64 x25519:BASE64 */
static int parse_identity(const char *line, struct enrolment *ret, struct error *err)
{
	char type[64], key[HUB_KEY_TEXT_MAX], seal_key[128], rest[2];
	static const char form[] = "certsync-agent:1 TYPE KEY x25519:KEY, as `certsync-agent identity` prints it";
	if (sscanf(line, "certsync-agent:1 %63s %799s x25519:%127s %1s", type, key, seal_key, rest) != 3)
		return error_set(err, ERROR_USAGE, "this is not the line of an agent (%s)", form);
	if (snprintf(ret->ssh, sizeof(ret->ssh), "%s %s", type, key) >= (int)sizeof(ret->ssh) ||
		!hub_key_is_valid(ret->ssh))
		return error_set(
			err, ERROR_USAGE, "\"%s …\" is not an SSH public key that is taken here (%s)", type, form);
	return parse_key(seal_key, ret->seal, err);
}

/* Two agents with one key could not be told apart, and sshd would take them for the first. */
static int check_unique(struct hub *hub, const char *agent, const struct enrolment *e, struct error *err)
{
	for (size_t i = 0; i < hub->config->agent_count; i++) {
		struct enrolment other;
		struct error ignored;
		const char *name = hub->config->agents[i].name;
		if (strcmp(name, agent) == 0 || enroll_find(hub, name, &other, &ignored) <= 0)
			continue;
		if (strcmp(other.ssh, e->ssh) == 0 || memcmp(other.seal, e->seal, sizeof(e->seal)) == 0 ||
			(other.rotates &&
				(strcmp(other.next_ssh, e->ssh) == 0 ||
					memcmp(other.next_seal, e->seal, sizeof(e->seal)) == 0)))
			return error_set(err, ERROR_USAGE,
				"agent %s has this key already: is this line of another node, or of a clone?", name);
	}
	return 0;
}

static int put_record(struct hub *hub, const char *agent, const struct enrolment *e, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(ENROLL_RECORD_MAX);
	if (record_encode(e, &text) < 0)
		return error_set(err, ERROR_USAGE, "the keys are too long");
	return store_put(hub->store, "agents", agent, "agent.json", text.data, text.len, err);
}

static bool same_keys(const struct enrolment *a, const struct enrolment *b)
{
	return strcmp(a->ssh, b->ssh) == 0 && memcmp(a->seal, b->seal, SEAL_KEY_SIZE) == 0;
}

/* Writes down that it is `given` these keys, then makes that so: `e` is its record from now on. The same ones once more are no change. */
static int change(struct hub *hub, const char *agent, const char *what, const struct enrolment *before,
	const struct enrolment *given, const struct enrolment *e, struct error *err)
{
	bool none = before && !before->rotates && same_keys(before, given);
	if (!none && key_changes_note(hub, agent, what, before, given, err) < 0)
		return -1;
	if (put_record(hub, agent, e, err) == 0)
		return 0;
	if (!none)
		key_changes_take_back(hub);
	return -1;
}

int enroll_keys(struct hub *hub, const char *agent, const char *ssh, const uint8_t seal_key[SEAL_KEY_SIZE],
	bool rotates, uid_t by, struct error *err)
{
	struct enrolment e = {.added = clock_wall()}, old;
	char who[KEY_CHANGES_WHO_MAX], what[KEY_CHANGES_WHAT_MAX];
	snprintf(e.ssh, sizeof(e.ssh), "%s", ssh);
	memcpy(e.seal, seal_key, SEAL_KEY_SIZE);
	if (check_unique(hub, agent, &e, err) < 0)
		return -1;
	int found = enroll_find(hub, agent, &old, err);
	if (found < 0)
		return -1;
	bool same = found && same_keys(&old, &e);
	struct enrolment after = rotates && found && !same ? old : e;
	if (rotates && found && !same) {
		after.rotates = true;
		after.rotation = old.rotation ? old.rotation : e.added;
		memcpy(after.next_ssh, e.ssh, sizeof(e.ssh));
		memcpy(after.next_seal, e.seal, sizeof(e.seal));
	}
	snprintf(what, sizeof(what), "%s by a node that joined with the line of %s",
		after.rotates ? "new keys, which wait to be proven, were given" : "its keys were given",
		key_changes_who(by, who));
	if (change(hub, agent, what, found ? &old : NULL, &e, &after, err) < 0)
		return -1;
	log_event(LOG_LEVEL_NOTICE, "enrolled", "agent=%s%s", agent,
		after.rotates ? " keys=new, which are to be proven" : "");
	if (found && !same && !after.rotates)
		session_drop(hub, agent, "another node has joined in its place");
	enroll_send_keys(hub);
	return 0;
}

int enroll_rotate(struct hub *hub, const char *agent, uid_t by, struct error *err)
{
	struct enrolment e;
	if (enroll_find(hub, agent, &e, err) <= 0)
		return -1;
	e.rotation = e.rotation ? e.rotation : clock_wall();
	e.rotation_by = by;
	return put_record(hub, agent, &e, err);
}

static int prove(struct hub *hub, const char *agent, const char *mark, struct error *err)
{
	struct enrolment old;
	char who[KEY_CHANGES_WHO_MAX], what[KEY_CHANGES_WHAT_MAX];
	int found = enroll_find(hub, agent, &old, err);
	if (found <= 0 || !old.rotates || (mark && !has_mark(old.next_ssh, mark)))
		return found < 0 ? -1 : 0;
	struct enrolment e = {.added = clock_wall()};
	memcpy(e.ssh, old.next_ssh, sizeof(e.ssh));
	memcpy(e.seal, old.next_seal, sizeof(e.seal));
	snprintf(what, sizeof(what), "its new keys were seen to work, and the old ones are gone, as %s had asked for",
		key_changes_who(old.rotation_by, who));
	if (change(hub, agent, what, &old, &e, &e, err) < 0)
		return -1;
	log_event(LOG_LEVEL_NOTICE, "rotated", "agent=%s keys=\"the new ones were proven, the old ones are gone\"",
		agent);
	enroll_send_keys(hub);
	return 0;
}

int enroll_prove(struct hub *hub, const char *agent, const char *mark)
{
	struct error err;
	int result = prove(hub, agent, mark, &err);
	if (result < 0)
		log_event(LOG_LEVEL_ERROR, "store", "agent=%s error=\"%s\"", agent, err.message);
	return result;
}

int enroll_may_replace(struct hub *hub, const char *agent, bool replace, struct error *err)
{
	struct enrolment e;
	char since[CLOCK_TEXT_MAX];
	auto_buf struct buf text = BUF_INIT(128);
	int found = replace ? 0 : enroll_find(hub, agent, &e, err);
	if (found <= 0)
		return found;
	if (enroll_fingerprint(e.ssh, &text, err) < 0)
		return -1;
	return error_set(err, ERROR_USAGE,
		"agent %s has keys (SSH key %s, since %s) and is %s: are others to take their place? Then say --replace: the old ones open "
		"nothing any more from the moment that the new ones are here. `certsync agent rotate %s` gives the same node new ones "
		"without a pause; where somebody else may have them, `certsync agent remove %s` first ends all that they opened",
		agent, buf_text(&text), clock_text(e.added, since),
		session_find(hub, agent) ? "connected with them" : "not connected now", agent, agent);
}

/* Whoever else had them would be let in again. */
static int check_removed(struct hub *hub, const char *agent, const struct enrolment *e, struct error *err)
{
	struct enrolment old;
	struct error ignored;
	if (enroll_find_removed(hub, agent, &old, &ignored) <= 0 ||
		(strcmp(old.ssh, e->ssh) != 0 && memcmp(old.seal, e->seal, SEAL_KEY_SIZE) != 0))
		return 0;
	return error_set(err, ERROR_USAGE,
		"these keys were taken away from agent %s: whoever else has them would be let in again. `certsync agent add %s` prints a line by "
		"which its node makes new ones; where nobody else can have them, say --replace",
		agent, agent);
}

int enroll_add(struct hub *hub, const char *agent, const char *identity, bool replace, uid_t by, struct error *err)
{
	struct enrolment e = {.added = clock_wall()}, before;
	char who[KEY_CHANGES_WHO_MAX], what[KEY_CHANGES_WHAT_MAX];
	if (!hub_config_agent(hub->config, agent))
		return error_set(err, ERROR_USAGE,
			"%s has no section agent \"%s\": add it, tell the hub (SIGHUP to certsync-hub-root), then try again",
			hub->config_path, agent);
	if (parse_identity(identity, &e, err) < 0)
		return -1;
	if (check_unique(hub, agent, &e, err) < 0)
		return -1;
	int found = enroll_find(hub, agent, &before, err);
	bool same = found > 0 && same_keys(&before, &e);
	/* A damaged record is put right by this, too. */
	if (found > 0 && !same && enroll_may_replace(hub, agent, replace, err) < 0)
		return -1;
	if (!same && !replace && check_removed(hub, agent, &e, err) < 0)
		return -1;
	snprintf(what, sizeof(what), "its keys were given by hand, by %s", key_changes_who(by, who));
	/* A line for it that is still open would bring other keys in the place of these. */
	if (ticket_drop(hub, agent, err) < 0 || change(hub, agent, what, found > 0 ? &before : NULL, &e, &e, err) < 0)
		return -1;
	log_event(LOG_LEVEL_NOTICE, "enrolled", "agent=%s", agent);
	if (!same)
		session_drop(hub, agent, "it was added anew with other keys");
	enroll_send_keys(hub);
	return 0;
}

int enroll_remove(struct hub *hub, const char *agent, uid_t by, struct error *err)
{
	struct enrolment e;
	struct error ignored;
	char who[KEY_CHANGES_WHO_MAX], what[KEY_CHANGES_WHAT_MAX];
	auto_buf struct buf text = BUF_INIT(ENROLL_RECORD_MAX);
	int found = name_is_agent(agent) ? store_get(hub->store, "agents", agent, "agent.json", &text, err) : 0;
	if (found < 0)
		return -1;
	if (found == 0 && !hub_config_agent(hub->config, agent))
		return error_set(err, ERROR_USAGE, "there is no agent \"%s\": certsync agent list shows them", agent);
	snprintf(what, sizeof(what), "its keys were removed by %s", key_changes_who(by, who));
	bool sound = found && record_decode(&text, &e, &ignored) == 0;
	if (found && key_changes_note(hub, agent, what, sound ? &e : NULL, NULL, err) < 0)
		return -1;
	if (found && store_put(hub->store, "removed-agents", agent, "agent.json", text.data, text.len, err) < 0)
		return -1;
	if ((found && store_drop(hub->store, "agents", agent, err) < 0) || ticket_drop(hub, agent, err) < 0)
		return -1;
	log_event(LOG_LEVEL_NOTICE, "removed", "agent=%s", agent);
	session_drop(hub, agent, "the agent was removed");
	enroll_send_keys(hub);
	return 0;
}

static void add_key(
	struct hub_key *keys, size_t *count, const char *agent, const char *key, enum hub_key_use use, int64_t expires)
{
	struct hub_key *k = &keys[(*count)++];
	snprintf(k->agent, sizeof(k->agent), "%s", agent);
	snprintf(k->key, sizeof(k->key), "%s", key);
	k->use = use;
	k->expires = expires;
}

/* Not in the list is whose record is damaged: the hub does not know it. -1: nobody can say now whether it is good. */
static int judge_record(const char *name, int found, const struct error *err)
{
	if (found < 0)
		log_event(LOG_LEVEL_ERROR, "store", "agent=%s error=\"%s\"", name, err->message);
	return found < 0 && err->kind == ERROR_RETRY ? -1 : 0;
}

/* At most ENROLL_KEYS_EACH. */
static int collect_agent(struct hub *hub, const char *name, struct hub_key *keys, size_t *count)
{
	struct error err;
	struct enrolment e = {0};
	auto_ticket struct ticket t = {0};
	int found = enroll_find(hub, name, &e, &err);
	if (judge_record(name, found, &err) < 0)
		return -1;
	key_rotation_note(hub, name, found > 0 && e.rotation);
	if (found > 0)
		add_key(keys, count, name, e.ssh, HUB_KEY_AGENT, 0);
	if (found > 0 && e.rotates)
		add_key(keys, count, name, e.next_ssh, HUB_KEY_AGENT, 0);
	found = ticket_find(hub, name, &t, &err);
	if (found > 0)
		add_key(keys, count, name, t.login, HUB_KEY_JOIN, t.expires + TICKET_LATE);
	return judge_record(name, found, &err);
}

static int collect_keys(struct hub *hub, struct hub_key *keys, size_t *ret_count)
{
	for (size_t i = 0; i < hub->config->agent_count; i++)
		if (collect_agent(hub, hub->config->agents[i].name, keys, ret_count) < 0)
			return -1;
	return 0;
}

void enroll_send_keys(struct hub *hub)
{
	if (!hub->root) {
		log_event(LOG_LEVEL_WARNING, "enroll",
			"error=\"started without certsync-hub-root: authorized_keys is not written\"");
		return;
	}
	ticket_sweep(hub, clock_wall());
	auto_free struct hub_key *keys = mem_array(hub->config->agent_count, ENROLL_KEYS_EACH * sizeof(*keys));
	size_t count = 0, sent = 0;
	hub->keys_asked += !hub->keys_owed;
	hub->keys_owed = collect_keys(hub, keys, &count) < 0;
	if (hub->keys_owed) {
		log_event(LOG_LEVEL_ERROR, "enroll",
			"error=\"authorized_keys stays as it is until that can be read\" again_s=%d", ENROLL_AGAIN);
		ticket_wake(hub, ENROLL_AGAIN);
		return;
	}
	do {
		struct hub_request request = {.op = HUB_REQUEST_KEYS, .keys = keys + sent, .key_count = count - sent};
		auto_buf struct buf record = BUF_INIT(FRAME_RECORD_MAX);
		if (request.key_count > HUB_KEYS_PER_RECORD)
			request.key_count = HUB_KEYS_PER_RECORD;
		sent += request.key_count;
		request.more = sent < count;
		if (hub_request_encode(&request, &record) < 0)
			mem_abort(__func__); /* each field is bounded */
		conn_send(hub->root, FRAME_RECORD, record.data, record.len);
	} while (sent < count);
}

/* The line that an agent pins. */

int enroll_fingerprint(const char *public_key, struct buf *out, struct error *err)
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

static int add_host(const char *path, struct buf *out, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(16 * 1024);
	if (fs_read(AT_FDCWD, path, true, &text, err) < 0)
		return -1;
	buf_addf(out, " host=");
	if (enroll_fingerprint(buf_text(&text), out, err) < 0)
		return error_wrap(err, "%s", path);
	return 0;
}

int enroll_hub_line(struct hub *hub, const char *agent, struct buf *out, struct error *err)
{
	const struct hub_agent *configured = hub_config_agent(hub->config, agent);
	if (configured && configured->local) {
		buf_addf(out, "certsync-hub:1 unix://%s/local.sock ", hub->config->run);
		signing_add_fields(hub, out);
		return 0;
	}
	if (!hub->config->ssh)
		return error_set(err, ERROR_USAGE,
			"%s has no `ssh`: how do agents reach this hub? For example "
			"ssh = \"certsync-gate@hub.example.org:22\"",
			hub->config_path);
	buf_addf(out, "certsync-hub:1 ssh://%s ", hub->config->ssh);
	signing_add_fields(hub, out);
	for (char **path = hub->config->host_keys; path && *path; path++)
		if (add_host(*path, out, err) < 0)
			return error_wrap(err, "host_keys");
	return 0;
}
