#include "hub/daemon/alert/alert.h"
#include "hub/daemon/alert/channel.h"
#include "hub/daemon/alert/collect.h"
#include "hub/daemon/record.h"
#include "lib/alert/alert_text.h"
#include "lib/core/clock.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum {
	ALERT_ROUND = 30,  /* seconds between rounds */
	ALERT_SOON = 1,    /* after a change */
	ALERT_FIRST = 3,   /* after the start */
	ALERT_SETTLE = 90, /* after the start: agents come back and say how they are */
	ALERT_MANIFESTS = 600,
	ALERT_RECORD_MAX = 64 * 1024 * 1024,
};

/* A message that some way has not delivered yet. */
struct queued {
	struct alert_message message; /* owned */
	int64_t created;
	bool *pending; /* owned: by which of the channels */
};

struct alert {
	struct hub *hub;
	struct condition_book book;
	int64_t opened;              /* wall clock */
	struct conditions manifests; /* as they were read last */
	int64_t manifests_due;       /* monotonic seconds, as the next */
	int64_t round_due;
	struct channel *channels; /* owned */
	size_t channel_count;
	struct queued *queue; /* owned; oldest first */
	size_t queue_count;
	struct alert_told told[ALERT_TOLD_MAX]; /* owned; newest first */
	size_t told_count;
	char *crossing; /* owned; NULL: all is well */
	struct event *timer;
	/* The test that is under way. */
	bool testing, test_good;
	size_t test_left;
	struct channel *test; /* owned: channels of its own */
	size_t test_count;
	const struct alert_test_handler *test_handler; /* NULL: nobody waits for the answers */
	void *test_context;
};

static int64_t seconds(void)
{
	return clock_monotonic_ms() / 1000;
}

static struct condition_policy policy(const struct alert *a)
{
	const struct hub_alert *c = &a->hub->config->alert;
	return (struct condition_policy){.hold = c->hold, .repeat = c->repeat};
}

/* ---- the record ---- */

static cJSON *failures_encode(const struct alert *a)
{
	cJSON *list = cJSON_CreateArray();
	for (size_t i = 0; i < a->channel_count; i++) {
		const struct channel *c = &a->channels[i];
		if (!c->failures)
			continue;
		cJSON *o = cJSON_CreateObject();
		cJSON_AddStringToObject(o, "channel", c->name);
		cJSON_AddNumberToObject(o, "failures", c->failures);
		cJSON_AddNumberToObject(o, "since", (double)c->since);
		cJSON_AddStringToObject(o, "error", c->error);
		cJSON_AddItemToArray(list, o);
	}
	return list;
}

static cJSON *queue_encode(const struct alert *a)
{
	cJSON *list = cJSON_CreateArray();
	for (size_t i = 0; i < a->queue_count; i++) {
		const struct queued *q = &a->queue[i];
		cJSON *item = cJSON_CreateObject();
		cJSON_AddItemToObject(item, "message", alert_message_encode(&q->message));
		cJSON_AddNumberToObject(item, "created", (double)q->created);
		cJSON *pending = cJSON_AddArrayToObject(item, "pending");
		for (size_t k = 0; k < a->channel_count; k++)
			if (q->pending[k])
				cJSON_AddItemToArray(pending, cJSON_CreateString(a->channels[k].name));
		cJSON_AddItemToArray(list, item);
	}
	return list;
}

static cJSON *told_encode(const struct alert *a)
{
	cJSON *list = cJSON_CreateArray();
	for (size_t i = 0; i < a->told_count; i++) {
		cJSON *o = condition_told_encode(&a->told[i].told);
		cJSON_AddNumberToObject(o, "when", (double)a->told[i].when);
		cJSON_AddItemToArray(list, o);
	}
	return list;
}

static const struct record kept = {"alerts", "hub", "state.json", ALERT_RECORD_MAX, "what was told may be told again"};

static void save(struct alert *a)
{
	auto_json cJSON *record = condition_book_encode(&a->book);
	cJSON_AddItemToObject(record, "queue", queue_encode(a));
	cJSON_AddItemToObject(record, "told", told_encode(a));
	cJSON_AddItemToObject(record, "failures", failures_encode(a));
	record_keep(a->hub->store, &kept, record);
}

static struct channel *find_channel(struct alert *a, const char *name)
{
	for (size_t i = 0; i < a->channel_count; i++)
		if (strcmp(a->channels[i].name, name) == 0)
			return &a->channels[i];
	return NULL;
}

