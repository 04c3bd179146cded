#include "hub/daemon/alert/endpoints.h"
#include "hub/daemon/events.h"
#include "hub/common/worker_jobs.h"
#include "hub/daemon/job.h"
#include "hub/daemon/record.h"
#include "lib/core/clock.h"
#include "lib/probe/endpoint.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
	CHECKS_RECORD_MAX = 16 * 1024 * 1024,
	CHECKS_ROWS_MAX = 100000,
	CHECKS_FIRST = 5,  /* seconds after the start */
	CHECKS_SOON = 2,   /* and after a change */
	CHECKS_FOUND = 10, /* after a finding; twice as long each time that it is still there, up to the interval */
	CHECKS_AGAIN = 60, /* at most, after a round that failed as a whole */
	CHECKS_TIMEOUT_MS = 10000, /* for the asking for names */
	CHECKS_JOB_SECONDS = 150,  /* for names, probes and their second round, each a minute at most */
	CHECKS_WAKE_MAX = 3600,
};

struct checked_endpoint {
	const struct hub_endpoint *endpoint;
	int64_t due;               /* monotonic, seconds */
	bool asked;                /* in the round under way */
	int64_t pace;              /* seconds until a finding is looked at again; 0: there is none */
	bool again;                /* it was asked for soon while a round was under way */
	struct endpoint_row *rows; /* owned */
	size_t row_count;
	struct endpoint_row *fresh; /* owned: of the round under way */
	size_t fresh_count;
};

