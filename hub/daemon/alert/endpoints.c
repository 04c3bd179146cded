#include "hub/daemon/alert/endpoints.h"
#include "hub/daemon/events.h"
#include "hub/common/worker_jobs.h"
#include "hub/daemon/job.h"
#include "lib/core/clock.h"
#include "lib/probe/endpoint.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
	STANDING_RECORD_MAX = 16 * 1024 * 1024,
	STANDING_FIRST = 5,  /* seconds after the start */
	STANDING_SOON = 2,   /* and after a change */
	STANDING_AGAIN = 60, /* at most, after a round that failed as a whole */
	STANDING_TIMEOUT_MS = 10000,
	STANDING_JOB_SECONDS = 90, /* for names, probes and their second round */
	STANDING_WAKE_MAX = 3600,
};

/* One address and port of an endpoint. */
struct row {
	cJSON *check;  /* owned: what check_json said */
	cJSON *before; /* owned: of one that is not reached, what was wrong with what it served last; NULL: nothing */
	int64_t since; /* wall clock: when its verdict began */
	int64_t checked;
};

struct place {
	const struct hub_endpoint *endpoint;
	int64_t due;      /* monotonic, seconds */
	bool asked;       /* in the round under way */
	bool again;       /* it was asked for soon while a round was under way */
	struct row *rows; /* owned */
	size_t row_count;
	struct row *fresh; /* owned: of the round under way */
	size_t fresh_count;
};

struct standing {
	struct hub *hub;
	struct place *places;
	size_t count;
	struct event *timer;
	struct job *errand;              /* NULL: no round is under way */
	char said[ERROR_MESSAGE_MAX];    /* by the worker of the round under way, should it fail */
	char trouble[ERROR_MESSAGE_MAX]; /* why the last round failed as a whole; "": it did not */
};

static int64_t seconds(void)
{
	return clock_monotonic_ms() / 1000;
}

/* The interval is up to a tenth shorter, so that checks of one interval do not stay together. */
static int64_t jittered(int64_t interval)
{
	uint32_t number;
	if (getrandom(&number, sizeof(number), 0) != sizeof(number))
		mem_abort(__func__);
	return interval - (int64_t)(number % (uint32_t)(interval / 10 + 1));
}

static void rows_free(struct row **rows, size_t *count)
{
	for (size_t i = 0; i < *count; i++) {
		cJSON_Delete((*rows)[i].check);
		cJSON_Delete((*rows)[i].before);
	}
	free(*rows);
	*rows = NULL;
	*count = 0;
}

/* ---- the record ---- */

static const char *certificate_of(const struct place *p)
{
	return p->endpoint->certificate ? p->endpoint->certificate->name : "";
}

static cJSON *row_encode(const struct place *p, const struct row *row)
{
	cJSON *o = cJSON_Duplicate(row->check, true);
	cJSON_AddStringToObject(o, "name", p->endpoint->name);
	cJSON_AddStringToObject(o, "certificate", certificate_of(p));
	cJSON_AddNumberToObject(o, "since", (double)row->since);
	cJSON_AddNumberToObject(o, "checked", (double)row->checked);
	if (row->before)
		cJSON_AddItemToObject(o, "before", cJSON_Duplicate(row->before, true));
	return o;
}

cJSON *endpoints_status(const struct hub *hub)
{
	cJSON *list = cJSON_CreateArray();
	const struct standing *s = hub->standing;
	for (size_t i = 0; s && i < s->count; i++)
		for (size_t k = 0; k < s->places[i].row_count; k++)
			cJSON_AddItemToArray(list, row_encode(&s->places[i], &s->places[i].rows[k]));
	return list;
}

static void save(struct standing *s)
{
	struct error err;
	auto_buf struct buf text = BUF_INIT(STANDING_RECORD_MAX);
	auto_json cJSON *record = cJSON_CreateObject();
	cJSON_AddItemToObject(record, "rows", endpoints_status(s->hub));
	if (json_print(record, &text) < 0)
		error_set(&err, ERROR_PERMANENT, "the record of the checks is over %d bytes", STANDING_RECORD_MAX);
	else if (store_put(s->hub->store, "checks", "standing", "state.json", text.data, text.len, &err) == 0)
		return;
	log_event(LOG_LEVEL_ERROR, "store", "error=\"%s\"", err.message);
}

static void add_row(struct row **rows, size_t *count, cJSON *check, int64_t since, int64_t checked)
{
	*rows = mem_grow(*rows, *count + 1, sizeof(**rows));
	(*rows)[(*count)++] = (struct row){.check = check, .since = since, .checked = checked};
}