/* A way that failed before the restart is tried at once, since somebody may have mended it. */
static void restore_failures(struct alert *a, const cJSON *list)
{
	const cJSON *o;
	cJSON_ArrayForEach (o, list) {
		struct error ignored;
		struct channel *c = find_channel(a, json_text(o, "channel"));
		if (!c || json_u32(o, "failures", &c->failures, &ignored) < 0 ||
			json_i64(o, "since", &c->since, &ignored) < 0)
			continue;
		snprintf(c->error, sizeof(c->error), "%s", json_text(o, "error"));
	}
}

static void queued_release(struct queued *q)
{
	alert_message_release(&q->message);
	free(q->pending);
}

/* Puts the message at the end, and takes it over. */
static struct queued *enqueue(struct alert *a, struct alert_message *m, int64_t created)
{
	a->queue = mem_grow(a->queue, a->queue_count + 1, sizeof(*a->queue));
	struct queued *q = &a->queue[a->queue_count++];
	*q = (struct queued){*m, created, mem_array(a->channel_count, sizeof(bool))};
	return q;
}

static void dequeue(struct alert *a, size_t index)
{
	queued_release(&a->queue[index]);
	memmove(&a->queue[index], &a->queue[index + 1], (--a->queue_count - index) * sizeof(*a->queue));
}

static bool is_pending(const struct alert *a, const struct queued *q)
{
	for (size_t i = 0; i < a->channel_count; i++)
		if (q->pending[i])
			return true;
	return false;
}

static int restore_queued(struct alert *a, const cJSON *item, struct error *err)
{
	int64_t created;
	struct alert_message m;
	const cJSON *name, *message = json_object(item, "message", err);
	const cJSON *pending = message ? json_array(item, "pending", INT32_MAX, err) : NULL;
	if (!pending || json_i64(item, "created", &created, err) < 0 || alert_message_decode(message, &m, err) < 0)
		return -1;
	struct queued *q = enqueue(a, &m, created);
	cJSON_ArrayForEach (name, pending) {
		const struct channel *c = cJSON_IsString(name) ? find_channel(a, name->valuestring) : NULL;
		if (c)
			q->pending[c - a->channels] = true;
	}
	if (!is_pending(a, q))
		dequeue(a, a->queue_count - 1);
	return 0;
}

/* Restores messages whose ways still exist. */
static void restore_queue(struct alert *a, const cJSON *list)
{
	struct error err;
	const cJSON *item;
	cJSON_ArrayForEach (item, list)
		if (restore_queued(a, item, &err) < 0)
			log_event(LOG_LEVEL_ERROR, "alert", "result=given_up reason=\"the record of it: %s\"",
				err.message);
}

/* What cannot be read is only not shown any more. */
static void restore_told(struct alert *a, const cJSON *list)
{
	struct error ignored;
	const cJSON *o;
	cJSON_ArrayForEach (o, list) {
		struct alert_told *t = &a->told[a->told_count];
		if (a->told_count < ALERT_TOLD_MAX && json_i64(o, "when", &t->when, &ignored) == 0 &&
			condition_told_decode(o, &t->told, &ignored) == 0)
			a->told_count++;
	}
}

static void restore(struct alert *a)
{
	struct error err;
	auto_json cJSON *record = NULL;
	int got = record_get(a->hub->store, &kept, &record, &err);
	if (got == 0)
		return;
	if (got < 0 || condition_book_decode(record, &a->book, &err) < 0) {
		record_damaged(a->hub->store, &kept, &err);
		return;
	}
	restore_failures(a, json_get(record, "failures"));
	restore_queue(a, json_get(record, "queue"));
	restore_told(a, json_get(record, "told"));
}

/* ---- the queue ---- */

static void plan(struct alert *a);

/* Returns the first message that this way has not delivered, or NULL. */
static struct queued *next_message(const struct alert *a, const struct channel *c)
{
	for (size_t i = 0; i < a->queue_count; i++)
		if (a->queue[i].pending[c - a->channels])
			return &a->queue[i];
	return NULL;
}

/* Drops messages that every way has delivered, and those that are too old or too many. */
static void sweep(struct alert *a, int64_t now)
{
	for (size_t i = a->queue_count; i-- > 0;) {
		const struct queued *q = &a->queue[i];
		bool done = !is_pending(a, q);
		if (!done && now - q->created <= ALERT_KEEP)
			continue;
		if (!done)
			log_event(LOG_LEVEL_ERROR, "alert", "result=given_up subject=\"%s\"", q->message.subject);
		dequeue(a, i);
	}
	while (a->queue_count > ALERT_QUEUE_MAX) {
		log_event(LOG_LEVEL_ERROR, "alert", "result=given_up reason=\"too many messages wait\" subject=\"%s\"",
			a->queue[0].message.subject);
		dequeue(a, 0);
	}
}

