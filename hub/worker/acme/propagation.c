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
	bool falls_back; /* no authoritative server could be asked; with resolvers as the fallback, `zone` has them now */
};

struct shown {
	const struct propagation *p;
	struct sight *sights;
	size_t count;
	int64_t began, now;                               /* monotonic, milliseconds */
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

static int open_sights(struct shown *s, struct error *err)
{
	s->sights = mem_array(s->p->count, sizeof(*s->sights));
	for (size_t i = 0; i < s->p->count; i++) {
		struct sight *sight = &s->sights[s->count];
		const struct dns_record *record = &s->p->records[i];
		if (!record->wanted)
			continue;
		if (lookup_zone(s->p->lookup, record->target, &sight->zone, err) < 0)
			return error_wrap(err, "dns-01");
		sight->record = record;
		sight->views = mem_array(sight->zone.server_count, sizeof(*sight->views));
		s->count++;
	}
	return 0;
}

/* ---- one round ---- */

/* A server that did not answer for another record just now is not asked again, since each time would cost seconds. */
static const struct probed *silent_already(const struct shown *s, const struct lookup_server *server)
{
	for (size_t i = 0; i < s->count; i++)
		for (size_t n = 0; n < s->sights[i].zone.server_count; n++) {
			const struct probed *v = &s->sights[i].views[n];
			const struct lookup_server *other = &s->sights[i].zone.servers[n];
			if (v->this_round && v->view == LOOKUP_SILENT && other->is_resolver == server->is_resolver &&
				strcmp(other->address, server->address) == 0)
				return v;
		}
	return NULL;
}

static void look(const struct shown *s, struct sight *sight, size_t n)
{
	const struct lookup_server *server = &sight->zone.servers[n];
	const struct probed *silent = silent_already(s, server);
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

/* A server that says nothing usable is waited for only so long. */
static bool is_patient(const struct shown *s)
{
	int64_t half = s->p->timeout * 500;
	return s->now < s->began + (half < GRACE_MS ? half : GRACE_MS);
}

static bool is_wait_over(const struct shown *s, const struct sight *sight)
{
	const int64_t wait = s->p->fallback.wait;
	return sight->falls_back && wait && s->now >= s->began + wait * 1000;
}

/* Returns the first server that is waited for, or -1. */
static int waits_for(const struct shown *s, const struct sight *sight)
{
	const bool patient = is_patient(s);
	size_t shown = 0;
	int waited = -1;
	for (size_t n = 0; n < sight->zone.server_count; n++) {
		enum lookup_view view = sight->views[n].view;
		shown += view == LOOKUP_SHOWN;
		if (waited < 0 && (view == LOOKUP_ABSENT || (view == LOOKUP_SILENT && patient)))
			waited = (int)n;
	}
	return waited < 0 && shown == 0 && !is_wait_over(s, sight) ? 0 : waited;
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
	/* What is being done in the place of asking has been told, and is to stand in `status` meanwhile. */
	if (strcmp(text, s->told) == 0 || (sight->falls_back && s->p->fallback.wait))
		return;
	memcpy(s->told, text, sizeof(text));
	talk_progress(&a->talk, "dns waits for %s: %s", sight->record->target, text);
}

/* Returns NULL when everything is seen. */
static const struct sight *unsettled(struct acme *a, struct shown *s)
{
	for (size_t i = 0; i < s->count; i++) {
		int n = waits_for(s, &s->sights[i]);
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

static bool none_answers(const struct sight *sight)
{
	for (size_t n = 0; n < sight->zone.server_count; n++)
		if (sight->views[n].view == LOOKUP_SHOWN || sight->views[n].view == LOOKUP_ABSENT)
			return false;
	return true;
}

static int give_up(const struct shown *s, const struct sight *sight, struct error *err)
{
	auto_buf struct buf list = BUF_INIT(LIST_MAX);
	const long long seconds = s->p->timeout;
	const char *name = sight->record->target, *value = sight->record->value;
	list_servers(sight, &list);
	if (sight->falls_back)
		return error_set(err, ERROR_RETRY,
			"dns-01: after %lld seconds (dns_timeout) %s TXT \"%s\" is not seen by the resolvers, which are asked "
			"since no authoritative server of %s can be (dns_fallback): %s",
			seconds, name, value, sight->zone.apex, buf_text(&list));
	if (none_answers(sight))
		return error_set(err, ERROR_RETRY,
			"dns-01: after %lld seconds (dns_timeout) no authoritative server of %s could be asked from here for "
			"%s TXT \"%s\": let this host reach port 53, or set dns_fallback in hub.conf, to \"resolvers\" or a "
			"fixed wait like \"2m\": %s",
			seconds, sight->zone.apex, name, value, buf_text(&list));
	return error_set(err, ERROR_RETRY,
		"dns-01: after %lld seconds (dns_timeout) not every authoritative server of %s shows %s TXT "
		"\"%s\": %s",
		seconds, sight->zone.apex, name, value, buf_text(&list));
}

/* A wildcard and its base name are told once. */
static bool is_told_with_last(const struct shown *s, size_t i)
{
	return i && strcmp(s->sights[i].zone.apex, s->sights[i - 1].zone.apex) == 0;
}

static void tell_left_out(struct acme *a, const struct shown *s)
{
	char text[LOOKUP_NAME_MAX + 2 * LOOKUP_TEXT_MAX];
	for (size_t i = 0; i < s->count; i++) {
		const struct sight *sight = &s->sights[i];
		if (is_wait_over(s, sight) && none_answers(sight))
			talk_progress(&a->talk, "dns goes on after %lld seconds (dns_fallback), and nobody has seen %s",
				(long long)s->p->fallback.wait, sight->record->target);
		else if (sight->falls_back)
			talk_progress(&a->talk, "dns goes on by dns_fallback: %s is seen", sight->record->target);
		for (size_t n = 0; n < sight->zone.server_count && !is_told_with_last(s, i); n++) {
			if (sight->views[n].view == LOOKUP_SHOWN)
				continue;
			server_text(sight, n, text, sizeof(text));
			talk_progress(&a->talk, "dns goes on without %s", text);
		}
	}
}

/* ---- where none can be asked ---- */

static void tell_fallback(struct acme *a, const struct shown *s, const struct sight *sight)
{
	auto_buf struct buf list = BUF_INIT(LIST_MAX);
	auto_free char *what = s->p->fallback.resolvers
		? mem_strdup("asks the resolvers")
		: mem_printf("waits until %lld seconds are over", (long long)s->p->fallback.wait);
	list_servers(sight, &list);
	talk_progress(&a->talk, "dns %s (dns_fallback): no authoritative server of %s can be asked: %s", what,
		sight->zone.apex, buf_text(&list));
}

static void use_resolvers(const struct shown *s, struct sight *sight)
{
	free(sight->views);
	lookup_by_resolvers(s->p->lookup, &sight->zone);
	sight->views = mem_array(sight->zone.server_count, sizeof(*sight->views));
}

/* Returns whether there is somebody else to be asked now. */
static bool fall_back(struct acme *a, struct shown *s)
{
	bool others = false;
	if (is_patient(s) || (!s->p->fallback.resolvers && !s->p->fallback.wait))
		return false;
	for (size_t i = 0; i < s->count; i++) {
		struct sight *sight = &s->sights[i];
		if (sight->falls_back || !none_answers(sight))
			continue;
		if (!is_told_with_last(s, i))
			tell_fallback(a, s, sight);
		sight->falls_back = true;
		if (s->p->fallback.resolvers)
			use_resolvers(s, sight);
		others = others || s->p->fallback.resolvers;
	}
	return others;
}

static int64_t pause_for(unsigned rounds, int64_t left)
{
	int64_t pause = rounds < 6 ? (int64_t)PAUSE_FIRST_MS << rounds : PAUSE_LAST_MS;
	return pause < left ? pause : left;
}

static int watch(struct acme *a, struct shown *s, struct error *err)
{
	s->began = clock_monotonic_ms();
	const int64_t end = s->began + s->p->timeout * 1000;
	for (unsigned rounds = 0;; rounds++) {
		do {
			round_of_all(s);
			s->now = clock_monotonic_ms();
		} while (fall_back(a, s));
		const struct sight *waited = unsettled(a, s);
		if (!waited) {
			tell_left_out(a, s);
			return 0;
		}
		if (s->now >= end)
			return give_up(s, waited, err);
		if (talk_pause(&a->talk, pause_for(rounds, end - s->now), err) < 0)
			return -1;
	}
}

int propagation_wait(struct acme *a, const struct propagation *p, struct error *err)
{
	struct shown s = {.p = p};
	talk_progress(&a->talk, "dns wait");
	int result = open_sights(&s, err);
	if (result == 0)
		result = watch(a, &s, err);
	release(&s);
	return result;
}
