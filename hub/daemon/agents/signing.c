#include "hub/daemon/agents/signing.h"
#include "hub/daemon/agents/enroll.h"
#include "hub/daemon/agents/host_keys.h"
#include "hub/daemon/agents/join_line.h"
#include "hub/daemon/agents/key_changes.h"
#include "hub/daemon/agents/session.h"
#include "hub/daemon/keys.h"
#include "hub/daemon/agents/enrolment.h"
#include "hub/daemon/agents/login_keys.h"
#include "lib/core/base64.h"
#include "lib/core/clock.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"
#include "lib/crypto/signer_list.h"
#include "hub/daemon/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RECORD_MAX = 4 * 1024 * 1024, SAVE_SECONDS = 1, AGAIN_SECONDS = 60, MISSING_MAX = 20000 };

struct signing {
	enum signing_phase phase;
	int64_t serial; /* of the list that is told; 0: the key was never replaced, and none is told */
	int64_t since;
	uid_t by;
	bool now;
	uint8_t next[SEAL_KEY_SIZE];     /* told */
	struct signing_missing *missing; /* owned */
	size_t missing_count, agent_count;
	struct event *save;         /* what agents have said is written a moment later, all of it at once */
	struct buf list;            /* in base64 */
	char digest[CHAIN_HEX_MAX]; /* of the list */
};

static const char *const phases[] = {"idle", "told", "switched"};

/* ---- the record: encoder and decoder ---- */

static cJSON *encode(const struct signing *s)
{
	auto_buf struct buf next = BUF_INIT(64);
	cJSON *o = cJSON_CreateObject();
	base64_encode(s->next, sizeof(s->next), &next);
	cJSON_AddStringToObject(o, "phase", phases[s->phase]);
	cJSON_AddNumberToObject(o, "serial", (double)s->serial);
	cJSON_AddNumberToObject(o, "since", (double)s->since);
	cJSON_AddNumberToObject(o, "by", s->by);
	cJSON_AddBoolToObject(o, "now", s->now);
	cJSON_AddStringToObject(o, "next", buf_text(&next));
	cJSON_AddNumberToObject(o, "agents", (double)s->agent_count);
	cJSON *missing = cJSON_AddArrayToObject(o, "missing"), *cut_off = cJSON_AddArrayToObject(o, "cut_off");
	for (size_t i = 0; i < s->missing_count; i++)
		cJSON_AddItemToArray(
			s->missing[i].cut_off ? cut_off : missing, cJSON_CreateString(s->missing[i].agent));
	return o;
}

static struct signing_missing *add_missing(struct signing *s, const char *agent, bool cut_off)
{
	s->missing = mem_grow(s->missing, s->missing_count + 1, sizeof(*s->missing));
	struct signing_missing *m = &s->missing[s->missing_count++];
	*m = (struct signing_missing){.cut_off = cut_off};
	snprintf(m->agent, sizeof(m->agent), "%s", agent);
	return m;
}

static void clear_missing(struct signing *s)
{
	while (s->missing_count)
		free(s->missing[--s->missing_count].refused);
}

static int decode_missing(const cJSON *o, const char *key, bool cut_off, struct signing *s, struct error *err)
{
	const cJSON *list = json_array(o, key, MISSING_MAX, err), *element;
	if (!list)
		return -1;
	cJSON_ArrayForEach (element, list) {
		const char *name = json_element(element, NAME_AGENT_MAX - 1, err);
		if (!name || !name_is_agent(name))
			return error_set(err, ERROR_PERMANENT, "%s: an element is no agent", key);
		add_missing(s, name, cut_off);
	}
	return 0;
}

static int decode_phase(const cJSON *o, enum signing_phase *ret, struct error *err)
{
	const char *phase = json_string(o, "phase", 16, err);
	for (size_t i = 0; phase && i < COUNT(phases); i++) {
		if (strcmp(phase, phases[i]) != 0)
			continue;
		*ret = (enum signing_phase)i;
		return 0;
	}
	return phase ? error_set(err, ERROR_PERMANENT, "phase: \"%s\" is none", phase) : -1;
}

