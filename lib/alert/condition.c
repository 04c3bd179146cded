#include "lib/alert/condition.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[CONDITION_KINDS] = {
	[CONDITION_EXPIRING] = "expiring",
	[CONDITION_RENEWAL] = "renewal",
	[CONDITION_AUTHORITY] = "authority",
	[CONDITION_SOURCE] = "source",
	[CONDITION_ROLLOUT] = "rollout",
	[CONDITION_AWAY] = "away",
	[CONDITION_CLONE] = "clone",
	[CONDITION_ROTATION] = "rotation",
	[CONDITION_OLD_KEY] = "old-key",
	[CONDITION_KEYS] = "keys",
	[CONDITION_SIGNING] = "signing-key",
	[CONDITION_AHEAD] = "ahead",
	[CONDITION_DRIFT] = "drift",
	[CONDITION_CONTRADICTION] = "contradiction",
	[CONDITION_MISMATCH] = "mismatch",
	[CONDITION_UNTRUSTED] = "untrusted",
	[CONDITION_UNREACHABLE] = "unreachable",
	[CONDITION_STORE] = "store",
	[CONDITION_CLOCK] = "clock",
	[CONDITION_CHANNEL] = "channel",
};

const char *condition_kind_name(enum condition_kind kind)
{
	return names[kind];
}

/* ---- a round ---- */

void conditions_release(struct conditions *c)
{
	for (size_t i = 0; i < c->count; i++) {
		free(c->list[i].subject);
		free(c->list[i].text);
	}
	free(c->list);
	*c = (struct conditions){0};
}

static char *cut(const char *text, size_t max)
{
	char *copy = mem_strndup(text, strnlen(text, max - 1));
	text_clean(copy, 0);
	return copy;
}

void conditions_add(
	struct conditions *c, enum condition_kind kind, bool critical, const char *subject, const char *fmt, ...)
{
	char text[CONDITION_TEXT_MAX];
	va_list args;
	if (c->count == CONDITIONS_MAX)
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if ((c->count & (c->count + 1)) == 0 || !c->list) /* room for the next power of two */
		c->list = mem_grow(c->list, 2 * c->count + 2, sizeof(*c->list));
	c->list[c->count++] = (struct condition){.kind = kind,
		.critical = critical,
		.subject = cut(subject, CONDITION_SUBJECT_MAX),
		.text = cut(text, CONDITION_TEXT_MAX)};
}

/* ---- the book ---- */

static void entry_release(struct condition_entry *e)
{
	free(e->subject);
	free(e->text);
}

static struct condition_entry entry_copy(const struct condition_entry *e)
{
	struct condition_entry copy = *e;
	copy.subject = mem_strdup(e->subject);
	copy.text = mem_strdup(e->text);
	return copy;
}

void condition_book_release(struct condition_book *b)
{
	for (size_t i = 0; i < b->count; i++)
		entry_release(&b->entries[i]);
	free(b->entries);
	*b = (struct condition_book){0};
}

cJSON *condition_book_encode(const struct condition_book *b)
{
	cJSON *record = cJSON_CreateObject();
	cJSON *list = cJSON_AddArrayToObject(record, "conditions");
	for (size_t i = 0; i < b->count; i++) {
		const struct condition_entry *e = &b->entries[i];
		cJSON *o = cJSON_CreateObject();
		cJSON_AddStringToObject(o, "kind", names[e->kind]);
		cJSON_AddStringToObject(o, "subject", e->subject);
		cJSON_AddStringToObject(o, "text", e->text);
		cJSON_AddBoolToObject(o, "critical", e->critical);
		cJSON_AddBoolToObject(o, "told_critical", e->told_critical);
		cJSON_AddNumberToObject(o, "since", (double)e->since);
		cJSON_AddNumberToObject(o, "told", (double)e->told);
		cJSON_AddItemToArray(list, o);
	}
	return record;
}

/* Takes a word out of a list of them as its number. A word that only a later version knows is an error too. */
static int take_word(const cJSON *o, const char *key, const char *const *words, int count, int *ret, struct error *err)
{
	const char *word = json_string(o, key, 32, err);
	if (!word)
		return -1;
	for (*ret = 0; *ret < count; ++*ret)
		if (strcmp(words[*ret], word) == 0)
			return 0;
	return error_set(err, ERROR_PERMANENT, "%s: \"%s\" is not known", key, word);
}

