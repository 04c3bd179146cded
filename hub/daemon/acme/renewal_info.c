#include "hub/daemon/acme/renewal_info.h"
#include "hub/common/worker_jobs.h"
#include "hub/daemon/job.h"
#include "hub/daemon/acme/schedule.h"
#include "hub/daemon/record.h"
#include "lib/core/clock.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { ADVICE_RECORD_MAX = 8192, ADVICE_WAKE_MAX = 3600, ADVICE_UNSUPPORTED_AGAIN = 86400 };

struct renewal_info {
	struct renewal_info *next;
	struct advisor *advisor;
	const struct hub_certificate *certificate;
	void (*changed)(void *context);
	void *context;
	struct manifest current; /* only times and fingerprint; not_after 0: nothing to ask for */
	struct ari_record record;
	bool asked; /* in the question under way */
};

/* One authority. */
struct advisor {
	struct advisor *next;
	struct hub *hub;
	const struct hub_acme *acme;
	struct renewal_info *list;
	struct event *timer;
	int64_t planned; /* when the timer is to fire; 0: not set */
	struct job *job; /* NULL: nothing is being asked */
};

static uint64_t draw(void)
{
	uint64_t number;
	if (getrandom(&number, sizeof(number), 0) != sizeof(number))
		mem_abort(__func__);
	return number;
}

/* ---- the record ---- */

static struct record record_of(const struct renewal_info *a)
{
	return (struct record){"renewals", a->certificate->name, "ari.json", ADVICE_RECORD_MAX,
		"the authority is asked again when to renew"};
}

static void save(const struct renewal_info *a)
{
	const struct record record = record_of(a);
	auto_json cJSON *o = ari_encode(&a->record);
	record_keep(a->advisor->hub->store, &record, o);
}

static void restore(struct renewal_info *a)
{
	struct error err;
	const struct record record = record_of(a);
	auto_json cJSON *o = NULL;
	int got = record_get(a->advisor->hub->store, &record, &o, &err);
	if (got < 0 || (got > 0 && ari_decode(o, &a->record, &err) < 0))
		record_damaged(a->advisor->hub->store, &record, &err);
}

/* ---- when to ask ---- */

static bool can_be_asked(const struct renewal_info *a)
{
	return a->current.content.not_after > 0;
}

static void plan(struct advisor *v, int64_t when)
{
	/* The wall clock may be set in between, so it looks again within the hour. */
	int64_t wait = when - clock_wall();
	const struct timeval delay = {wait < 0 ? 0 : wait > ADVICE_WAKE_MAX ? ADVICE_WAKE_MAX : wait, 1000};
	v->planned = when;
	event_add(v->timer, &delay);
}

/* Wakes sooner than planned, if it must be; so not every certificate is looked at for the sake of one. */
static void wake_for(const struct renewal_info *a)
{
	struct advisor *v = a->advisor;
	if (!v->job && can_be_asked(a) && (!v->planned || a->record.next < v->planned))
		plan(v, a->record.next);
}

static void wake_later(struct advisor *v)
{
	int64_t next = clock_wall() + ADVICE_WAKE_MAX;
	for (const struct renewal_info *a = v->list; a; a = a->next)
		if (can_be_asked(a) && a->record.next < next)
			next = a->record.next;
	if (!v->job)
		plan(v, next);
}

/* A clock that was set back must not put the question off for as long. */
static bool is_due(const struct renewal_info *a, int64_t now)
{
	return can_be_asked(a) && (a->record.next <= now || a->record.next > now + 2 * ARI_ASK_MAX);
}

static void next_question(struct renewal_info *a, int64_t retry_after)
{
	a->record.next = clock_wall() + ari_ask_after(retry_after);
}

static void note_trouble(struct renewal_info *a, const char *text, int64_t retry_after)
{
	struct ari_record *r = &a->record;
	r->failures++;
	snprintf(r->trouble, sizeof(r->trouble), "%s", text);
	if (retry_after)
		next_question(a, retry_after);
	else
		r->next = schedule_retry(r->failures, clock_wall(), draw());
	save(a);
}

