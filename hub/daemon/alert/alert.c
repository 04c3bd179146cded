#include "hub/daemon/alert/alert.h"
#include "hub/daemon/alert/channel.h"
#include "hub/daemon/alert/collect.h"
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

struct alert {
	struct hub *hub;
	struct condition_book book;
	int64_t opened;              /* wall clock */
	struct conditions manifests; /* as they were read last */
	int64_t manifests_due;       /* monotonic seconds, as the next */
	int64_t round_due;
	struct channel *channels; /* owned */
	size_t channel_count;
	cJSON *queue;   /* owned, an array: "message", "created", "pending": names of channels */
	cJSON *told;    /* owned, an array, newest first */
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

static void save(struct alert *a)
{
	struct error err;
	auto_buf struct buf text = BUF_INIT(ALERT_RECORD_MAX);
	auto_json cJSON *record = condition_book_encode(&a->book);
	cJSON_AddItemToObject(record, "queue", cJSON_Duplicate(a->queue, true));
	cJSON_AddItemToObject(record, "told", cJSON_Duplicate(a->told, true));
	cJSON_AddItemToObject(record, "failures", failures_encode(a));
	if (json_print(record, &text) < 0)
		error_set(&err, ERROR_PERMANENT, "the record of the alerts is over %d bytes", ALERT_RECORD_MAX);
	else if (store_put(a->hub->store, "alerts", "hub", "state.json", text.data, text.len, &err) == 0)
		return;
	log_event(LOG_LEVEL_ERROR, "store", "error=\"%s\"", err.message);
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

static bool is_sound(const cJSON *item)
{
	return cJSON_IsObject(json_get(item, "message")) && cJSON_IsNumber(json_get(item, "created")) &&
		cJSON_IsArray(json_get(item, "pending"));
}

/* Restores messages whose ways still exist. */
static void restore_queue(struct alert *a, const cJSON *list)
{
	const cJSON *item, *name;
	cJSON_ArrayForEach (item, list) {
		if (!is_sound(item))
			continue;
		cJSON *copy = cJSON_Duplicate(item, true), *pending = cJSON_CreateArray();
		cJSON_ArrayForEach (name, json_get(item, "pending"))
			if (cJSON_IsString(name) && find_channel(a, name->valuestring))
				cJSON_AddItemToArray(pending, cJSON_CreateString(name->valuestring));
		cJSON_ReplaceItemInObjectCaseSensitive(copy, "pending", pending);
		if (cJSON_GetArraySize(pending))
			cJSON_AddItemToArray(a->queue, copy);
		else
			cJSON_Delete(copy);
	}
}

static void restore(struct alert *a)
{
	struct error err;
	auto_buf struct buf text = BUF_INIT(ALERT_RECORD_MAX);
	int got = store_get(a->hub->store, "alerts", "hub", "state.json", &text, &err);
	auto_json cJSON *record = got > 0 ? json_parse(text.data, text.len, &err) : NULL;
	if (got == 0)
		return;
	if (!record || condition_book_decode(record, &a->book, &err) < 0) {
		log_event(LOG_LEVEL_WARNING, "store", "record=alerts/hub error=\"%s: what was told may be told again\"",
			err.message);
		return;
	}
	restore_failures(a, json_get(record, "failures"));
	restore_queue(a, json_get(record, "queue"));
	if (cJSON_IsArray(json_get(record, "told"))) {
		cJSON_Delete(a->told);
		a->told = cJSON_Duplicate(json_get(record, "told"), true);
	}
}

/* ---- the queue ---- */

static void plan(struct alert *a);

/* Returns the first message that this way has not delivered, or NULL. */
static cJSON *next_message(const struct alert *a, const char *channel)
{
	cJSON *item;
	const cJSON *name;
	cJSON_ArrayForEach (item, a->queue)
		cJSON_ArrayForEach (name, json_get(item, "pending"))
			if (strcmp(name->valuestring, channel) == 0)
				return item;
	return NULL;
}

static const char *id_of(const cJSON *item)
{
	return json_text(json_get(item, "message"), "id");
}

static void forget(cJSON *item, const char *channel)
{
	cJSON *pending = cJSON_GetObjectItemCaseSensitive(item, "pending");
	for (int i = cJSON_GetArraySize(pending) - 1; i >= 0; i--)
		if (strcmp(cJSON_GetArrayItem(pending, i)->valuestring, channel) == 0)
			cJSON_DeleteItemFromArray(pending, i);
}

/* Drops messages that every way has delivered, and those that are too old or too many. */
static void sweep(struct alert *a, int64_t now)
{
	for (int i = cJSON_GetArraySize(a->queue) - 1; i >= 0; i--) {
		const cJSON *item = cJSON_GetArrayItem(a->queue, i);
		int64_t created = (int64_t)json_number(item, "created");
		bool done = cJSON_GetArraySize(json_get(item, "pending")) == 0;
		if (!done && now - created <= ALERT_KEEP)
			continue;
		if (!done)
			log_event(LOG_LEVEL_ERROR, "alert", "result=given_up subject=\"%s\"",
				json_text(json_get(item, "message"), "subject"));
		cJSON_DeleteItemFromArray(a->queue, i);
	}
	while (cJSON_GetArraySize(a->queue) > ALERT_QUEUE_MAX) {
		log_event(LOG_LEVEL_ERROR, "alert", "result=given_up reason=\"too many messages wait\" subject=\"%s\"",
			json_text(json_get(cJSON_GetArrayItem(a->queue, 0), "message"), "subject"));
		cJSON_DeleteItemFromArray(a->queue, 0);
	}
}

static void on_sent(struct channel *c, bool ok, const char *text, void *context)
{
	struct alert *a = context;
	cJSON *item = next_message(a, c->name);
	log_event(ok ? LOG_LEVEL_NOTICE : LOG_LEVEL_ERROR, "alert",
		"result=%s channel=\"%s\" subject=\"%s\" answer=\"%s\"", ok ? "delivered" : "failed", c->name,
		item ? json_text(json_get(item, "message"), "subject") : "", text);
	bool news = !ok && !c->failures;
	channel_note(c, ok, text, clock_wall(), seconds());
	if (ok && item && strcmp(id_of(item), c->sending) == 0)
		forget(item, c->name);
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
		const cJSON *item = c->errand || c->next > seconds() ? NULL : next_message(a, c->name);
		if (!item)
			continue;
		snprintf(c->sending, sizeof(c->sending), "%s", id_of(item));
		channel_send(c, a->hub->workers, json_get(item, "message"), &handler, a);
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

static void new_id(char id[33])
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
	char id[33], host[256];
	cJSON *item = cJSON_CreateObject(), *pending = cJSON_CreateArray();
	new_id(id);
	host_name(host);
	cJSON *message = alert_message(n, host, id, now);
	for (size_t i = 0; i < a->channel_count; i++)
		if (!is_about(n, a->channels[i].name))
			cJSON_AddItemToArray(pending, cJSON_CreateString(a->channels[i].name));
	log_event(LOG_LEVEL_WARNING, "alert", "conditions=%zu channels=%d subject=\"%s\"", n->count,
		cJSON_GetArraySize(pending), json_text(message, "subject"));
	cJSON_AddItemToObject(item, "message", message);
	cJSON_AddNumberToObject(item, "created", (double)now);
	cJSON_AddItemToObject(item, "pending", pending);
	cJSON_AddItemToArray(a->queue, item);
}

/* Keeps what was told for the status page. */
static void keep_told(struct alert *a, int64_t now)
{
	const cJSON *message = json_get(cJSON_GetArrayItem(a->queue, cJSON_GetArraySize(a->queue) - 1), "message");
	const cJSON *condition;
	cJSON_ArrayForEach (condition, json_get(message, "conditions")) {
		cJSON *copy = cJSON_Duplicate(condition, true);
		cJSON_AddNumberToObject(copy, "when", (double)now);
		cJSON_InsertItemInArray(a->told, 0, copy);
	}
	while (cJSON_GetArraySize(a->told) > ALERT_TOLD_MAX)
		cJSON_DeleteItemFromArray(a->told, ALERT_TOLD_MAX);
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

static void collect_manifests(struct alert *a, struct conditions *out)
{
	if (seconds() >= a->manifests_due) {
		conditions_release(&a->manifests);
		alert_collect_manifests(a->hub, &a->manifests);
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
	const struct condition_policy p = policy(a);
	a->opened =
		a->opened > now ? now : a->opened; /* the clock was set back: nothing is kept for longer than meant */
	alert_collect(a->hub, &a->book, a->opened, now, &seen, &next);
	collect_manifests(a, &seen);
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
		if (!c->errand && c->next < next && next_message(a, c->name))
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

static void add_time(cJSON *o, const char *key, int64_t when)
{
	char text[CLOCK_TEXT_MAX];
	cJSON_AddStringToObject(o, key, when ? clock_text(when, text) : "");
}

cJSON *alert_conditions(const struct hub *hub)
{
	cJSON *list = cJSON_CreateArray();
	for (size_t i = 0; hub->alert && i < hub->alert->book.count; i++) {
		const struct condition_entry *e = &hub->alert->book.entries[i];
		cJSON *o = cJSON_CreateObject();
		cJSON_AddStringToObject(o, "kind", condition_kind_name(e->kind));
		cJSON_AddStringToObject(o, "subject", e->subject);
		cJSON_AddStringToObject(o, "text", e->text);
		cJSON_AddBoolToObject(o, "critical", e->critical);
		add_time(o, "since", e->since);
		add_time(o, "told", e->told);
		cJSON_AddItemToArray(list, o);
	}
	return list;
}

static int waiting(const struct alert *a, const char *channel)
{
	int count = 0;
	const cJSON *item, *name;
	cJSON_ArrayForEach (item, a->queue)
		cJSON_ArrayForEach (name, json_get(item, "pending"))
			count += strcmp(name->valuestring, channel) == 0;
	return count;
}

cJSON *alert_channels(const struct hub *hub)
{
	const struct alert *a = hub->alert;
	cJSON *list = cJSON_CreateArray();
	for (size_t i = 0; a && i < a->channel_count; i++) {
		const struct channel *c = &a->channels[i];
		cJSON *o = cJSON_CreateObject();
		cJSON_AddStringToObject(o, "channel", c->name);
		cJSON_AddNumberToObject(o, "waiting", waiting(a, c->name));
		cJSON_AddNumberToObject(o, "failures", c->failures);
		cJSON_AddStringToObject(o, "error", c->error);
		add_time(o, "since", c->since);
		add_time(o, "next_try",
			c->failures ? clock_wall() + (c->next > seconds() ? c->next - seconds() : 0) : 0);
		cJSON_AddItemToArray(list, o);
	}
	return list;
}

cJSON *alert_told(const struct hub *hub)
{
	return hub->alert ? cJSON_Duplicate(hub->alert->told, true) : cJSON_CreateArray();
}

char *alert_warning(const struct hub *hub)
{
	const struct alert *a = hub->alert;
	char *text = mem_strdup(a && a->crossing ? a->crossing : "");
	for (size_t i = 0; a && i < a->channel_count; i++) {
		const struct channel *c = &a->channels[i];
		if (!c->failures)
			continue;
		char *longer = mem_printf("%s%salerts by %s fail (%d wait): %s", text, text[0] ? "; " : "", c->name,
			waiting(a, c->name), c->error);
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
	if (ok && real && real->failures && !real->errand) { /* mended: what waits goes out */
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

/* The answer is passed on from a turn of the loop of its own, since an errand's handler frees the errand after it. */
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
	char id[33], host[256];
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
	auto_json cJSON *message = alert_test_message(host, id, clock_wall());
	for (size_t i = 0; i < a->test_count; i++)
		channel_send(&a->test[i], hub->workers, message, &on_channel, a);
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
	a->queue = cJSON_CreateArray();
	a->told = cJSON_CreateArray();
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
	channels_free(a->channels, a->channel_count);
	channels_free(a->test, a->test_count);
	condition_book_release(&a->book);
	conditions_release(&a->manifests);
	cJSON_Delete(a->queue);
	cJSON_Delete(a->told);
	free(a->crossing);
	event_free(a->timer);
	free(a);
}