static void on_sent(struct channel *c, bool ok, const char *text, void *context)
{
	struct alert *a = context;
	struct queued *q = next_message(a, c);
	log_event(ok ? LOG_LEVEL_NOTICE : LOG_LEVEL_ERROR, "alert",
		"result=%s channel=\"%s\" subject=\"%s\" answer=\"%s\"", ok ? "delivered" : "failed", c->name,
		q ? q->message.subject : "", text);
	bool news = !ok && !c->failures;
	channel_note(c, ok, text, clock_wall(), seconds());
	if (ok && q && strcmp(q->message.id, c->sending) == 0)
		q->pending[c - a->channels] = false;
	sweep(a, clock_wall());
	save(a);
	if (news || ok)
		alert_soon(a->hub);
	plan(a);
}

static void send_all(struct alert *a)
{
	static const struct channel_handler handler = {on_sent};
	for (size_t i = 0; i < a->channel_count; i++) {
		struct channel *c = &a->channels[i];
		const struct queued *q = c->delivery || c->next > seconds() ? NULL : next_message(a, c);
		if (!q)
			continue;
		snprintf(c->sending, sizeof(c->sending), "%s", q->message.id);
		channel_send(c, a->hub->workers, &q->message, &handler, a);
	}
}

/* Returns whether this way would only be told of itself. */
static bool is_about(const struct condition_notice *n, const char *channel)
{
	for (size_t i = 0; i < n->count; i++)
		if (n->told[i].entry.kind != CONDITION_CHANNEL || strcmp(n->told[i].entry.subject, channel) != 0)
			return false;
	return true;
}

static void new_id(char id[ALERT_ID_MAX])
{
	uint8_t bytes[16];
	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		mem_abort(__func__);
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(id + 2 * i, 3, "%02x", bytes[i]);
}

static void host_name(char host[256])
{
	if (gethostname(host, 256) < 0)
		host[0] = '\0';
	host[255] = '\0';
	text_clean(host, 0);
}

static void queue_notice(struct alert *a, const struct condition_notice *n, int64_t now)
{
	char id[ALERT_ID_MAX], host[256];
	struct alert_message m;
	int pending = 0;
	new_id(id);
	host_name(host);
	alert_message_make(n, host, id, now, &m);
	struct queued *q = enqueue(a, &m, now);
	for (size_t i = 0; i < a->channel_count; i++) {
		q->pending[i] = !is_about(n, a->channels[i].name);
		pending += q->pending[i];
	}
	log_event(LOG_LEVEL_WARNING, "alert", "conditions=%zu channels=%d subject=\"%s\"", n->count, pending,
		q->message.subject);
}

/* Keeps what was told for the status page: of a message's conditions the last one stands first. */
static void keep_told(struct alert *a, int64_t now)
{
	const struct alert_message *m = &a->queue[a->queue_count - 1].message;
	for (size_t i = 0; i < m->count; i++) {
		if (a->told_count == ALERT_TOLD_MAX)
			condition_told_release(&a->told[--a->told_count].told);
		memmove(&a->told[1], &a->told[0], a->told_count++ * sizeof(a->told[0]));
		condition_told_copy(&m->conditions[i], &a->told[0].told);
		a->told[0].when = now;
	}
}

/* ---- rounds ---- */

static void collect_channels(const struct alert *a, struct conditions *out)
{
	for (size_t i = 0; i < a->channel_count; i++)
		if (a->channels[i].failures)
			conditions_add(out, CONDITION_CHANNEL, true, a->channels[i].name,
				"alerts cannot be delivered this way: %s; it is tried again by "
				"itself, certsync alert test tries now",
				a->channels[i].error);
}

/* A situation that was taken with what the store says (`with_store`) takes the place of what was read before. */
static void collect_manifests(struct alert *a, const struct situation *s, bool with_store, struct conditions *out)
{
	if (with_store) {
		conditions_release(&a->manifests);
		alert_collect_manifests(s, &a->manifests);
		a->manifests_due = seconds() + ALERT_MANIFESTS;
	}
	for (size_t i = 0; i < a->manifests.count; i++) {
		const struct condition *c = &a->manifests.list[i];
		conditions_add(out, c->kind, c->critical, c->subject, "%s", c->text);
	}
}