static bool asks_for(const struct hub_endpoint *e, const char *endpoint)
{
	const char *port = strrchr(endpoint, ':');
	bool address = !e->at[0], known = !port; /* a name without an address has no port either */
	for (char **at = e->at; *at && !address; at++)
		address = !port || endpoint_is_at(endpoint, *at);
	for (char **wanted = e->ports; *wanted && !known; wanted++)
		known = strcmp(port + 1, *wanted) == 0;
	return address && known;
}

/* Several sections may have one name; a row belongs to the one that asks for its port. */
static bool is_of(const struct place *p, const cJSON *check)
{
	return strcmp(p->endpoint->name, json_text(check, "name")) == 0 &&
		strcmp(certificate_of(p), json_text(check, "certificate")) == 0 &&
		asks_for(p->endpoint, json_text(check, "endpoint"));
}

static void restore_row(struct standing *s, const cJSON *check)
{
	struct error ignored;
	int64_t since, checked;
	if (json_i64(check, "since", &since, &ignored) < 0 || json_i64(check, "checked", &checked, &ignored) < 0)
		return;
	for (size_t i = 0; i < s->count; i++) {
		if (!is_of(&s->places[i], check))
			continue;
		cJSON *copy = cJSON_Duplicate(check, true);
		for (size_t k = 0; k < 4; k++) {
			static const char *const ours[] = {"name", "certificate", "since", "checked"};
			cJSON_DeleteItemFromObjectCaseSensitive(copy, ours[k]);
		}
		cJSON *before = cJSON_DetachItemFromObjectCaseSensitive(copy, "before");
		add_row(&s->places[i].rows, &s->places[i].row_count, copy, since, checked);
		s->places[i].rows[s->places[i].row_count - 1].before = before;
		return;
	}
}

static void restore(struct standing *s)
{
	struct error err;
	auto_buf struct buf text = BUF_INIT(STANDING_RECORD_MAX);
	int got = store_get(s->hub->store, "checks", "standing", "state.json", &text, &err);
	auto_json cJSON *record = got > 0 ? json_parse(text.data, text.len, &err) : NULL;
	const cJSON *row, *rows = record ? json_get(record, "rows") : NULL;
	if (got < 0 || (got > 0 && !cJSON_IsArray(rows)))
		log_event(LOG_LEVEL_WARNING, "store",
			"record=checks/standing error=\"it cannot be read: all is checked anew\"");
	cJSON_ArrayForEach (row, rows)
		restore_row(s, row);
}

/* ---- a round ---- */

static void plan(struct standing *s)
{
	int64_t now = seconds(), next = now + STANDING_WAKE_MAX;
	if (s->errand)
		return;
	for (size_t i = 0; i < s->count; i++)
		next = s->places[i].due < next ? s->places[i].due : next;
	const struct timeval delay = {next > now ? next - now : 0, 0};
	event_add(s->timer, &delay);
}

/* Finds what was seen there before, with this kind of key. Where nothing is served there is no key, and one row stands
 * for all. */
static const struct row *find_row(const struct place *p, const struct row *like)
{
	const char *endpoint = json_text(like->check, "endpoint"), *key = json_text(like->check, "key_type");
	const struct row *found = NULL;
	for (size_t i = 0; i < p->row_count; i++) {
		const char *other = json_text(p->rows[i].check, "key_type");
		if (strcmp(json_text(p->rows[i].check, "endpoint"), endpoint) != 0)
			continue;
		if (strcmp(other, key) == 0)
			return &p->rows[i];
		if (!*key || !*other)
			found = &p->rows[i];
	}
	return found;
}

static void log_row(const struct place *p, const struct row *row)
{
	bool ok = strcmp(json_text(row->check, "verdict"), "ok") == 0;
	log_event(ok ? LOG_LEVEL_NOTICE : LOG_LEVEL_WARNING, "check", "name=%s endpoint=%s state=%s reason=\"%s\"",
		p->endpoint->name, json_text(row->check, "endpoint"), json_text(row->check, "verdict"),
		json_text(row->check, "reason"));
}

static bool has_verdict(const struct row *row, const char *verdict)
{
	return strcmp(json_text(row->check, "verdict"), verdict) == 0;
}

/* What cannot be seen for a moment does not put right what was wrong. */
static void keep_before(struct row *row, const struct row *before)
{
	if (!before || !has_verdict(row, "unreachable"))
		return;
	if (has_verdict(before, "mismatch") || has_verdict(before, "untrusted"))
		row->before = cJSON_Duplicate(before->check, true);
	else if (before->before)
		row->before = cJSON_Duplicate(before->before, true);
}

