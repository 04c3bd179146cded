#include "hub/worker/acme/propagation.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"

#include <stdlib.h>
#include <string.h>

enum { GRACE_MS = 30 * 1000, PAUSE_FIRST_MS = 100, PAUSE_LAST_MS = 5000, LIST_MAX = 900 };

struct probed {
	enum lookup_view view;
	bool this_round; /* asked, or known not to answer, in the round under way */
	char text[LOOKUP_TEXT_MAX];
};

/* A record, and what each server of its zone says of it. */
struct sight {
	const struct dns_record *record;
	struct lookup_zone zone;
	struct probed *views;
};

struct shown {
	struct sight *sights;
	size_t count;
	char told[LOOKUP_NAME_MAX + 2 * LOOKUP_TEXT_MAX]; /* the last progress */
};

static void release(struct shown *s)
{
	for (size_t i = 0; i < s->count; i++) {
		lookup_zone_release(&s->sights[i].zone);
		free(s->sights[i].views);
	}
	free(s->sights);
}

static int open_sights(
	struct shown *s, const struct lookup *lookup, const struct dns_record *records, size_t count, struct error *err)
{
	s->sights = mem_array(count, sizeof(*s->sights));
	for (size_t i = 0; i < count; i++) {
		struct sight *sight = &s->sights[s->count];
		if (!records[i].wanted)
			continue;
		if (lookup_zone(lookup, records[i].target, &sight->zone, err) < 0)
			return error_wrap(err, "dns-01");
		sight->record = &records[i];
		sight->views = mem_array(sight->zone.server_count, sizeof(*sight->views));
		s->count++;
	}
	return 0;
}

/* ---- one round ---- */

/* A server that did not answer for another record just now is not asked again, since each time would cost seconds. */
static const struct probed *silent_already(const struct shown *s, const char *address)
{
	for (size_t i = 0; i < s->count; i++)
		for (size_t n = 0; n < s->sights[i].zone.server_count; n++) {
			const struct probed *v = &s->sights[i].views[n];
			if (v->this_round && v->view == LOOKUP_SILENT &&
				strcmp(s->sights[i].zone.servers[n].address, address) == 0)
				return v;
		}
	return NULL;
}

static void look(const struct shown *s, struct sight *sight, size_t n)
{
	const struct lookup_server *server = &sight->zone.servers[n];
	const struct probed *silent = silent_already(s, server->address);
	struct probed *v = &sight->views[n];
	if (silent)
		*v = *silent;
	else
		v->view = lookup_txt(server, sight->record->target, sight->record->value, v->text);
	v->this_round = true;
}

static void round_of_all(struct shown *s)
{
	for (size_t i = 0; i < s->count; i++)
		for (size_t n = 0; n < s->sights[i].zone.server_count; n++)
			s->sights[i].views[n].this_round = false;
	for (size_t i = 0; i < s->count; i++)
		for (size_t n = 0; n < s->sights[i].zone.server_count; n++)
			if (s->sights[i].views[n].view != LOOKUP_SHOWN)
				look(s, &s->sights[i], n);
}

/* ---- what came of it ---- */

/* Returns the first server that is waited for, or -1. */
static int waits_for(const struct sight *sight, bool patient)
{
	size_t shown = 0;
	int waited = -1;
	for (size_t n = 0; n < sight->zone.server_count; n++) {
		enum lookup_view view = sight->views[n].view;
		shown += view == LOOKUP_SHOWN;
		if (waited < 0 && (view == LOOKUP_ABSENT || (view == LOOKUP_SILENT && patient)))
			waited = (int)n;
	}
	return waited < 0 && shown == 0 ? 0 : waited;
}

static void server_text(const struct sight *sight, size_t n, char *ret, size_t size)
{
	const struct lookup_server *server = &sight->zone.servers[n];
	snprintf(ret, size, "%s%s%s%s: %s", server->name, server->address[0] ? " (" : "", server->address,
		server->address[0] ? ")" : "", sight->views[n].text);
}