/* Takes what the book and the messages say alike; the texts last, so that nothing is owned after a fault. */
static int take_condition(const cJSON *o, struct condition_entry *ret, struct error *err)
{
	int kind;
	const char *subject = json_string(o, "subject", CONDITION_SUBJECT_MAX - 1, err);
	const char *text = subject ? json_string(o, "text", CONDITION_TEXT_MAX - 1, err) : NULL;
	if (!text || json_bool(o, "critical", &ret->critical, err) < 0 ||
		take_word(o, "kind", names, CONDITION_KINDS, &kind, err) < 0)
		return -1;
	ret->kind = (enum condition_kind)kind;
	ret->subject = mem_strdup(subject);
	ret->text = mem_strdup(text);
	return 0;
}

static int entry_decode(const cJSON *o, struct condition_entry *ret, struct error *err)
{
	if (json_bool(o, "told_critical", &ret->told_critical, err) < 0 || json_i64(o, "since", &ret->since, err) < 0 ||
		json_i64(o, "told", &ret->told, err) < 0)
		return -1;
	return take_condition(o, ret, err);
}

static int entry_compare(const void *left, const void *right)
{
	const struct condition_entry *a = left, *b = right;
	return a->kind != b->kind ? (a->kind < b->kind ? -1 : 1) : strcmp(a->subject, b->subject);
}

int condition_book_decode(const cJSON *record, struct condition_book *ret, struct error *err)
{
	const cJSON *element, *list = json_array(record, "conditions", CONDITIONS_MAX, err);
	*ret = (struct condition_book){0};
	if (!list)
		return -1;
	ret->entries = mem_array((size_t)cJSON_GetArraySize(list), sizeof(*ret->entries));
	cJSON_ArrayForEach (element, list) {
		if (entry_decode(element, &ret->entries[ret->count], err) < 0) {
			condition_book_release(ret);
			return -1;
		}
		ret->count++;
	}
	qsort(ret->entries, ret->count, sizeof(*ret->entries), entry_compare);
	return 0;
}

/* ---- telling ---- */

static const char *const events[] = {
	[CONDITION_RAISED] = "raised",
	[CONDITION_WORSE] = "worse",
	[CONDITION_REPEATED] = "repeated",
	[CONDITION_RESOLVED] = "resolved",
};

const char *condition_event_name(enum condition_event event)
{
	return events[event];
}

void condition_told_copy(const struct condition_told *t, struct condition_told *ret)
{
	*ret = (struct condition_told){t->event, entry_copy(&t->entry), t->lasted};
}

void condition_told_release(struct condition_told *t)
{
	entry_release(&t->entry);
	*t = (struct condition_told){0};
}

cJSON *condition_told_encode(const struct condition_told *t)
{
	char since[CLOCK_TEXT_MAX];
	const struct condition_entry *e = &t->entry;
	cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "event", events[t->event]);
	cJSON_AddStringToObject(o, "kind", names[e->kind]);
	cJSON_AddStringToObject(o, "subject", e->subject);
	cJSON_AddStringToObject(o, "text", e->text);
	cJSON_AddBoolToObject(o, "critical", e->critical);
	cJSON_AddStringToObject(o, "since", clock_text(e->since, since));
	cJSON_AddNumberToObject(o, "lasted", (double)t->lasted);
	return o;
}

int condition_told_decode(const cJSON *o, struct condition_told *ret, struct error *err)
{
	int event;
	*ret = (struct condition_told){0};
	const char *since = json_string(o, "since", CLOCK_TEXT_MAX - 1, err);
	if (!since || json_i64(o, "lasted", &ret->lasted, err) < 0 ||
		take_word(o, "event", events, COUNT(events), &event, err) < 0)
		return -1;
	if (!clock_parse(since, &ret->entry.since))
		return error_set(err, ERROR_PERMANENT, "since: \"%s\" is no time", since);
	ret->event = (enum condition_event)event;
	return take_condition(o, &ret->entry, err);
}

void condition_notice_release(struct condition_notice *n)
{
	for (size_t i = 0; i < n->count; i++)
		condition_told_release(&n->told[i]);
	free(n->told);
	*n = (struct condition_notice){0};
}

static void tell(struct condition_notice *out, enum condition_event event, const struct condition_entry *e, int64_t now)
{
	out->told = mem_grow(out->told, out->count + 1, sizeof(*out->told));
	out->told[out->count++] = (struct condition_told){event, entry_copy(e), now - e->since};
}

/* Returns when the condition is to be told next; *ret says as what. */
static int64_t due(const struct condition_entry *e, const struct condition_policy *policy, enum condition_event *ret)
{
	*ret = CONDITION_RAISED;
	if (!e->told)
		return e->since + policy->hold;
	*ret = CONDITION_WORSE;
	if (e->critical && !e->told_critical)
		return e->told;
	*ret = CONDITION_REPEATED;
	return policy->repeat ? e->told + policy->repeat : INT64_MAX;
}