/* What is new replaces what was seen before; a verdict that stays keeps the time when it began. */
static void take_fresh(struct place *p)
{
	for (size_t i = 0; i < p->fresh_count; i++) {
		struct row *row = &p->fresh[i];
		const struct row *before = find_row(p, row);
		keep_before(row, before);
		if (before && strcmp(json_text(before->check, "verdict"), json_text(row->check, "verdict")) == 0)
			row->since = before->since < row->since ? before->since : row->since;
		else if (before || strcmp(json_text(row->check, "verdict"), "ok") != 0)
			log_row(p, row);
	}
	rows_free(&p->rows, &p->row_count);
	p->rows = steal(p->fresh);
	p->row_count = p->fresh_count;
	p->fresh_count = 0;
}

static void on_message(const char *event, const cJSON *message, void *context)
{
	struct standing *s = context;
	struct error err;
	uint32_t id;
	int64_t now = clock_wall();
	if (strcmp(event, "failed") == 0) {
		snprintf(s->said, sizeof(s->said), "%s", json_text(message, "text"));
		return;
	}
	const cJSON *check = json_object(message, "check", &err);
	if (!check || json_u32(message, "id", &id, &err) < 0 || id >= s->count || !s->places[id].asked)
		return;
	add_row(&s->places[id].fresh, &s->places[id].fresh_count, cJSON_Duplicate(check, true), now, now);
}

static void on_ended(const struct error *err, void *context)
{
	struct standing *s = context;
	bool ok = err->kind == ERROR_NONE;
	s->errand = NULL;
	if (!ok) {
		snprintf(s->trouble, sizeof(s->trouble), "%s", s->said[0] ? s->said : err->message);
		log_event(LOG_LEVEL_ERROR, "check", "error=\"%s\"", s->trouble);
	}
	s->said[0] = '\0';
	for (size_t i = 0; i < s->count; i++) {
		struct place *p = &s->places[i];
		if (!p->asked)
			continue;
		if (ok)
			take_fresh(p);
		rows_free(&p->fresh, &p->fresh_count);
		int64_t interval = p->again ? STANDING_SOON : jittered(p->endpoint->interval);
		p->due = seconds() + (!ok && interval > STANDING_AGAIN ? STANDING_AGAIN : interval);
		p->asked = p->again = false;
	}
	if (ok) {
		s->trouble[0] = '\0';
		save(s);
	}
	s->hub->events->changed(s->hub, NULL);
	plan(s);
}

static cJSON *strings(char *const *list)
{
	cJSON *array = cJSON_CreateArray();
	for (; *list; list++)
		cJSON_AddItemToArray(array, cJSON_CreateString(*list));
	return array;
}

/* Adds the current revision's leaves. */
static void add_expected(const struct standing *s, const struct place *p, cJSON *o, bool *pair)
{
	char hex[CHAIN_HEX_MAX];
	struct error ignored;
	auto_manifest struct manifest m = {0};
	cJSON *list = cJSON_AddArrayToObject(o, "expected");
	if (!p->endpoint->certificate || store_current(s->hub->store, certificate_of(p), &m, &ignored) <= 0)
		return;
	cJSON_AddItemToArray(list, cJSON_CreateString(chain_hex(m.fingerprint, hex)));
	if (!manifest_has_second(&m))
		return;
	cJSON_AddItemToArray(list, cJSON_CreateString(chain_hex(m.second, hex)));
	*pair = true;
}

static cJSON *job_for(struct standing *s, int64_t now)
{
	bool pair = false;
	size_t count = 0;
	cJSON *job = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(job, "endpoints");
	for (size_t i = 0; i < s->count && count < CHECK_JOB_MAX; i++) {
		struct place *p = &s->places[i];
		if (p->due > now)
			continue;
		cJSON *o = cJSON_CreateObject();
		cJSON_AddNumberToObject(o, "id", (double)i);
		cJSON_AddStringToObject(o, "name", p->endpoint->name);
		cJSON_AddStringToObject(o, "certificate", certificate_of(p));
		cJSON_AddItemToObject(o, "ports", strings(p->endpoint->ports));
		cJSON_AddItemToObject(o, "at", strings(p->endpoint->at));
		add_expected(s, p, o, &pair);
		cJSON_AddItemToArray(list, o);
		p->asked = true;
		count++;
	}
	cJSON_AddStringToObject(job, "event", "job");
	if (s->hub->config->anchors)
		cJSON_AddStringToObject(job, "anchors", s->hub->config->anchors);
	cJSON_AddNumberToObject(job, "expiring_before", (double)s->hub->config->alert.expiring);
	cJSON_AddNumberToObject(job, "timeout_ms", STANDING_TIMEOUT_MS);
	cJSON_AddBoolToObject(job, "both_keys", pair);
	return job;
}

