#include "hub/daemon/rollout/history.h"
#include "hub/daemon/record.h"
#include "lib/core/clock.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"
#include "hub/daemon/rollout/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OUTCOME_RECORD_MAX = 256 * 1024 };

/* ---- without I/O ---- */

const struct history *history_find(const struct history_book *b, struct revision revision)
{
	for (size_t i = b->count; i > 0; i--)
		if (revision_compare(b->list[i - 1].revision, revision) == 0)
			return &b->list[i - 1];
	return NULL;
}

static void begin(struct history_book *b, const struct rollout *r, int64_t now)
{
	struct history *last = b->count ? &b->list[b->count - 1] : NULL;
	if (last && !last->verified && !last->superseded)
		last->superseded = now;
	if (b->count == OUTCOMES_MAX)
		memmove(b->list, b->list + 1, --b->count * sizeof(*b->list));
	b->list[b->count++] = (struct history){.revision = r->desired.revision, .started = r->started};
}

static void note_failure(struct history *o, const struct rollout *r)
{
	for (size_t i = 0; i < r->agent_count && !o->failed[0]; i++)
		if (r->agents[i].state == ROLLOUT_FAILED)
			snprintf(o->failed, sizeof(o->failed), "%s at %s: %.250s", r->agents[i].name, r->agents[i].step,
				r->agents[i].text);
	text_clean(o->failed, 0);
}

bool history_update(struct history_book *b, const struct rollout *r, int64_t now)
{
	bool changed = false;
	if (revision_is_placeholder(r->desired.revision))
		return false;
	struct history *last = b->count ? &b->list[b->count - 1] : NULL;
	if (!last || revision_compare(last->revision, r->desired.revision) != 0) {
		begin(b, r, now);
		last = &b->list[b->count - 1];
		changed = true;
	}
	if (!last->verified && r->agent_count && rollout_converged(r)) {
		last->verified = now;
		changed = true;
	}
	if (!last->failed[0]) {
		note_failure(last, r);
		changed = changed || last->failed[0];
	}
	return changed;
}

void history_text(const struct history *o, char *ret, size_t size)
{
	char when[CLOCK_TEXT_MAX];
	int64_t took = o->verified > o->started ? o->verified - o->started : 0;
	if (o->verified)
		snprintf(
			ret, size, "everywhere since %s, after %lld s", clock_text(o->verified, when), (long long)took);
	else if (o->superseded)
		snprintf(ret, size, "superseded %s before it was everywhere", clock_text(o->superseded, when));
	else
		snprintf(ret, size, "not everywhere yet");
	size_t used = strlen(ret);
	if (o->failed[0])
		snprintf(ret + used, size - used, "; failed on %s", o->failed);
}

cJSON *history_encode(const struct history_book *b)
{
	char text[REVISION_TEXT_MAX];
	cJSON *record = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(record, "outcomes");
	for (size_t i = 0; i < b->count; i++) {
		cJSON *o = cJSON_CreateObject();
		cJSON_AddStringToObject(o, "revision", revision_text(b->list[i].revision, text));
		cJSON_AddNumberToObject(o, "started", (double)b->list[i].started);
		cJSON_AddNumberToObject(o, "verified", (double)b->list[i].verified);
		cJSON_AddNumberToObject(o, "superseded", (double)b->list[i].superseded);
		cJSON_AddStringToObject(o, "failed", b->list[i].failed);
		cJSON_AddItemToArray(list, o);
	}
	return record;
}

static int decode_one(const cJSON *o, struct history *ret, struct error *err)
{
	const char *revision = json_string(o, "revision", REVISION_TEXT_MAX, err);
	const char *failed = revision ? json_string(o, "failed", sizeof(ret->failed) - 1, err) : NULL;
	if (!failed || json_i64(o, "started", &ret->started, err) < 0 ||
		json_i64(o, "verified", &ret->verified, err) < 0 ||
		json_i64(o, "superseded", &ret->superseded, err) < 0)
		return -1;
	if (!revision_parse(revision, &ret->revision))
		return error_set(err, ERROR_PERMANENT, "revision: \"%s\" is none", revision);
	snprintf(ret->failed, sizeof(ret->failed), "%s", failed);
	return 0;
}

int history_decode(const cJSON *record, struct history_book *ret, struct error *err)
{
	const cJSON *element, *list = json_array(record, "outcomes", OUTCOMES_MAX, err);
	ret->count = 0;
	if (!list)
		return -1;
	cJSON_ArrayForEach (element, list) {
		ret->list[ret->count] = (struct history){0};
		if (decode_one(element, &ret->list[ret->count], err) < 0) {
			ret->count = 0;
			return -1;
		}
		ret->count++;
	}
	return 0;
}

/* ---- in the daemon ---- */

struct outcomes {
	struct outcomes *next;
	char certificate[NAME_CERTIFICATE_MAX];
	struct history_book book;
};

static struct record record_of(const char *certificate)
{
	return (struct record){"outcomes", certificate, "state.json", OUTCOME_RECORD_MAX,
		"what became of earlier revisions is forgotten"};
}

static void restore(struct hub *hub, struct outcomes *o)
{
	struct error err;
	const struct record record = record_of(o->certificate);
	auto_json cJSON *book = NULL;
	int got = record_get(hub->store, &record, &book, &err);
	if (got < 0 || (got > 0 && history_decode(book, &o->book, &err) < 0))
		record_damaged(hub->store, &record, &err);
}

static struct outcomes *open_for(struct hub *hub, const char *certificate)
{
	for (struct outcomes *o = hub->outcomes; o; o = o->next)
		if (strcmp(o->certificate, certificate) == 0)
			return o;
	struct outcomes *o = mem_alloc(sizeof(*o));
	snprintf(o->certificate, sizeof(o->certificate), "%s", certificate);
	restore(hub, o);
	o->next = hub->outcomes;
	hub->outcomes = o;
	return o;
}

void history_note(struct hub *hub, const struct rollout *r)
{
	struct outcomes *o = open_for(hub, r->certificate);
	if (!history_update(&o->book, r, clock_wall()))
		return;
	const struct record record = record_of(r->certificate);
	auto_json cJSON *book = history_encode(&o->book);
	record_keep(hub->store, &record, book);
}

const struct history *history_of(struct hub *hub, const char *certificate, struct revision revision)
{
	return history_find(&open_for(hub, certificate)->book, revision);
}

void history_close(struct hub *hub)
{
	while (hub->outcomes) {
		struct outcomes *o = hub->outcomes;
		hub->outcomes = o->next;
		free(o);
	}
}
