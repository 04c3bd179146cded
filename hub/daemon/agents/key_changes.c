#include "hub/daemon/agents/key_changes.h"
#include "hub/daemon/agents/enroll.h"
#include "hub/daemon/agents/enrolment.h"
#include "lib/core/base64.h"
#include "lib/core/clock.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"
#include "hub/daemon/record.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RECORD_MAX = 1024 * 1024, STRANGER_QUIET = 60 /* seconds */ };

/* A note on an agent of which there is anything to tell. */
struct note {
	char agent[NAME_AGENT_MAX];
	bool rotates;
	char mark[HUB_KEY_MARK_MAX]; /* the stranger's */
	int64_t at, logged;          /* when it came last, and was logged last */
};

struct key_changes {
	struct key_change list[KEY_CHANGES_MAX]; /* oldest first */
	size_t count;
	uint32_t serial;    /* of the last one */
	struct note *notes; /* owned; one an agent */
	size_t note_count;
};

/* ---- the record: encoder and decoder ---- */

static cJSON *encode(const struct key_changes *k)
{
	cJSON *o = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(o, "changes");
	for (size_t i = 0; i < k->count; i++) {
		const struct key_change *c = &k->list[i];
		cJSON *row = cJSON_CreateObject();
		cJSON_AddNumberToObject(row, "serial", c->serial);
		cJSON_AddNumberToObject(row, "at", (double)c->at);
		cJSON_AddStringToObject(row, "agent", c->agent);
		cJSON_AddStringToObject(row, "what", c->what);
		cJSON_AddStringToObject(row, "before", c->before);
		cJSON_AddStringToObject(row, "after", c->after);
		cJSON_AddItemToArray(list, row);
	}
	return o;
}

static int decode_text(const cJSON *row, const char *key, char *out, size_t size, struct error *err)
{
	const char *text = json_string(row, key, size - 1, err);
	if (!text)
		return -1;
	snprintf(out, size, "%s", text);
	return 0;
}

static int decode(const cJSON *o, struct key_changes *ret, struct error *err)
{
	const cJSON *row, *list = json_array(o, "changes", KEY_CHANGES_MAX, err);
	if (!list)
		return -1;
	cJSON_ArrayForEach (row, list) {
		struct key_change *c = &ret->list[ret->count];
		if (json_u32(row, "serial", &c->serial, err) < 0 || json_i64(row, "at", &c->at, err) < 0 ||
			decode_text(row, "agent", c->agent, sizeof(c->agent), err) < 0 ||
			decode_text(row, "what", c->what, sizeof(c->what), err) < 0 ||
			decode_text(row, "before", c->before, sizeof(c->before), err) < 0 ||
			decode_text(row, "after", c->after, sizeof(c->after), err) < 0)
			return -1;
		ret->serial = c->serial;
		ret->count++;
	}
	return 0;
}

static const struct record record = {
	"keys", "agents", "changes.json", RECORD_MAX, "who changed an agent's keys before is not told again"};

void key_changes_open(struct hub *hub)
{
	struct error err;
	auto_json cJSON *o = NULL;
	struct key_changes *k = hub->key_changes = mem_alloc(sizeof(*k));
	int got = record_get(hub->store, &record, &o, &err);
	if (got < 0 || (got > 0 && decode(o, k, &err) < 0))
		record_damaged(hub->store, &record, &err);
}

void key_changes_close(struct hub *hub)
{
	if (hub->key_changes)
		free(hub->key_changes->notes);
	free(hub->key_changes);
	hub->key_changes = NULL;
}

static int save(struct hub *hub, struct error *err)
{
	auto_json cJSON *o = encode(hub->key_changes);
	return record_put(hub->store, &record, o, err);
}

/* ---- changes ---- */

static void describe(const struct enrolment *e, char ret[KEY_CHANGES_KEYS_MAX])
{
	struct error err;
	auto_buf struct buf ssh = BUF_INIT(128), seal = BUF_INIT(64);
	if (e && enrolment_fingerprint(e->ssh, &ssh, &err) == 0 && base64_encode(e->seal, SEAL_KEY_SIZE, &seal) == 0)
		snprintf(ret, KEY_CHANGES_KEYS_MAX, "SSH key %s, sealing key %s", buf_text(&ssh), buf_text(&seal));
	else
		snprintf(ret, KEY_CHANGES_KEYS_MAX, "none");
}