static int decode(const cJSON *o, struct signing *s, struct error *err)
{
	int64_t by, agents;
	auto_buf struct buf next = BUF_INIT(SEAL_KEY_SIZE);
	const char *text = json_string(o, "next", 64, err);
	if (!text || base64_decode(text, &next, err) < 0 || decode_phase(o, &s->phase, err) < 0 ||
		json_i64(o, "serial", &s->serial, err) < 0 || json_i64(o, "since", &s->since, err) < 0 ||
		json_i64(o, "by", &by, err) < 0 || json_bool(o, "now", &s->now, err) < 0 ||
		json_i64(o, "agents", &agents, err) < 0 || decode_missing(o, "missing", false, s, err) < 0 ||
		decode_missing(o, "cut_off", true, s, err) < 0)
		return -1;
	if (next.len != SEAL_KEY_SIZE || s->serial < 0 || agents < 0)
		return error_set(err, ERROR_PERMANENT, "a value is out of range");
	memcpy(s->next, next.data, SEAL_KEY_SIZE);
	s->by = (uid_t)by;
	s->agent_count = (size_t)agents;
	return 0;
}

static const struct record record = {"hub", "announce", "signing.json", RECORD_MAX,
	"how far the replacement of the signing key was is forgotten, and its record is made anew"};

static int save(struct hub *hub, struct error *err)
{
	auto_json cJSON *o = encode(hub->signing);
	event_del(hub->signing->save);
	return record_put(hub->store, &record, o, err);
}

static void save_later(struct hub *hub, int seconds)
{
	event_add(hub->signing->save, &(struct timeval){seconds, 0});
}

static void save_or_log(struct hub *hub)
{
	struct error err;
	if (save(hub, &err) == 0)
		return;
	log_event(LOG_LEVEL_ERROR, "store", "record=hub/announce/signing.json error=\"%s\"", err.message);
	save_later(hub, AGAIN_SECONDS);
}

static int retell(struct hub *hub);

static void on_save(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	struct hub *hub = context;
	save_or_log(hub);
	if (hub->signing->serial && !hub->signing->list.len && retell(hub) < 0)
		save_later(hub, AGAIN_SECONDS);
	signing_settle(hub);
}

static void load(struct hub *hub)
{
	struct error err;
	auto_json cJSON *o = NULL;
	int found = record_get(hub->store, &record, &o, &err);
	if (found == 0 || (found > 0 && decode(o, hub->signing, &err) == 0))
		return;
	/* Agents refuse a list that is older than theirs, so this one has the time of day for its serial. */
	record_damaged(hub->store, &record, &err);
	clear_missing(hub->signing);
	free(hub->signing->missing);
	*hub->signing =
		(struct signing){.save = hub->signing->save, .list = hub->signing->list, .serial = clock_wall()};
}

/* ---- which agents there are to wait for ---- */

static struct signing_missing *find_missing(const struct signing *s, const char *agent)
{
	for (size_t i = 0; i < s->missing_count; i++)
		if (strcmp(s->missing[i].agent, agent) == 0)
			return &s->missing[i];
	return NULL;
}

static void drop_missing(struct signing *s, struct signing_missing *m)
{
	free(m->refused);
	*m = s->missing[--s->missing_count];
}

static bool has_keys(struct hub *hub, const char *agent)
{
	struct enrolment e;
	struct error ignored;
	/* An agent whose record cannot be read counts as having keys. */
	return hub_config_agent(hub->config, agent) && enrolment_find(hub, agent, &e, &ignored) != 0;
}

/* All agents that have keys are waited for; whoever joins from now on is given what there is. */
static void expect_all(struct hub *hub)
{
	struct signing *s = hub->signing;
	clear_missing(s);
	for (size_t i = 0; i < hub->config->agent_count; i++)
		if (has_keys(hub, hub->config->agents[i].name))
			add_missing(s, hub->config->agents[i].name, false);
	s->agent_count = s->missing_count;
}

/* ---- what is told ---- */