/* ---- answers ---- */

static struct renewal_info *find_asked(const struct advisor *v, const cJSON *message)
{
	struct error ignored;
	const char *id = json_string(message, "id", ARI_ID_MAX - 1, &ignored);
	for (struct renewal_info *a = v->list; id && a; a = a->next)
		if (a->asked && strcmp(a->record.id, id) == 0)
			return a;
	return NULL;
}

static void take_answer(struct renewal_info *a, const cJSON *message, int64_t retry_after)
{
	struct error err;
	struct ari_window w = {0};
	int64_t before = a->record.moment;
	const char *page = json_string(message, "explanation", sizeof(w.explanation) - 1, &err);
	if (!page || json_i64(message, "start", &w.start, &err) < 0 || json_i64(message, "end", &w.end, &err) < 0) {
		note_trouble(a, err.message, 0);
		return;
	}
	snprintf(w.explanation, sizeof(w.explanation), "%s", page);
	ari_answer(&a->record, &w, a->current.content.not_before, a->current.content.not_after, draw());
	next_question(a, retry_after);
	save(a);
	if (a->record.moment == before)
		return;
	char when[CLOCK_TEXT_MAX];
	log_event(LOG_LEVEL_INFO, "ari", "certificate=%s renew=%s page=\"%s\" reason=\"%s\"", a->certificate->name,
		a->record.moment ? clock_text(a->record.moment, when) : "rule", w.explanation, a->record.trouble);
	a->changed(a->context);
}

static void on_message(const char *event, const cJSON *message, void *context)
{
	struct advisor *v = context;
	struct error err;
	int64_t retry_after = 0;
	json_i64(message, "retry_after", &retry_after, &err);
	const char *text = json_string(message, "text", ERROR_MESSAGE_MAX - 1, &err);
	struct renewal_info *one = find_asked(v, message);
	if (!one && json_get(message, "id"))
		return; /* of a certificate that has been replaced meanwhile */
	for (struct renewal_info *a = v->list; a; a = a->next) {
		if (!a->asked || (one && a != one))
			continue;
		if (one && strcmp(event, "answer") == 0)
			take_answer(a, message, retry_after);
		else if (strcmp(event, "unsupported") == 0) {
			/* What it once said no longer holds. */
			a->record.moment = a->record.failures = 0;
			snprintf(a->record.trouble, sizeof(a->record.trouble), "%s", "");
			next_question(a, ADVICE_UNSUPPORTED_AGAIN);
			save(a);
			a->changed(a->context);
		} else
			note_trouble(a, text ? text : "the worker said nothing of use", retry_after);
		a->asked = false;
	}
}

static void on_ended(const struct error *err, void *context)
{
	struct advisor *v = context;
	v->job = NULL;
	for (struct renewal_info *a = v->list; a; a = a->next) {
		if (a->asked)
			note_trouble(
				a, err->kind == ERROR_NONE ? "the worker ended without an answer" : err->message, 0);
		a->asked = false;
	}
	wake_later(v);
}

/* ---- questions ---- */

/* Makes the identifier from the certificate when it is asked for first. */
static int need_id(struct renewal_info *a, struct error *err)
{
	struct chain pairs[STORE_PAIRS_MAX] = {0};
	size_t count = 0;
	auto_manifest struct manifest m = {0}, content = {0};
	if (a->record.id[0])
		return 0;
	int had = store_current(a->advisor->hub->store, a->certificate->name, &m, err);
	if (had <= 0)
		return had < 0 ? -1 : error_set(err, ERROR_RETRY, "nothing is published");
	if (store_load(a->advisor->hub->store, a->certificate->name, m.content.revision, pairs, &count, &content, err) <
		0)
		return -1;
	int result = ari_id(pairs[0].leaf, a->record.id, err);
	while (count > 0)
		chain_release(&pairs[--count]);
	return result;
}