struct endpoint_checks {
	struct hub *hub;
	struct checked_endpoint *endpoints;
	size_t count;
	struct event *timer;
	struct job *job;                 /* NULL: no round is under way */
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

static void rows_free(struct endpoint_row **rows, size_t *count)
{
	for (size_t i = 0; i < *count; i++)
		endpoint_row_release(&(*rows)[i]);
	free(*rows);
	*rows = NULL;
	*count = 0;
}

/* ---- the record ---- */

static const char *certificate_of(const struct checked_endpoint *p)
{
	return p->endpoint->certificate ? p->endpoint->certificate->name : "";
}

static cJSON *record_encode(const struct endpoint_checks *s)
{
	cJSON *record = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(record, "rows");
	for (size_t i = 0; i < s->count; i++)
		for (size_t k = 0; k < s->endpoints[i].row_count; k++)
			cJSON_AddItemToArray(list, endpoint_row_encode(&s->endpoints[i].rows[k]));
	return record;
}

static const struct record checks = {"checks", "standing", "state.json", CHECKS_RECORD_MAX, "all is checked anew"};

static void save(struct endpoint_checks *s)
{
	auto_json cJSON *record = record_encode(s);
	record_keep(s->hub->store, &checks, record);
}

/* Takes the row over. */
static void add_row(struct endpoint_row **rows, size_t *count, struct endpoint_row *row)
{
	*rows = mem_grow(*rows, *count + 1, sizeof(**rows));
	(*rows)[(*count)++] = *row;
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
static bool is_of(const struct checked_endpoint *p, const struct endpoint_row *row)
{
	return strcmp(p->endpoint->name, row->name) == 0 && strcmp(certificate_of(p), row->certificate) == 0 &&
		asks_for(p->endpoint, row->found.endpoint);
}

/* What cannot be read is looked at anew. */
static void restore_row(struct endpoint_checks *s, const cJSON *o)
{
	struct error ignored;
	struct endpoint_row row;
	if (endpoint_row_decode(o, &row, &ignored) < 0)
		return;
	for (size_t i = 0; i < s->count; i++) {
		if (!is_of(&s->endpoints[i], &row))
			continue;
		add_row(&s->endpoints[i].rows, &s->endpoints[i].row_count, &row);
		return;
	}
	endpoint_row_release(&row);
}

static void restore(struct endpoint_checks *s)
{
	struct error err;
	auto_json cJSON *record = NULL;
	int got = record_get(s->hub->store, &checks, &record, &err);
	const cJSON *row, *rows = got > 0 ? json_array(record, "rows", CHECKS_ROWS_MAX, &err) : NULL;
	if (got < 0 || (got > 0 && !rows))
		record_damaged(s->hub->store, &checks, &err);
	cJSON_ArrayForEach (row, rows)
		restore_row(s, row);
}

/* ---- a round ---- */

static void plan(struct endpoint_checks *s)
{
	int64_t now = seconds(), next = now + CHECKS_WAKE_MAX;
	if (s->job)
		return;
	for (size_t i = 0; i < s->count; i++)
		next = s->endpoints[i].due < next ? s->endpoints[i].due : next;
	const struct timeval delay = {next > now ? next - now : 0, 0};
	event_add(s->timer, &delay);
}

/* Finds what was seen there before, with this kind of key. Where nothing is served there is no key, and one row stands
 * for all. */
static const struct endpoint_row *find_row(const struct checked_endpoint *p, const struct endpoint_row *like)
{
	const char *key = like->found.check.facts.key_type;
	const struct endpoint_row *found = NULL;
	for (size_t i = 0; i < p->row_count; i++) {
		const char *other = p->rows[i].found.check.facts.key_type;
		if (strcmp(p->rows[i].found.endpoint, like->found.endpoint) != 0)
			continue;
		if (strcmp(other, key) == 0)
			return &p->rows[i];
		if (!*key || !*other)
			found = &p->rows[i];
	}
	return found;
}

static void log_row(const struct endpoint_row *row)
{
	const struct check *c = &row->found.check;
	log_event(c->verdict == CHECK_OK ? LOG_LEVEL_NOTICE : LOG_LEVEL_WARNING, "check",
		"name=%s endpoint=%s state=%s reason=\"%s\"", row->name, row->found.endpoint,
		check_verdict_text(c->verdict), c->reason);
}

/* What cannot be seen for a moment does not put right what was wrong. */
static void keep_before(struct endpoint_row *row, const struct endpoint_row *before)
{
	enum check_verdict was = before->found.check.verdict;
	bool wrong = was == CHECK_MISMATCH || was == CHECK_UNTRUSTED;
	const struct check_found *kept = wrong ? &before->found : before->before;
	if (row->found.check.verdict == CHECK_UNREACHABLE && kept) {
		row->before = mem_alloc(sizeof(*row->before));
		check_found_copy(kept, row->before);
	}
}

/* What is new replaces what was seen before; a verdict that stays keeps the time when it began. */
static void take_fresh(struct checked_endpoint *p)
{
	for (size_t i = 0; i < p->fresh_count; i++) {
		struct endpoint_row *row = &p->fresh[i];
		const struct endpoint_row *before = find_row(p, row);
		enum check_verdict now = row->found.check.verdict;
		if (before && before->found.check.verdict == now)
			row->since = before->since < row->since ? before->since : row->since;
		else if (before || now != CHECK_OK)
			log_row(row);
		if (before)
			keep_before(row, before);
	}
	rows_free(&p->rows, &p->row_count);
	p->rows = steal(p->fresh);
	p->row_count = p->fresh_count;
	p->fresh_count = 0;
}

/* Of an answer that cannot be read nobody knows which row is missing, so the whole round has failed. */
static void take_row(struct endpoint_checks *s, const cJSON *message)
{
	struct error err;
	uint32_t id;
	int64_t now = clock_wall();
	struct endpoint_row row = {.since = now, .checked = now};
	const cJSON *check = json_object(message, "check", &err);
	if (!check || json_u32(message, "id", &id, &err) < 0 || check_decode(check, &row.found, &err) < 0) {
		error_wrap(&err, "the answer of certsync-worker");
		snprintf(s->said, sizeof(s->said), "%s", err.message);
		return;
	}
	if (id >= s->count || !s->endpoints[id].asked) {
		check_found_release(&row.found);
		return;
	}
	struct checked_endpoint *p = &s->endpoints[id];
	snprintf(row.name, sizeof(row.name), "%s", p->endpoint->name);
	snprintf(row.certificate, sizeof(row.certificate), "%s", certificate_of(p));
	add_row(&p->fresh, &p->fresh_count, &row);
}

static void on_message(const char *event, const cJSON *message, void *context)
{
	struct endpoint_checks *s = context;
	if (strcmp(event, "failed") == 0)
		snprintf(s->said, sizeof(s->said), "%s", json_text(message, "text"));
	else
		take_row(s, message);
}

/* Returns when the place is looked at next, in seconds. What was found wrong may only have been starting, as after a
 * reboot, so it is seen again before anybody is told. */
static int64_t next_look(struct checked_endpoint *p)
{
	bool good = true;
	for (size_t i = 0; i < p->row_count; i++)
		good = good && check_is_good(p->rows[i].found.check.verdict);
	if (good || !p->pace)
		p->pace = good ? 0 : CHECKS_FOUND;
	else if (p->pace < p->endpoint->interval)
		p->pace *= 2;
	if (p->again)
		return CHECKS_SOON;
	return p->pace && p->pace < p->endpoint->interval ? p->pace : jittered(p->endpoint->interval);
}

static void on_ended(const struct error *err, void *context)
{
	struct endpoint_checks *s = context;
	bool ok = err->kind == ERROR_NONE && !s->said[0];
	s->job = NULL;
	if (!ok) {
		snprintf(s->trouble, sizeof(s->trouble), "%s", s->said[0] ? s->said : err->message);
		log_event(LOG_LEVEL_ERROR, "check", "error=\"%s\"", s->trouble);
	}
	s->said[0] = '\0';
	for (size_t i = 0; i < s->count; i++) {
		struct checked_endpoint *p = &s->endpoints[i];
		if (!p->asked)
			continue;
		if (ok)
			take_fresh(p);
		rows_free(&p->fresh, &p->fresh_count);
		int64_t interval = next_look(p);
		p->due = seconds() + (!ok && interval > CHECKS_AGAIN ? CHECKS_AGAIN : interval);
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
static void add_expected(const struct endpoint_checks *s, const struct checked_endpoint *p, cJSON *o, bool *pair)
{
	char hex[CHAIN_HEX_MAX];
	struct error ignored;
	auto_manifest struct manifest m = {0};
	cJSON *list = cJSON_AddArrayToObject(o, "expected");
	if (!p->endpoint->certificate || store_current(s->hub->store, certificate_of(p), &m, &ignored) <= 0)
		return;
	cJSON_AddItemToArray(list, cJSON_CreateString(chain_hex(m.content.leaf, hex)));
	if (!manifest_has_second(&m))
		return;
	cJSON_AddItemToArray(list, cJSON_CreateString(chain_hex(m.second, hex)));
	*pair = true;
}

static cJSON *job_for(struct endpoint_checks *s, int64_t now)
{
	bool pair = false;
	size_t count = 0;
	cJSON *job = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(job, "endpoints");
	for (size_t i = 0; i < s->count && count < CHECK_JOB_MAX; i++) {
		struct checked_endpoint *p = &s->endpoints[i];
		if (p->due > now)
			continue;
		cJSON *o = cJSON_CreateObject();
		cJSON_AddNumberToObject(o, "id", (double)i);
		cJSON_AddStringToObject(o, "name", p->endpoint->name);
		cJSON_AddStringToObject(o, "certificate", certificate_of(p));
		cJSON_AddNumberToObject(o, "timeout_ms", (double)p->endpoint->timeout * 1000);
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
	if (s->hub->config->helo)
		cJSON_AddStringToObject(job, "helo", s->hub->config->helo);
	cJSON_AddNumberToObject(job, "expiring_before", (double)s->hub->config->alert.expiring);
	cJSON_AddNumberToObject(job, "timeout_ms", CHECKS_TIMEOUT_MS);
	cJSON_AddBoolToObject(job, "both_keys", pair);
	return job;
}

static bool is_due(const struct endpoint_checks *s, int64_t now)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->endpoints[i].due <= now)
			return true;
	return false;
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	static const struct job_handler handler = {on_message, on_ended};
	struct endpoint_checks *s = context;
	struct error err;
	int64_t now = seconds();
	if (s->job || !is_due(s, now)) {
		plan(s);
		return;
	}
	auto_json cJSON *job = job_for(s, now);
	s->job = job_start(s->hub->workers, WORKER_CHECK, CHECKS_JOB_SECONDS, job, NULL, &handler, s, &err);
	if (!s->job)
		on_ended(&err, s);
}

void endpoints_soon(struct hub *hub, const char *certificate)
{
	struct endpoint_checks *s = hub->endpoint_checks;
	bool any = false;
	for (size_t i = 0; s && i < s->count; i++) {
		struct checked_endpoint *p = &s->endpoints[i];
		if (strcmp(certificate_of(p), certificate) != 0)
			continue;
		p->again = p->asked;
		p->due = p->due < seconds() + CHECKS_SOON ? p->due : seconds() + CHECKS_SOON;
		any = true;
	}
	if (any)
		plan(s);
}

/* ---- what is seen ---- */

size_t endpoints_count(const struct hub *hub)
{
	size_t count = 0;
	for (size_t i = 0; hub->endpoint_checks && i < hub->endpoint_checks->count; i++)
		count += hub->endpoint_checks->endpoints[i].row_count;
	return count;
}

void endpoints_rows(const struct hub *hub, const struct endpoint_row **ret)
{
	for (size_t i = 0; hub->endpoint_checks && i < hub->endpoint_checks->count; i++)
		for (size_t k = 0; k < hub->endpoint_checks->endpoints[i].row_count; k++)
			*ret++ = &hub->endpoint_checks->endpoints[i].rows[k];
}

const char *endpoints_trouble(const struct hub *hub)
{
	return hub->endpoint_checks ? hub->endpoint_checks->trouble : "";
}

/* ---- life ---- */

void endpoints_open(struct hub *hub)
{
	struct endpoint_checks *s = mem_alloc(sizeof(*s));
	hub->endpoint_checks = s;
	s->hub = hub;
	s->count = hub->config->endpoint_count;
	s->endpoints = mem_array(s->count, sizeof(*s->endpoints));
	s->timer = event_new(hub->base, -1, 0, on_timer, s);
	if (!s->timer)
		mem_abort(__func__);
	for (size_t i = 0; i < s->count; i++)
		s->endpoints[i] = (struct checked_endpoint){
			.endpoint = &hub->config->endpoints[i], .due = seconds() + CHECKS_FIRST};
	if (s->count) {
		restore(s);
		plan(s);
	}
}

void endpoints_close(struct hub *hub)
{
	struct endpoint_checks *s = hub->endpoint_checks;
	hub->endpoint_checks = NULL;
	if (!s)
		return;
	job_cancel(s->job);
	for (size_t i = 0; i < s->count; i++) {
		rows_free(&s->endpoints[i].rows, &s->endpoints[i].row_count);
		rows_free(&s->endpoints[i].fresh, &s->endpoints[i].fresh_count);
	}
	free(s->endpoints);
	event_free(s->timer);
	free(s);
}
