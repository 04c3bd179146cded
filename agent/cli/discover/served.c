#include "agent/cli/discover/served.h"
#include "lib/core/mem.h"
#include "lib/probe/probe.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A service gives one address only so many connections at once, Courier's POP3 four, and a guess is not waited for long. */
enum { AT_ONCE_MAX = 3, GUESS_SECONDS = 2 };

static const enum probe_key keys[SERVED_KINDS] = {PROBE_RSA_KEY, PROBE_ECDSA_KEY, PROBE_ANY_KEY};

void served_release(struct served *s)
{
	for (size_t i = 0; i < s->count; i++) {
		free(s->list[i].name);
		for (size_t k = 0; k < SERVED_KINDS; k++)
			present_release(&s->list[i].by[k].present);
	}
	free(s->list);
	*s = (struct served){0};
}

bool served_is(const struct served_leaf *leaf, const uint8_t fingerprint[CHAIN_SHA256_SIZE])
{
	return leaf->served && memcmp(leaf->present.leaves[0].fingerprint, fingerprint, CHAIN_SHA256_SIZE) == 0;
}

bool served_same(const struct served_leaf *a, const struct served_leaf *b)
{
	return a->served == b->served && (!a->served || served_is(a, b->present.leaves[0].fingerprint));
}

bool served_any(const struct served_look *look)
{
	for (size_t k = 0; k < SERVED_KINDS; k++)
		if (look->by[k].served)
			return true;
	return false;
}

/* ---- many handshakes ---- */

/* One question; `leaf` gets the answer. */
struct ask {
	const char *endpoint, *name;
	enum probe_key key;
	struct served_leaf *leaf;
	enum probe_state state;
	struct asking *all;
};

struct asking {
	struct event_base *base;
	struct ask *list;
	size_t count, next;
	int timeout_ms;
};

static void begin_next(struct asking *a);

static void on_answer(void *context, const struct probe_result *result)
{
	struct ask *ask = context;
	struct served_leaf *leaf = ask->leaf;
	ask->state = result->state;
	present_release(&leaf->present);
	*leaf = (struct served_leaf){.served = result->state == PROBE_SERVED};
	if (leaf->served)
		present_take(result->leaf, &leaf->present);
	else
		snprintf(leaf->text, sizeof(leaf->text), "%.255s", result->error.message);
	text_clean(leaf->text, 0); /* a cut may have gone through a character */
	begin_next(ask->all);
}

static void begin_next(struct asking *a)
{
	struct endpoint endpoint;
	struct error err;
	while (a->next < a->count) {
		struct ask *ask = &a->list[a->next++];
		if (endpoint_parse(ask->endpoint, &endpoint, &err) == 0) {
			probe_start_key(a->base, &endpoint, ask->name, ask->key, a->timeout_ms, on_answer, ask);
			return;
		}
		ask->state = PROBE_REFUSED;
		snprintf(ask->leaf->text, sizeof(ask->leaf->text), "%.255s", err.message);
	}
}

static int ask_all(struct ask *list, size_t count, int64_t timeout, struct error *err)
{
	struct asking a = {.list = list, .count = count, .timeout_ms = (int)(timeout * 1000)};
	if (count == 0)
		return 0;
	a.base = event_base_new();
	if (!a.base)
		return error_set(err, ERROR_RETRY, "cannot make an event loop");
	for (size_t i = 0; i < count; i++)
		list[i].all = &a;
	for (int i = 0; i < AT_ONCE_MAX; i++)
		begin_next(&a);
	event_base_dispatch(a.base);
	event_base_free(a.base);
	return 0;
}

static int ask_kinds(struct served *s, enum served_kind from, enum served_kind to, int64_t timeout, struct error *err)
{
	auto_free struct ask *list = mem_array(s->count * SERVED_KINDS + 1, sizeof(*list));
	size_t count = 0;
	for (size_t i = 0; i < s->count; i++)
		for (size_t k = from; k <= to; k++)
			if (k != SERVED_OTHER || !served_any(&s->list[i]))
				list[count++] = (struct ask){.endpoint = s->list[i].endpoint,
					.name = s->list[i].name,
					.key = keys[k],
					.leaf = &s->list[i].by[k]};
	return ask_all(list, count, timeout, err);
}

int served_look_at(struct served *s, int64_t timeout, struct error *err)
{
	for (size_t i = 0; i < s->count; i++)
		s->list[i].by[SERVED_OTHER].served = false;
	if (ask_kinds(s, SERVED_RSA, SERVED_ECDSA, timeout, err) < 0)
		return -1;
	return ask_kinds(s, SERVED_OTHER, SERVED_OTHER, timeout, err);
}

/* ---- what is to be looked at ---- */

/* "127.0.0.1:10025+proxy" and "127.0.0.1:10025/smtp+proxy" are the same. */
static bool is_same_endpoint(const char *x, const char *y)
{
	struct endpoint a, b;
	struct error err;
	if (strcmp(x, y) == 0)
		return true;
	return endpoint_parse(x, &a, &err) == 0 && endpoint_parse(y, &b, &err) == 0 && a.protocol == b.protocol &&
		a.inner == b.inner && a.proxy == b.proxy && a.address_len == b.address_len &&
		memcmp(&a.address, &b.address, a.address_len) == 0;
}