int key_changes_note(struct hub *hub, const char *agent, const char *what, const struct enrolment *before,
	const struct enrolment *after, struct error *err)
{
	struct key_changes *k = hub->key_changes;
	if (k->count == KEY_CHANGES_MAX)
		memmove(&k->list[0], &k->list[1], --k->count * sizeof(k->list[0]));
	struct key_change *c = &k->list[k->count++];
	*c = (struct key_change){.at = clock_wall(), .serial = ++k->serial};
	snprintf(c->agent, sizeof(c->agent), "%s", agent);
	snprintf(c->what, sizeof(c->what), "%s", what);
	describe(before, c->before);
	describe(after, c->after);
	if (save(hub, err) < 0) {
		k->count--;
		return error_wrap(err, "no key is changed of which it cannot be written down who did it");
	}
	log_event(LOG_LEVEL_NOTICE, "keys", "agent=%s what=\"%s\" before=\"%s\" after=\"%s\"", agent, what, c->before,
		c->after);
	return 0;
}

void key_changes_take_back(struct hub *hub)
{
	struct error err;
	hub->key_changes->count--;
	if (save(hub, &err) < 0)
		log_event(LOG_LEVEL_ERROR, "store", "record=keys/agents error=\"%s\"", err.message);
}

const struct key_change *key_changes(const struct hub *hub, size_t *ret_count)
{
	*ret_count = hub->key_changes->count;
	return hub->key_changes->list;
}

const char *key_changes_who(uid_t uid, char ret[KEY_CHANGES_WHO_MAX])
{
	FILE *file = fopen("/etc/passwd", "re");
	const struct passwd *p = NULL;
	while (file && (p = fgetpwent(file)) && p->pw_uid != uid)
		;
	if (uid == (uid_t)-1)
		snprintf(ret, KEY_CHANGES_WHO_MAX, "somebody, by a hub of an older version");
	else if (p)
		snprintf(ret, KEY_CHANGES_WHO_MAX, "%.64s (uid %u)", p->pw_name, (unsigned)uid);
	else
		snprintf(ret, KEY_CHANGES_WHO_MAX, "uid %u", (unsigned)uid);
	if (file)
		fclose(file);
	return ret;
}

/* ---- rotations and strangers ---- */

static struct note *find_note(const struct key_changes *k, const char *agent)
{
	for (size_t i = 0; i < k->note_count; i++)
		if (strcmp(k->notes[i].agent, agent) == 0)
			return &k->notes[i];
	return NULL;
}

static struct note *have_note(struct key_changes *k, const char *agent)
{
	struct note *n = find_note(k, agent);
	if (n)
		return n;
	k->notes = mem_grow(k->notes, k->note_count + 1, sizeof(*k->notes));
	n = &k->notes[k->note_count++];
	*n = (struct note){0};
	snprintf(n->agent, sizeof(n->agent), "%s", agent);
	return n;
}

void key_rotation_note(struct hub *hub, const char *agent, bool rotates)
{
	if (rotates || find_note(hub->key_changes, agent))
		have_note(hub->key_changes, agent)->rotates = rotates;
}

bool key_rotates(const struct hub *hub, const char *agent)
{
	const struct note *n = find_note(hub->key_changes, agent);
	return n && n->rotates;
}

bool key_stranger_note(struct hub *hub, const char *agent, const char *mark)
{
	struct note *n = have_note(hub->key_changes, agent);
	int64_t now = clock_wall();
	n->at = now;
	snprintf(n->mark, sizeof(n->mark), "%s", mark);
	if (now >= n->logged && now - n->logged < STRANGER_QUIET)
		return false;
	n->logged = now;
	return true;
}

int64_t key_stranger(const struct hub *hub, const char *agent, const char **ret_mark)
{
	const struct note *n = find_note(hub->key_changes, agent);
	*ret_mark = n ? n->mark : "";
	return n ? n->at : 0;
}