static size_t collect(struct advisor *v, cJSON *ids)
{
	size_t count = 0;
	struct error err;
	for (struct renewal_info *a = v->list; a && count < ACME_INFO_IDS_MAX; a = a->next) {
		if (!is_due(a, clock_wall()))
			continue;
		if (need_id(a, &err) < 0) {
			note_trouble(a, err.message, 0);
			continue;
		}
		cJSON_AddItemToArray(ids, cJSON_CreateString(a->record.id));
		a->asked = true;
		count++;
	}
	return count;
}

static void ask(struct advisor *v)
{
	static const struct job_handler handler = {.message = on_message, .ended = on_ended};
	struct error err;
	auto_json cJSON *job = cJSON_CreateObject();
	cJSON_AddStringToObject(job, "event", "job");
	cJSON_AddStringToObject(job, "directory", v->acme->directory);
	if (v->acme->ca_file)
		cJSON_AddStringToObject(job, "ca_file", v->acme->ca_file);
	if (!collect(v, cJSON_AddArrayToObject(job, "ids")))
		return;
	v->job = job_start(v->hub->workers, WORKER_INFO, ACME_INFO_SECONDS, job, NULL, &handler, v, &err);
	if (!v->job)
		on_ended(&err, v);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	struct advisor *v = context;
	v->planned = 0;
	if (v->job)
		return;
	ask(v);
	wake_later(v);
}

/* ---- life ---- */

static struct advisor *advisor_of(struct hub *hub, const struct hub_acme *acme)
{
	for (struct advisor *v = hub->advisors; v; v = v->next)
		if (v->acme == acme)
			return v;
	struct advisor *v = mem_alloc(sizeof(*v));
	v->hub = hub;
	v->acme = acme;
	v->timer = event_new(hub->base, -1, 0, on_timer, v);
	if (!v->timer)
		mem_abort(__func__);
	v->next = hub->advisors;
	hub->advisors = v;
	return v;
}

struct renewal_info *renewal_info_new(
	struct hub *hub, const struct hub_certificate *certificate, void (*changed)(void *context), void *context)
{
	if (!certificate->acme || !certificate->acme->ari)
		return NULL;
	struct renewal_info *a = mem_alloc(sizeof(*a));
	a->advisor = advisor_of(hub, certificate->acme);
	a->certificate = certificate;
	a->changed = changed;
	a->context = context;
	a->next = a->advisor->list;
	a->advisor->list = a;
	restore(a);
	return a;
}

static void advisor_free(struct advisor *v)
{
	struct advisor **at = &v->hub->advisors;
	while (*at != v)
		at = &(*at)->next;
	*at = v->next;
	job_cancel(v->job);
	event_free(v->timer);
	free(v);
}

void renewal_info_free(struct renewal_info *a)
{
	if (!a)
		return;
	struct renewal_info **at = &a->advisor->list;
	while (*at != a)
		at = &(*at)->next;
	*at = a->next;
	if (!a->advisor->list)
		advisor_free(a->advisor);
	free(a);
}

void renewal_info_current(struct renewal_info *a, const struct manifest *current)
{
	char leaf[CHAIN_HEX_MAX] = "";
	/* What was imported is of another authority, which would be asked in vain. */
	bool ours = current && (strcmp(current->source, "acme") == 0 || strcmp(current->source, "rollback") == 0);
	if (!a)
		return;
	a->current = (struct manifest){0};
	if (ours) {
		a->current.content.not_before = current->content.not_before;
		a->current.content.not_after = current->content.not_after;
		chain_hex(current->content.leaf, leaf);
	}
	if (strcmp(a->record.leaf, leaf) != 0) {
		a->record = (struct ari_record){.id = ""};
		a->asked = false;
		memcpy(a->record.leaf, leaf, sizeof(leaf));
		if (leaf[0])
			save(a);
	}
	wake_for(a);
}

const struct ari_record *renewal_info_record(const struct renewal_info *a)
{
	return &a->record;
}