/* After a start, what agents see and say is not known again yet, which does not mean that anything has ended. */
static void keep_unseen(const struct alert *a, struct conditions *out)
{
	for (size_t i = 0; i < a->book.count; i++) {
		const struct condition_entry *e = &a->book.entries[i];
		if (e->kind != CONDITION_EXPIRING && e->kind != CONDITION_AWAY && e->kind != CONDITION_STORE &&
			e->kind != CONDITION_CHANNEL && e->kind != CONDITION_ROTATION && e->kind != CONDITION_KEYS &&
			e->kind != CONDITION_SIGNING)
			conditions_add(out, e->kind, e->critical, e->subject, "%s", e->text);
	}
}

static void do_round(struct alert *a)
{
	int64_t now = clock_wall(), next;
	auto_conditions struct conditions seen = {0};
	auto_notice struct condition_notice notice = {0};
	auto_situation struct situation situation;
	bool with_store = seconds() >= a->manifests_due;
	const struct condition_policy p = policy(a);
	a->opened =
		a->opened > now ? now : a->opened; /* the clock was set back: nothing is kept for longer than meant */
	situation_take(a->hub, now, with_store, &situation);
	alert_collect(&situation, &a->book, a->opened, &seen, &next);
	collect_manifests(a, &situation, with_store, &seen);
	collect_channels(a, &seen);
	if (now - a->opened < ALERT_SETTLE)
		keep_unseen(a, &seen);
	bool changed = condition_round(&a->book, &seen, &p, now, &notice);
	if (notice.count) {
		queue_notice(a, &notice, now);
		keep_told(a, now);
		sweep(a, now);
	}
	if (changed)
		save(a);
	int64_t due = condition_next(&a->book, &p);
	next = due < next ? due : next;
	int64_t wait = next == INT64_MAX || next - now > ALERT_ROUND ? ALERT_ROUND : next - now;
	a->round_due = seconds() + (wait < ALERT_SOON ? ALERT_SOON : wait);
}

static void plan(struct alert *a)
{
	int64_t now = seconds(), next = a->round_due;
	for (size_t i = 0; i < a->channel_count; i++) {
		const struct channel *c = &a->channels[i];
		if (!c->delivery && c->next < next && next_message(a, c))
			next = c->next;
	}
	const struct timeval delay = {next > now ? next - now : 0, 0};
	event_add(a->timer, &delay);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	struct alert *a = context;
	if (seconds() >= a->round_due)
		do_round(a);
	send_all(a);
	plan(a);
}

void alert_soon(struct hub *hub)
{
	struct alert *a = hub->alert;
	if (!a || a->round_due <= seconds() + ALERT_SOON)
		return;
	a->round_due = seconds() + ALERT_SOON;
	plan(a);
}

/* ---- what is shown ---- */

const struct condition_book *alert_book(const struct hub *hub)
{
	static const struct condition_book none = {0};
	return hub->alert ? &hub->alert->book : &none;
}

static size_t waiting(const struct alert *a, size_t channel)
{
	size_t count = 0;
	for (size_t i = 0; i < a->queue_count; i++)
		count += a->queue[i].pending[channel];
	return count;
}

struct alert_channel *alert_channels(const struct hub *hub, size_t *ret_count)
{
	const struct alert *a = hub->alert;
	*ret_count = a ? a->channel_count : 0;
	struct alert_channel *list = mem_array(*ret_count, sizeof(*list));
	for (size_t i = 0; i < *ret_count; i++) {
		const struct channel *c = &a->channels[i];
		int64_t wait = c->next > seconds() ? c->next - seconds() : 0;
		list[i] = (struct alert_channel){.name = c->name,
			.error = c->error,
			.waiting = waiting(a, i),
			.failures = c->failures,
			.since = c->since,
			.next_try = c->failures ? clock_wall() + wait : 0};
	}
	return list;
}

const struct alert_told *alert_told(const struct hub *hub, size_t *ret_count)
{
	*ret_count = hub->alert ? hub->alert->told_count : 0;
	return hub->alert ? hub->alert->told : NULL;
}

