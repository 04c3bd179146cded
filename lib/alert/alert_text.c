#include "lib/alert/alert_text.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What conditions of a kind are about, as in "1 endpoint" and "2 endpoints". */
static const struct {
	const char *problem; /* after a subject: "mail: away" */
	const char *one, *many;
} words[CONDITION_KINDS] = {
	[CONDITION_EXPIRING] = {"expiring", "certificate", "certificates"},
	[CONDITION_RENEWAL] = {"renewal fails", "certificate", "certificates"},
	[CONDITION_AUTHORITY] = {"other authority", "certificate", "certificates"},
	[CONDITION_SOURCE] = {"watched path", "certificate", "certificates"},
	[CONDITION_ROLLOUT] = {"rollout", "agent", "agents"},
	[CONDITION_AWAY] = {"away", "agent", "agents"},
	[CONDITION_CLONE] = {"clone", "agent", "agents"},
	[CONDITION_ROTATION] = {"keys in rotation", "agent", "agents"},
	[CONDITION_OLD_KEY] = {"an old key is used", "agent", "agents"},
	[CONDITION_KEYS] = {"keys were changed", "change", "changes"},
	[CONDITION_SIGNING] = {"signing key", "problem", "problems"},
	[CONDITION_AHEAD] = {"ahead of the hub", "agent", "agents"},
	[CONDITION_DRIFT] = {"drift", "agent", "agents"},
	[CONDITION_CONTRADICTION] = {"contradiction", "agent", "agents"},
	[CONDITION_MISMATCH] = {"mismatch", "endpoint", "endpoints"},
	[CONDITION_UNTRUSTED] = {"untrusted", "endpoint", "endpoints"},
	[CONDITION_UNREACHABLE] = {"unreachable", "endpoint", "endpoints"},
	[CONDITION_STORE] = {"store", "problem", "problems"},
	[CONDITION_CLOCK] = {"clock", "agent", "agents"},
	[CONDITION_CHANNEL] = {"cannot be told", "channel", "channels"},
};

/* Returns the length of the first word: the name of an endpoint, or the certificate of "certificate agent". */
static size_t head(const char *subject)
{
	return strcspn(subject, " ");
}

static bool same_head(const char *a, const char *b)
{
	return head(a) == head(b) && strncmp(a, b, head(a)) == 0;
}

static bool is_over(const struct condition_told *t)
{
	return t->event == CONDITION_RESOLVED;
}

static void say_one(const struct condition_told *t, bool resolved, char ret[ALERT_SUBJECT_MAX])
{
	const char *subject = t->entry.subject;
	size_t len = head(subject);
	snprintf(ret, ALERT_SUBJECT_MAX, "certsync: %s%.*s: %s%s%s", resolved ? "resolved: " : "", (int)len, subject,
		words[t->entry.kind].problem, subject[len] ? ", " : "", subject[len] ? subject + len + 1 : "");
}

/* Says what is told when all of it is of one kind. */
static void say_kind(const struct condition_notice *n, size_t count, bool resolved, char ret[ALERT_SUBJECT_MAX])
{
	const struct condition_entry *first = &n->told[0].entry;
	bool one_name = true;
	for (size_t i = 1; i < count; i++)
		one_name = one_name && same_head(first->subject, n->told[i].entry.subject);
	snprintf(ret, ALERT_SUBJECT_MAX, "certsync: %s%.*s%s%s on %zu %s", resolved ? "resolved: " : "",
		one_name ? (int)head(first->subject) : 0, first->subject, one_name ? ": " : "",
		words[first->kind].problem, count, words[first->kind].many);
}

static void say_mixed(const struct condition_notice *n, size_t count, bool resolved, char ret[ALERT_SUBJECT_MAX])
{
	size_t used = (size_t)snprintf(
		ret, ALERT_SUBJECT_MAX, "certsync: %s%zu problems:", resolved ? "resolved: " : "", count);
	const char *separator = " ";
	for (int kind = 0; kind < CONDITION_KINDS; kind++) {
		size_t of_kind = 0;
		for (size_t i = 0; i < count; i++)
			of_kind += n->told[i].entry.kind == (enum condition_kind)kind;
		if (!of_kind || used >= ALERT_SUBJECT_MAX)
			continue;
		used += (size_t)snprintf(
			ret + used, ALERT_SUBJECT_MAX - used, "%s%s (%zu)", separator, words[kind].problem, of_kind);
		separator = ", ";
	}
}

void alert_subject(const struct condition_notice *n, char ret[ALERT_SUBJECT_MAX])
{
	size_t open = 0;
	while (open < n->count && !is_over(&n->told[open]))
		open++;
	/* What is wrong now decides the subject; what is over along with it is in the text. */
	size_t count = open ? open : n->count;
	bool one_kind = true;
	for (size_t i = 1; i < count; i++)
		one_kind = one_kind && n->told[i].entry.kind == n->told[0].entry.kind;
	if (count == 1)
		say_one(&n->told[0], !open, ret);
	else if (one_kind)
		say_kind(n, count, !open, ret);
	else
		say_mixed(n, count, !open, ret);
	text_clean(ret, 0);
}