int64_t condition_next(const struct condition_book *b, const struct condition_policy *policy)
{
	int64_t best = INT64_MAX;
	enum condition_event ignored;
	for (size_t i = 0; i < b->count; i++) {
		int64_t when = due(&b->entries[i], policy, &ignored);
		best = when < best ? when : best;
	}
	return best;
}

static bool tell_due(
	struct condition_book *b, const struct condition_policy *policy, int64_t now, struct condition_notice *out)
{
	enum condition_event event;
	if (condition_next(b, policy) > now)
		return false;
	for (size_t i = 0; i < b->count; i++) {
		struct condition_entry *e = &b->entries[i];
		int64_t when = due(e, policy, &event);
		if (when == INT64_MAX || when - CONDITION_GROUP > now)
			continue;
		tell(out, event, e, now);
		e->told = now;
		e->told_critical = e->critical;
	}
	return true;
}

/* Makes the entry of a condition that is new. */

static struct condition_entry entry_of(const struct condition *c, int64_t now)
{
	return (struct condition_entry){.kind = c->kind,
		.critical = c->critical,
		.subject = mem_strdup(c->subject),
		.text = mem_strdup(c->text),
		.since = now};
}

/* The condition still holds, but what it says may have changed. Returns whether the entry did. */
static bool refresh(struct condition_entry *e, const struct condition *c, int64_t now)
{
	bool changed = e->critical != c->critical || strcmp(e->text, c->text) != 0 || e->since > now || e->told > now;
	if (!changed)
		return false;
	free(e->text);
	e->text = mem_strdup(c->text);
	e->critical = c->critical;
	e->since = e->since > now ? now : e->since;
	e->told = e->told > now ? now : e->told;
	return true;
}

static int seen_compare(const void *left, const void *right)
{
	const struct condition *const *a = left, *const *b = right;
	if ((*a)->kind != (*b)->kind)
		return (*a)->kind < (*b)->kind ? -1 : 1;
	int order = strcmp((*a)->subject, (*b)->subject);
	return order ? order : *a < *b ? -1 : *a > *b;
}

static int against(const struct condition_entry *e, const struct condition *c)
{
	return e->kind != c->kind ? (e->kind < c->kind ? -1 : 1) : strcmp(e->subject, c->subject);
}

/* Returns pointers into the round, sorted like the book, with each kind and subject once. */
static const struct condition **sorted(const struct conditions *seen, size_t *ret_count)
{
	const struct condition **list = mem_array(seen->count, sizeof(const struct condition *));
	size_t count = 0;
	for (size_t i = 0; i < seen->count; i++)
		list[i] = &seen->list[i];
	if (seen->count)
		qsort(list, seen->count, sizeof(const struct condition *), seen_compare);
	for (size_t i = 0; i < seen->count; i++)
		if (!count || list[i]->kind != list[count - 1]->kind ||
			strcmp(list[i]->subject, list[count - 1]->subject) != 0)
			list[count++] = list[i];
	*ret_count = count;
	return list;
}

bool condition_round(struct condition_book *b, const struct conditions *seen, const struct condition_policy *policy,
	int64_t now, struct condition_notice *out)
{
	size_t count, at = 0;
	bool changed = false;
	auto_free const struct condition **list = sorted(seen, &count);
	struct condition_book next = {.entries = mem_array(count, sizeof(*next.entries))};
	struct condition_notice resolved = {0};
	for (size_t i = 0; i < b->count || at < count;) {
		int order = i == b->count ? 1 : at == count ? -1 : against(&b->entries[i], list[at]);
		changed |= order != 0;
		if (order < 0) { /* ended */
			if (b->entries[i].told)
				tell(&resolved, CONDITION_RESOLVED, &b->entries[i], now);
			entry_release(&b->entries[i++]);
		} else if (order > 0) {
			next.entries[next.count++] = entry_of(list[at++], now);
		} else {
			changed |= refresh(&b->entries[i], list[at++], now);
			next.entries[next.count++] = b->entries[i++];
		}
	}
	free(b->entries);
	*b = next;
	changed |= tell_due(b, policy, now, out);
	for (size_t i = 0; i < resolved.count; i++)
		tell(out, CONDITION_RESOLVED, &resolved.told[i].entry,
			resolved.told[i].entry.since + resolved.told[i].lasted);
	condition_notice_release(&resolved);
	return changed;
}