static int make_list(struct hub *hub, struct error *err)
{
	struct signing *s = hub->signing;
	uint8_t digest[CHAIN_SHA256_SIZE];
	auto_buf struct buf list = BUF_INIT(SIGNER_LIST_MAX);
	buf_reset(&s->list);
	if (!s->serial)
		return 0;
	if (keys_signers(hub->keys, s->serial, s->phase == SIGNING_TOLD, &list, err) < 0)
		return -1;
	if (sha256(list.data, list.len, digest) < 0 || base64_encode(list.data, list.len, &s->list) < 0)
		mem_abort(__func__);
	chain_hex(digest, s->digest);
	return 0;
}

void signing_tell(struct hub *hub, struct session *session)
{
	struct message m = {.type = MESSAGE_SIGNERS};
	if (!hub->signing || !hub->signing->list.len || session_protocol(session) < MESSAGE_PROTOCOL_SIGNERS)
		return;
	snprintf(m.signers, sizeof(m.signers), "%s", buf_text(&hub->signing->list));
	session_send(session, &m);
}

static void tell_all(struct hub *hub)
{
	for (size_t i = 0; i < hub->config->agent_count; i++) {
		struct session *s = session_find(hub, hub->config->agents[i].name);
		if (s)
			signing_tell(hub, s);
	}
}

static int retell(struct hub *hub)
{
	struct error err;
	if (make_list(hub, &err) < 0)
		return -1;
	tell_all(hub);
	return 0;
}

static int64_t next_serial(const struct signing *s)
{
	int64_t now = clock_wall();
	return now > s->serial ? now : s->serial + 1;
}

/* ---- the steps, each of which is on the disk before the next one ---- */

/* A line that was printed before has only the old key. */
static void drop_lines(struct hub *hub)
{
	struct error err;
	struct join_line t;
	for (size_t i = 0; i < hub->config->agent_count; i++) {
		const char *name = hub->config->agents[i].name;
		int found = join_line_find(hub, name, &t, &err);
		bool open = found < 0 || (found > 0 && !t.spent);
		join_line_release(&t);
		if (open && join_line_drop(hub, name, &err) < 0)
			log_event(LOG_LEVEL_ERROR, "join", "agent=%s error=\"%s\"", name, err.message);
		else if (open)
			log_event(LOG_LEVEL_NOTICE, "join",
				"agent=%s result=dropped reason=\"the line that is open for it names other signing keys\"",
				name);
	}
	if (hub->root)
		login_keys_send(hub);
}

static int begin(struct hub *hub, uid_t by, struct error *err)
{
	struct signing *s = hub->signing;
	if (keys_next_signer(hub->keys, true, s->next, err) < 0)
		return -1;
	s->serial = next_serial(s);
	s->since = clock_wall();
	s->by = by;
	s->now = false;
	s->phase = SIGNING_TOLD;
	expect_all(hub);
	return 0;
}

/* The next key is the present one. What agents have said of both no longer counts, since now the old one has to go. */
static int note_switched(struct hub *hub, struct error *err)
{
	struct signing *s = hub->signing, before = *s;
	s->missing = NULL;
	s->missing_count = 0;
	s->phase = SIGNING_SWITCHED;
	s->serial = next_serial(s);
	expect_all(hub);
	for (size_t i = 0; i < before.missing_count; i++) {
		struct signing_missing *m = find_missing(s, before.missing[i].agent);
		if (m)
			m->cut_off = true;
	}
	const size_t cut_off = before.missing_count;
	clear_missing(&before);
	free(before.missing);
	save_or_log(hub); /* else the next start comes here again */
	host_keys_open(hub);
	log_event(LOG_LEVEL_NOTICE, "signing-key",
		"result=switched missing=%zu text=\"the hub signs with its new key; the old one is wiped\"", cut_off);
	if (make_list(hub, err) == 0)
		return 0;
	save_later(hub, AGAIN_SECONDS);
	return -1;
}

static int take_next(struct hub *hub, struct error *err)
{
	if (keys_switch_signer(hub->keys, hub->signing->next, err) < 0)
		return -1;
	memcpy(hub->sign_public, hub->signing->next, SEAL_KEY_SIZE);
	return note_switched(hub, err);
}