char *alert_warning(const struct hub *hub)
{
	const struct alert *a = hub->alert;
	char *text = mem_strdup(a && a->crossing ? a->crossing : "");
	for (size_t i = 0; a && i < a->channel_count; i++) {
		const struct channel *c = &a->channels[i];
		if (!c->failures)
			continue;
		char *longer = mem_printf("%s%salerts by %s fail (%zu wait): %s", text, text[0] ? "; " : "", c->name,
			waiting(a, i), c->error);
		free(text);
		text = longer;
	}
	return text;
}

/* ---- tests ---- */

static void end_test(struct alert *a)
{
	const struct alert_test_handler *handler = a->test_handler;
	struct channel *list = a->test;
	size_t count = a->test_count;
	a->testing = false;
	a->test_handler = NULL;
	a->test = NULL;
	a->test_count = 0;
	channels_free(list, count);
	if (handler)
		handler->ended(a->test_good, a->test_context);
}

static void on_tested(struct channel *c, bool ok, const char *text, void *context)
{
	struct alert *a = context;
	struct channel *real = find_channel(a, c->name);
	log_event(ok ? LOG_LEVEL_NOTICE : LOG_LEVEL_ERROR, "alert",
		"result=%s channel=\"%s\" subject=\"test\" answer=\"%s\"", ok ? "delivered" : "failed", c->name, text);
	a->test_good = a->test_good && ok;
	a->test_left--;
	if (a->test_handler)
		a->test_handler->answered(c->name, ok, text, a->test_context);
	if (ok && real && real->failures && !real->delivery) { /* mended: what waits goes out */
		channel_note(real, true, text, clock_wall(), seconds());
		save(a);
		plan(a);
	}
}

static void look_at_test(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	struct hub *hub = context;
	if (hub->alert && hub->alert->testing && !hub->alert->test_left)
		end_test(hub->alert);
}

/* The answer is passed on from a turn of the loop of its own, since a job is freed behind its handler. */
static void on_test_answer(struct channel *c, bool ok, const char *text, void *context)
{
	static const struct timeval now = {0, 0};
	struct alert *a = context;
	on_tested(c, ok, text, a);
	if (!a->test_left)
		event_base_once(a->hub->base, -1, EV_TIMEOUT, look_at_test, a->hub, &now);
}

int alert_test(struct hub *hub, const struct alert_test_handler *handler, void *context, struct error *err)
{
	static const struct channel_handler on_channel = {on_test_answer};
	struct alert *a = hub->alert;
	char id[ALERT_ID_MAX], host[256];
	if (!a->channel_count)
		return error_set(err, ERROR_USAGE,
			"hub.conf has no way to tell anybody: its alert section has neither email nor "
			"webhook nor command");
	if (a->testing)
		return error_set(err, ERROR_USAGE, "a test is under way already");
	a->testing = a->test_good = true;
	a->test_handler = handler;
	a->test_context = context;
	a->test = channels_new(hub->config, &a->test_count);
	a->test_left = a->test_count;
	new_id(id);
	host_name(host);
	auto_alert_message struct alert_message message;
	alert_message_test(host, id, clock_wall(), &message);
	for (size_t i = 0; i < a->test_count; i++)
		channel_send(&a->test[i], hub->workers, &message, &on_channel, a);
	return 0;
}

void alert_test_forget(struct hub *hub)
{
	if (hub->alert)
		hub->alert->test_handler = NULL;
}

/* ---- life ---- */

void alert_open(struct hub *hub)
{
	struct alert *a = mem_alloc(sizeof(*a));
	hub->alert = a;
	a->hub = hub;
	a->opened = clock_wall();
	a->channels = channels_new(hub->config, &a->channel_count);
	a->crossing = alert_crossing(hub->config);
	a->round_due = seconds() + ALERT_FIRST;
	a->timer = event_new(hub->base, -1, 0, on_timer, a);
	if (!a->timer)
		mem_abort(__func__);
	if (a->crossing)
		log_event(LOG_LEVEL_WARNING, "alert", "reason=\"%s\"", a->crossing);
	restore(a);
	plan(a);
}

void alert_close(struct hub *hub)
{
	struct alert *a = hub->alert;
	hub->alert = NULL;
	if (!a)
		return;
	for (size_t i = 0; i < a->queue_count; i++)
		queued_release(&a->queue[i]);
	for (size_t i = 0; i < a->told_count; i++)
		condition_told_release(&a->told[i].told);
	channels_free(a->channels, a->channel_count);
	channels_free(a->test, a->test_count);
	condition_book_release(&a->book);
	conditions_release(&a->manifests);
	free(a->queue);
	free(a->crossing);
	event_free(a->timer);
	free(a);
}