/* Returns false when there is no room left. */
static bool add_told(struct buf *body, struct alert_message *m, const struct condition_told *t)
{
	char lasted[CLOCK_TEXT_MAX], since[CLOCK_TEXT_MAX];
	const struct condition_entry *e = &t->entry;
	clock_span(t->lasted * 1000, lasted);
	clock_text(e->since, since);
	auto_free char *line = is_over(t)
		? mem_printf("RESOLVED after %s: %s: %s\n  It was: %s\n\n", lasted, e->subject, words[e->kind].problem,
			  e->text)
		: mem_printf("%s: %s: %s\n  %s\n  Since %s%s%s.\n\n", e->critical ? "CRITICAL" : "WARNING", e->subject,
			  words[e->kind].problem, e->text, since,
			  t->event == CONDITION_REPEATED ? ", it goes on after " : "",
			  t->event == CONDITION_REPEATED ? lasted : "");
	if (buf_add(body, line, strlen(line)) < 0)
		return false;
	condition_told_copy(t, &m->conditions[m->count++]);
	return true;
}

static void begin(
	struct alert_message *m, const char *subject, const char *text, const char *hub, const char *id, int64_t now)
{
	m->text = mem_printf("%s\n\n%s", subject, text);
	m->subject = mem_strdup(subject);
	m->hub = mem_strdup(hub);
	m->time = now;
	snprintf(m->id, sizeof(m->id), "%s", id);
}

void alert_message_make(
	const struct condition_notice *n, const char *hub, const char *id, int64_t now, struct alert_message *ret)
{
	char subject[ALERT_SUBJECT_MAX];
	auto_buf struct buf body = BUF_INIT(ALERT_BODY_MAX);
	*ret = (struct alert_message){.conditions = mem_array(n->count, sizeof(*ret->conditions))};
	alert_subject(n, subject);
	for (size_t i = 0; i < n->count; i++)
		ret->critical = ret->critical || (n->told[i].entry.critical && !is_over(&n->told[i]));
	while (ret->count < n->count && add_told(&body, ret, &n->told[ret->count]))
		;
	ret->more = (uint32_t)(n->count - ret->count);
	auto_free char *more = mem_printf("And %u more, which \"certsync alert list\" shows.\n", ret->more);
	auto_free char *text = mem_printf("%s%s", buf_text(&body), ret->more ? more : "");
	begin(ret, subject, text, hub, id, now);
}

void alert_message_test(const char *hub, const char *id, int64_t now, struct alert_message *ret)
{
	*ret = (struct alert_message){0};
	begin(ret, "certsync: test", "This is a test: alerts of this hub arrive here.\n", hub, id, now);
}

void alert_message_release(struct alert_message *m)
{
	for (size_t i = 0; i < m->count; i++)
		condition_told_release(&m->conditions[i]);
	free(m->conditions);
	free(m->text);
	free(m->subject);
	free(m->hub);
	*m = (struct alert_message){0};
}

/* ---- encoder and decoder ---- */

cJSON *alert_message_encode(const struct alert_message *m)
{
	char when[CLOCK_TEXT_MAX];
	cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "text", m->text);
	cJSON_AddStringToObject(o, "subject", m->subject);
	cJSON_AddStringToObject(o, "hub", m->hub);
	cJSON_AddStringToObject(o, "id", m->id);
	cJSON_AddStringToObject(o, "time", clock_text(m->time, when));
	cJSON_AddBoolToObject(o, "critical", m->critical);
	cJSON_AddNumberToObject(o, "more", m->more);
	cJSON *list = cJSON_AddArrayToObject(o, "conditions");
	for (size_t i = 0; i < m->count; i++)
		cJSON_AddItemToArray(list, condition_told_encode(&m->conditions[i]));
	return o;
}

static int take_texts(const cJSON *o, struct alert_message *ret, struct error *err)
{
	const char *text = json_string(o, "text", ALERT_TEXT_MAX, err);
	const char *subject = text ? json_string(o, "subject", ALERT_SUBJECT_MAX, err) : NULL;
	const char *hub = subject ? json_string(o, "hub", ALERT_TEXT_MAX, err) : NULL;
	const char *id = hub ? json_string(o, "id", sizeof(ret->id) - 1, err) : NULL;
	const char *time = id ? json_string(o, "time", CLOCK_TEXT_MAX - 1, err) : NULL;
	if (!time)
		return -1;
	if (!clock_parse(time, &ret->time))
		return error_set(err, ERROR_PERMANENT, "time: \"%s\" is no time", time);
	ret->text = mem_strdup(text);
	ret->subject = mem_strdup(subject);
	ret->hub = mem_strdup(hub);
	snprintf(ret->id, sizeof(ret->id), "%s", id);
	return 0;
}

static int take_conditions(const cJSON *o, struct alert_message *ret, struct error *err)
{
	const cJSON *element, *list = json_array(o, "conditions", CONDITIONS_MAX, err);
	if (!list)
		return -1;
	ret->conditions = mem_array((size_t)cJSON_GetArraySize(list), sizeof(*ret->conditions));
	cJSON_ArrayForEach (element, list) {
		if (condition_told_decode(element, &ret->conditions[ret->count], err) < 0)
			return error_wrap(err, "conditions");
		ret->count++;
	}
	return 0;
}

int alert_message_decode(const cJSON *o, struct alert_message *ret, struct error *err)
{
	*ret = (struct alert_message){0};
	if (take_texts(o, ret, err) == 0 && json_bool(o, "critical", &ret->critical, err) == 0 &&
		json_u32(o, "more", &ret->more, err) == 0 && take_conditions(o, ret, err) == 0)
		return 0;
	alert_message_release(ret);
	return -1;
}