static void finish(struct hub *hub)
{
	struct signing *s = hub->signing;
	s->phase = SIGNING_IDLE;
	s->now = false;
	save_or_log(hub);
	log_event(LOG_LEVEL_NOTICE, "signing-key",
		"result=done agents=%zu text=\"every agent has pinned the new key, and none the old one\"",
		s->agent_count);
}

void signing_settle(struct hub *hub)
{
	struct error err;
	struct signing *s = hub->signing;
	for (size_t i = s->missing_count; i-- > 0;)
		if (!has_keys(hub, s->missing[i].agent))
			drop_missing(s, &s->missing[i]);
	if (s->phase == SIGNING_IDLE || (s->missing_count && !(s->phase == SIGNING_TOLD && s->now)))
		return;
	if (s->phase == SIGNING_TOLD && take_next(hub, &err) < 0) {
		log_event(LOG_LEVEL_ERROR, "signing-key",
			"error=\"%s\" text=\"the next key cannot take over: tried again in a minute\"", err.message);
		save_later(hub, AGAIN_SECONDS);
		return;
	}
	if (s->missing_count)
		tell_all(hub);
	else
		finish(hub);
}

void signing_pinned(struct hub *hub, const char *agent, const struct message *m)
{
	struct signing *s = hub->signing;
	struct signing_missing *missing = find_missing(s, agent);
	if (!s->list.len || strcmp(m->list_digest, s->digest) != 0)
		return; /* of a list that another one has replaced */
	if (m->text[0]) {
		missing = missing ? missing : add_missing(s, agent, false);
		free(missing->refused);
		missing->refused = mem_strdup(m->text);
		if (session_may_complain(hub, agent))
			log_event(LOG_LEVEL_WARNING, "signing-key", "agent=%s result=refused reason=\"%s\"", agent,
				m->text);
		return;
	}
	if (!missing)
		return;
	log_event(LOG_LEVEL_INFO, "signing-key", "agent=%s result=pinned phase=%s", agent, phases[s->phase]);
	drop_missing(s, missing);
	save_later(hub, SAVE_SECONDS);
	if (!s->missing_count)
		signing_settle(hub);
}

/* ---- what a person asks for ---- */

static int check_idle(const struct hub *hub, struct error *err)
{
	const struct signing *s = hub->signing;
	char when[CLOCK_TEXT_MAX];
	if (s->phase == SIGNING_IDLE)
		return 0;
	return error_set(err, ERROR_USAGE,
		"the signing key is being replaced already, since %s: %zu of %zu agents have not said that they %s. `certsync keys` shows which, "
		"and why; after a theft `certsync keys rotate --now` waits for nobody",
		clock_text(s->since, when), s->missing_count, s->agent_count,
		s->phase == SIGNING_TOLD ? "take both keys" : "have forgotten the old one");
}

int signing_rotate(struct hub *hub, bool now, uid_t by, struct error *err)
{
	struct signing *s = hub->signing;
	char who[KEY_CHANGES_WHO_MAX];
	if (!now && check_idle(hub, err) < 0)
		return -1;
	const enum signing_phase phase = s->phase;
	const int64_t serial = s->serial;
	const bool was_now = s->now;
	if (s->phase != SIGNING_TOLD && begin(hub, by, err) < 0)
		return -1;
	s->now = now;
	if (save(hub, err) < 0 || make_list(hub, err) < 0) {
		/* Nobody was told. Where the last switch was not over, all agents say once more that they know of
		 * it. */
		s->phase = phase;
		s->serial = serial;
		s->now = was_now;
		if (phase == SIGNING_IDLE)
			clear_missing(s);
		save_later(hub, AGAIN_SECONDS);
		return -1;
	}
	log_event(LOG_LEVEL_NOTICE, "signing-key", "result=%s agents=%zu by=\"%s\"", now ? "now" : "told",
		s->agent_count, key_changes_who(by, who));
	drop_lines(hub);
	if (now && take_next(hub, err) < 0) {
		save_later(hub, AGAIN_SECONDS);
		return error_wrap(err, "the new key could not take over yet, which is tried again every minute");
	}
	if (s->missing_count)
		tell_all(hub);
	else
		signing_settle(hub);
	return 0;
}