static bool is_due(const struct standing *s, int64_t now)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->places[i].due <= now)
			return true;
	return false;
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	static const struct job_handler handler = {on_message, on_ended};
	struct standing *s = context;
	struct error err;
	int64_t now = seconds();
	if (s->errand || !is_due(s, now)) {
		plan(s);
		return;
	}
	auto_json cJSON *job = job_for(s, now);
	s->errand = job_start(s->hub->workers, WORKER_CHECK, STANDING_JOB_SECONDS, job, NULL, &handler, s, &err);
	if (!s->errand)
		on_ended(&err, s);
}

void endpoints_soon(struct hub *hub, const char *certificate)
{
	struct standing *s = hub->standing;
	bool any = false;
	for (size_t i = 0; s && i < s->count; i++) {
		struct place *p = &s->places[i];
		if (strcmp(certificate_of(p), certificate) != 0)
			continue;
		p->again = p->asked;
		p->due = p->due < seconds() + STANDING_SOON ? p->due : seconds() + STANDING_SOON;
		any = true;
	}
	if (any)
		plan(s);
}

/* ---- what is wrong ---- */

static void say(const struct hub *hub, const struct place *p, enum condition_kind kind, const char *subject,
	const cJSON *check, struct conditions *out)
{
	char wanted[CHAIN_HEX_MAX], second[CHAIN_HEX_MAX];
	struct error ignored;
	auto_manifest struct manifest m = {0};
	auto_free char *both = NULL;
	/* The reason has the digests shortened, so they are told in full. */
	if (kind == CONDITION_MISMATCH && p->endpoint->certificate &&
		store_current(hub->store, certificate_of(p), &m, &ignored) > 0)
		both = mem_printf("served: SHA-256 %s; wanted: SHA-256 %s%s%s; ", json_text(check, "fingerprint"),
			chain_hex(m.fingerprint, wanted),
			manifest_has_second(&m) ? " or, for the other kind of key, " : "",
			manifest_has_second(&m) ? chain_hex(m.second, second) : "");
	conditions_add(out, kind, kind != CONDITION_EXPIRING, subject, "%s; %swhat to do: %s",
		json_text(check, "reason"), both ? both : "", json_text(check, "advice"));
}

static void tell_row(const struct hub *hub, const struct place *p, const cJSON *check, struct conditions *out)
{
	static const struct {
		const char *verdict;
		enum condition_kind kind;
	} kinds[] = {
		{"expiring", CONDITION_EXPIRING},
		{"mismatch", CONDITION_MISMATCH},
		{"untrusted", CONDITION_UNTRUSTED},
		{"unreachable", CONDITION_UNREACHABLE},
	};
	auto_free char *subject = mem_printf("%s %s", p->endpoint->name, json_text(check, "endpoint"));
	for (size_t n = 0; n < COUNT(kinds); n++)
		if (strcmp(json_text(check, "verdict"), kinds[n].verdict) == 0)
			say(hub, p, kinds[n].kind, subject, check, out);
}

void endpoints_conditions(const struct hub *hub, struct conditions *out)
{
	const struct standing *s = hub->standing;
	if (s && s->trouble[0])
		conditions_add(out, CONDITION_UNREACHABLE, true, "all endpoints",
			"they cannot be checked: %s; what is shown of them is old", s->trouble);
	for (size_t i = 0; s && i < s->count; i++) {
		const struct place *p = &s->places[i];
		for (size_t k = 0; k < p->row_count; k++) {
			tell_row(hub, p, p->rows[k].check, out);
			if (p->rows[k].before)
				tell_row(hub, p, p->rows[k].before, out);
		}
	}
}

void endpoints_open(struct hub *hub)
{
	struct standing *s = mem_alloc(sizeof(*s));
	hub->standing = s;
	s->hub = hub;
	s->count = hub->config->endpoint_count;
	s->places = mem_array(s->count, sizeof(*s->places));
	s->timer = event_new(hub->base, -1, 0, on_timer, s);
	if (!s->timer)
		mem_abort(__func__);
	for (size_t i = 0; i < s->count; i++)
		s->places[i] =
			(struct place){.endpoint = &hub->config->endpoints[i], .due = seconds() + STANDING_FIRST};
	if (s->count) {
		restore(s);
		plan(s);
	}
}

void endpoints_close(struct hub *hub)
{
	struct standing *s = hub->standing;
	hub->standing = NULL;
	if (!s)
		return;
	job_cancel(s->errand);
	for (size_t i = 0; i < s->count; i++) {
		rows_free(&s->places[i].rows, &s->places[i].row_count);
		rows_free(&s->places[i].fresh, &s->places[i].fresh_count);
	}
	free(s->places);
	event_free(s->timer);
	free(s);
}
