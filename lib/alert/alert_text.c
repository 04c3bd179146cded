#include "lib/alert/alert_text.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <string.h>

/* What conditions of a kind are about, as in "1 endpoint" and "2 endpoints". */
static const struct {
	const char *problem; /* after a subject: "mail: away" */
	const char *one, *many;
} words[CONDITION_KINDS] = {
	[CONDITION_EXPIRING] = {"expiring", "certificate", "certificates"},
	[CONDITION_RENEWAL] = {"renewal fails", "certificate", "certificates"},
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

static const char *const events[] = {
	[CONDITION_RAISED] = "raised",
	[CONDITION_WORSE] = "worse",
	[CONDITION_REPEATED] = "repeated",
	[CONDITION_RESOLVED] = "resolved",
};

/* Returns false when there is no room left. */
static bool add_told(struct buf *body, cJSON *list, const struct condition_told *t)
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
	cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "event", events[t->event]);
	cJSON_AddStringToObject(o, "kind", condition_kind_name(e->kind));
	cJSON_AddStringToObject(o, "subject", e->subject);
	cJSON_AddStringToObject(o, "text", e->text);
	cJSON_AddBoolToObject(o, "critical", e->critical);
	cJSON_AddStringToObject(o, "since", since);
	cJSON_AddNumberToObject(o, "lasted", (double)t->lasted);
	cJSON_AddItemToArray(list, o);
	return true;
}

static cJSON *new_message(const char *subject, const char *text, const char *hub, const char *id, int64_t now)
{
	char when[CLOCK_TEXT_MAX];
	cJSON *o = cJSON_CreateObject();
	auto_free char *whole = mem_printf("%s\n\n%s", subject, text);
	cJSON_AddStringToObject(o, "text", whole);
	cJSON_AddStringToObject(o, "subject", subject);
	cJSON_AddStringToObject(o, "hub", hub);
	cJSON_AddStringToObject(o, "id", id);
	cJSON_AddStringToObject(o, "time", clock_text(now, when));
	return o;
}

cJSON *alert_message(const struct condition_notice *n, const char *hub, const char *id, int64_t now)
{
	char subject[ALERT_SUBJECT_MAX];
	auto_buf struct buf body = BUF_INIT(ALERT_BODY_MAX);
	cJSON *list = cJSON_CreateArray();
	bool critical = false;
	size_t shown = 0;
	alert_subject(n, subject);
	for (size_t i = 0; i < n->count; i++)
		critical = critical || (n->told[i].entry.critical && !is_over(&n->told[i]));
	while (shown < n->count && add_told(&body, list, &n->told[shown]))
		shown++;
	auto_free char *more = mem_printf("And %zu more, which \"certsync alert list\" shows.\n", n->count - shown);
	auto_free char *text = mem_printf("%s%s", buf_text(&body), shown < n->count ? more : "");
	cJSON *o = new_message(subject, text, hub, id, now);
	cJSON_AddBoolToObject(o, "critical", critical);
	cJSON_AddNumberToObject(o, "more", (double)(n->count - shown));
	cJSON_AddItemToObject(o, "conditions", list);
	return o;
}

cJSON *alert_test_message(const char *hub, const char *id, int64_t now)
{
	cJSON *o = new_message("certsync: test", "This is a test: alerts of this hub arrive here.\n", hub, id, now);
	cJSON_AddBoolToObject(o, "critical", false);
	cJSON_AddNumberToObject(o, "more", 0);
	cJSON_AddArrayToObject(o, "conditions");
	return o;
}