static bool is_at(const struct served_look *look, const char *service, const char *endpoint, const char *name)
{
	return strcmp(look->service, service) == 0 && is_same_endpoint(look->endpoint, endpoint) &&
		(look->name && name ? strcasecmp(look->name, name) == 0 : look->name == name);
}

static struct served_look *append(struct served *s, const char *service, const char *endpoint, const char *name)
{
	if (s->count == SERVED_LOOKS_MAX) {
		s->left_out++;
		return NULL;
	}
	s->list = mem_grow(s->list, s->count + 1, sizeof(*s->list));
	struct served_look *look = &s->list[s->count++];
	*look = (struct served_look){.service = service, .name = name ? mem_strdup(name) : NULL};
	snprintf(look->endpoint, sizeof(look->endpoint), "%s", endpoint);
	return look;
}

struct served_look *served_add(struct served *s, const char *service, const char *endpoint, const char *name)
{
	for (size_t i = 0; i < s->count; i++)
		if (is_at(&s->list[i], service, endpoint, name))
			return &s->list[i];
	return append(s, service, endpoint, name);
}

void served_copy(const struct served *from, struct served *ret)
{
	*ret = (struct served){0};
	for (size_t i = 0; i < from->count; i++)
		append(ret, from->list[i].service, from->list[i].endpoint, from->list[i].name);
}

/* The names of what it presents are asked for, too: a client that comes for one of them is to get it tomorrow. */
static void take_names(struct found_service *s, const char *const *names)
{
	for (size_t i = 0; names[i]; i++)
		found_name(s, names[i]);
	for (size_t i = 0; i < s->use_count; i++) {
		auto_present struct present p = {0};
		struct error ignored;
		if (!found_presents(&s->uses[i]) || present_read(s->uses[i].path, &p, &ignored) < 0)
			continue;
		for (size_t k = 0; k < p.name_count; k++)
			found_name(s, p.names[k]);
	}
}

/* An endpoint with each way in which it may speak. */
struct way {
	char text[ENDPOINT_TEXT_MAX];
	struct served_leaf named, nameless;
	struct ask *asks; /* borrowed: the two questions */
};

static const char *const guesses[] = {"", "/smtp", "/imap", "/pop3", "/sieve"};

static void add_looks(struct served *ret, const struct found_service *s, const char *endpoint, bool explained, bool all)
{
	size_t from = ret->count;
	append(ret, s->name, endpoint, NULL);
	for (size_t i = 0; all && i < s->name_count; i++)
		append(ret, s->name, endpoint, s->names[i]);
	for (size_t i = from; i < ret->count; i++)
		ret->list[i].explained = explained;
}

/* Adds the looks at one endpoint: where it answers with TLS, all names. One that its configuration explains counts in
 * any case, since it may want one of its names. */
static void add_endpoint(
	struct served *ret, const struct found_service *s, const struct endpoint_found *e, const struct way *ways)
{
	for (size_t i = 0; i < COUNT(guesses); i++)
		if (ways[i].named.served || ways[i].nameless.served) {
			add_looks(ret, s, ways[i].text, e->explained, true);
			return;
		}
	if (e->explained)
		add_looks(ret, s, e->text, true, ways[0].asks[0].state == PROBE_PROTOCOL);
}

static int find_service(struct found_service *s, const struct listening *l, const char *const *names, int64_t timeout,
	struct served *ret, struct error *err)
{
	struct endpoints_found e;
	endpoints_find(s, l, &e);
	take_names(s, names);
	auto_free struct endpoint_found *owned = e.list;
	auto_free struct way *ways = mem_array(e.count * COUNT(guesses) + 1, sizeof(*ways));
	auto_free struct ask *asks = mem_array(2 * e.count * COUNT(guesses) + 1, sizeof(*asks));
	size_t count = 0;
	bool guessed = false;
	for (size_t i = 0; i < e.count; i++)
		for (size_t g = 0; g < COUNT(guesses) && (g == 0 || !owned[i].explained); g++) {
			struct way *w = &ways[i * COUNT(guesses) + g];
			snprintf(w->text, sizeof(w->text), "%s%s", owned[i].text, guesses[g]);
			w->asks = &asks[count];
			guessed = guessed || !owned[i].explained;
			const char *name = s->name_count ? s->names[0] : NULL;
			asks[count++] = (struct ask){.endpoint = w->text, .name = name, .leaf = &w->named};
			asks[count++] = (struct ask){.endpoint = w->text, .leaf = &w->nameless};
		}
	int result = ask_all(asks, count, guessed && timeout > GUESS_SECONDS ? GUESS_SECONDS : timeout, err);
	for (size_t i = 0; result == 0 && i < e.count; i++)
		add_endpoint(ret, s, &owned[i], &ways[i * COUNT(guesses)]);
	for (size_t i = 0; i < e.count * COUNT(guesses); i++) {
		present_release(&ways[i].named.present);
		present_release(&ways[i].nameless.present);
	}
	return result;
}

int served_find(struct found *found, const struct listening *l, const char *const *names, int64_t timeout,
	struct served *ret, struct error *err)
{
	*ret = (struct served){0};
	for (size_t i = 0; i < found->count; i++)
		if (find_service(&found->services[i], l, names, timeout, ret, err) < 0)
			return -1;
	return 0;
}