static void tell_waiting(struct acme *a, struct shown *s, const struct sight *sight, int n)
{
	char text[sizeof(s->told)];
	server_text(sight, (size_t)n, text, sizeof(text));
	if (strcmp(text, s->told) == 0)
		return;
	memcpy(s->told, text, sizeof(text));
	talk_progress(&a->talk, "dns waits for %s: %s", sight->record->target, text);
}

/* Returns NULL when everything is seen. */
static const struct sight *unsettled(struct acme *a, struct shown *s, bool patient)
{
	for (size_t i = 0; i < s->count; i++) {
		int n = waits_for(&s->sights[i], patient);
		if (n < 0)
			continue;
		tell_waiting(a, s, &s->sights[i], n);
		return &s->sights[i];
	}
	return NULL;
}

/* Those that do not show it come first, since an error text can be cut at its end. */
static void list_servers(const struct sight *sight, struct buf *out)
{
	char text[LOOKUP_NAME_MAX + 2 * LOOKUP_TEXT_MAX];
	for (int shows = 0; shows < 2; shows++)
		for (size_t n = 0; n < sight->zone.server_count; n++) {
			if ((sight->views[n].view == LOOKUP_SHOWN) != shows)
				continue;
			server_text(sight, n, text, sizeof(text));
			buf_addf(out, "%s%s", out->len ? "; " : "", text);
		}
}

static int give_up(const struct sight *sight, int64_t timeout, struct error *err)
{
	auto_buf struct buf list = BUF_INIT(LIST_MAX);
	list_servers(sight, &list);
	return error_set(err, ERROR_RETRY,
		"dns-01: after %lld seconds (dns_timeout) not every authoritative server of %s shows %s TXT "
		"\"%s\": %s",
		(long long)timeout, sight->zone.apex, sight->record->target, sight->record->value, buf_text(&list));
}

static void tell_left_out(struct acme *a, const struct shown *s)
{
	char text[LOOKUP_NAME_MAX + 2 * LOOKUP_TEXT_MAX];
	for (size_t i = 0; i < s->count; i++)
		for (size_t n = 0; n < s->sights[i].zone.server_count; n++) {
			/* A wildcard and its base name are told once. */
			if (s->sights[i].views[n].view == LOOKUP_SHOWN ||
				(i && strcmp(s->sights[i].zone.apex, s->sights[i - 1].zone.apex) == 0))
				continue;
			server_text(&s->sights[i], n, text, sizeof(text));
			talk_progress(&a->talk, "dns goes on without %s", text);
		}
}

static int64_t pause_for(unsigned rounds, int64_t left)
{
	int64_t pause = rounds < 6 ? (int64_t)PAUSE_FIRST_MS << rounds : PAUSE_LAST_MS;
	return pause < left ? pause : left;
}

static int watch(struct acme *a, struct shown *s, int64_t timeout, struct error *err)
{
	int64_t began = clock_monotonic_ms(), end = began + timeout * 1000;
	int64_t grace = timeout * 500 < GRACE_MS ? timeout * 500 : GRACE_MS;
	for (unsigned rounds = 0;; rounds++) {
		round_of_all(s);
		int64_t now = clock_monotonic_ms();
		const struct sight *waited = unsettled(a, s, now < began + grace);
		if (!waited) {
			tell_left_out(a, s);
			return 0;
		}
		if (now >= end)
			return give_up(waited, timeout, err);
		if (talk_pause(&a->talk, pause_for(rounds, end - now), err) < 0)
			return -1;
	}
}

int propagation_wait(struct acme *a, const struct lookup *lookup, const struct dns_record *records, size_t count,
	int64_t timeout, struct error *err)
{
	struct shown s = {0};
	talk_progress(&a->talk, "dns wait");
	int result = open_sights(&s, lookup, records, count, err);
	if (result == 0)
		result = watch(a, &s, timeout, err);
	release(&s);
	return result;
}