void signing_status(struct hub *hub, struct signing_status *ret)
{
	const struct signing *s = hub->signing;
	*ret = (struct signing_status){.phase = s->phase,
		.since = s->since,
		.by = s->by,
		.now = s->now,
		.present = hub->sign_public,
		.next = s->phase == SIGNING_TOLD ? s->next : NULL,
		.missing = s->missing,
		.missing_count = s->missing_count,
		.agent_count = s->agent_count};
}

void signing_reason(struct hub *hub, const struct signing_missing *m, char *ret, size_t size)
{
	const struct session *s = session_find(hub, m->agent);
	if (m->cut_off)
		snprintf(ret, size,
			"it had not pinned the new key when the old one was given up, and takes nothing that the new one signs: certsync agent "
			"rotate %s prints a line, which certsync-agent join --replace takes there, as root",
			m->agent);
	else if (m->refused)
		snprintf(ret, size,
			"it refuses the list: %.600s. If its pins are wrong, certsync agent rotate %s prints a line for certsync-agent join "
			"--replace there",
			m->refused, m->agent);
	else if (!s)
		snprintf(ret, size, "it is away: it is told when it comes");
	else if (session_protocol(s) < MESSAGE_PROTOCOL_SIGNERS)
		snprintf(ret, size, "certsync there (%s) speaks protocol %u, which has no such list: upgrade it",
			session_version(s), session_protocol(s));
	else
		snprintf(ret, size, "it was told and has not answered yet");
}

void signing_add_fields(const struct hub *hub, struct buf *out)
{
	const struct signing *s = hub->signing;
	buf_addf(out, "sign=ed25519:");
	base64_encode(hub->sign_public, SEAL_KEY_SIZE, out);
	if (!s || s->phase != SIGNING_TOLD)
		return;
	buf_addf(out, " sign=ed25519:");
	base64_encode(s->next, SEAL_KEY_SIZE, out);
}

/* ---- life ---- */

/* Settles what is left when the hub was killed between the keys and the record, or when one of them is of another
 * backup. */
static int settle_keys(struct hub *hub, struct error *err)
{
	struct signing *s = hub->signing;
	uint8_t next[SEAL_KEY_SIZE];
	if (s->phase != SIGNING_TOLD)
		return 0;
	if (memcmp(s->next, hub->sign_public, SEAL_KEY_SIZE) == 0)
		return note_switched(hub, err);
	int found = keys_next_signer(hub->keys, false, next, err);
	if (found < 0 && err->kind != ERROR_USAGE)
		return -1;
	if (found == 0 && memcmp(s->next, next, SEAL_KEY_SIZE) == 0)
		return s->now ? take_next(hub, err) : 0;
	log_event(LOG_LEVEL_ERROR, "signing-key",
		"error=\"the next key that agents were told of is not here\" text=\"another one is made, and told\"");
	if (begin(hub, s->by, err) < 0)
		return -1;
	return save(hub, err);
}

int signing_open(struct hub *hub, struct error *err)
{
	struct signing *s = hub->signing = mem_alloc(sizeof(*s));
	s->list = BUF_INIT(MESSAGE_SIGNERS_MAX - 1);
	s->save = evtimer_new(hub->base, on_save, hub);
	if (!s->save)
		mem_abort(__func__);
	load(hub);
	if (settle_keys(hub, err) < 0 || make_list(hub, err) < 0)
		return error_wrap(err, "signing key");
	return 0;
}

void signing_close(struct hub *hub)
{
	struct signing *s = hub->signing;
	if (!s)
		return;
	if (event_pending(s->save, EV_TIMEOUT, NULL))
		save_or_log(hub);
	event_free(s->save);
	clear_missing(s);
	free(s->missing);
	buf_release(&s->list);
	free(s);
	hub->signing = NULL;
}
