#include "agent/cli/adopt/sight.h"
#include "lib/cli/progress.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SETTLE_MS = 2000, PAUSE_MS = 250, WRONG_MAX = 512 };

void sight_release(struct sight *s)
{
	served_release(&s->served);
	free(s->promised);
	*s = (struct sight){0};
}

/* ---- the first look ---- */

/* Returns the names of all installed certificates, ended by NULL; the caller frees the list, not the names. */
static const char **names_of(const struct plan *p)
{
	size_t count = 0;
	const char **list = mem_array(1, sizeof(*list));
	for (size_t i = 0; i < p->certificate_count; i++) {
		const struct present *present = &p->certificates[i].present;
		list = mem_grow(list, count + present->name_count + 1, sizeof(*list));
		for (size_t k = 0; k < present->name_count; k++)
			list[count++] = present->names[k];
	}
	list[count] = NULL;
	return list;
}

static void add_promised(struct sight *s, const struct plan_target *t)
{
	const char *sni = t->service->sni ? t->service->sni : t->certificate->certificate->name;
	for (char **text = t->service->probe; text && *text; text++) {
		size_t count = s->served.count;
		struct served_look *look = served_add(&s->served, t->service->name, *text, sni);
		if (!look)
			continue;
		if (s->served.count > count) {
			s->promised = mem_grow(s->promised, s->served.count, sizeof(struct plan_target *));
			s->promised[count] = NULL;
		}
		s->promised[look - s->served.list] = t;
	}
}

int sight_first(const struct agent_config *config, const struct plan *plan, struct found *found, const bool *running,
	struct sight *ret, struct error *err)
{
	auto_listening struct listening listening;
	auto_free const char **names = names_of(plan);
	auto_progress struct progress *progress = progress_new("looking at what is served");
	*ret = (struct sight){0};
	found_listening(found, &listening);
	if (served_find(found, &listening, names, config->probe_timeout, &ret->served, err) < 0)
		return -1;
	ret->promised = mem_array(ret->served.count + 1, sizeof(struct plan_target *));
	for (size_t i = 0; i < plan->target_count; i++)
		if (!running || running[i])
			add_promised(ret, &plan->targets[i]);
	return served_look_at(&ret->served, config->probe_timeout, err);
}

/* ---- what may come after what ---- */

static bool is_of(const struct plan_certificate *c, const struct served_leaf *leaf)
{
	for (size_t i = 0; i < c->leaf_count; i++)
		if (served_is(leaf, c->leaves[i]))
			return true;
	return false;
}

static bool serves(const struct served_look *look, const struct plan_certificate *c)
{
	for (size_t k = 0; k < SERVED_KINDS; k++)
		if (is_of(c, &look->by[k]))
			return true;
	return false;
}

/* What the plan says of a certificate that a service presents. */
struct meant {
	const struct plan_certificate *certificate; /* takes its place in some place */
	bool stays;                                 /* in some place */
	bool cut;                                   /* clients that take this kind of key alone are told to lose */
};

static struct meant meant_of(const struct plan *p, const char *service, const struct served_leaf *leaf)
{
	struct meant m = {0};
	for (size_t i = 0; i < p->leaf_count; i++) {
		const struct plan_leaf *l = &p->leaves[i];
		if ((service && strcmp(l->service, service) != 0) || !served_is(leaf, l->fingerprint))
			continue;
		m.stays = m.stays || !l->certificate;
		m.cut = m.cut || l->cut;
		m.certificate = l->certificate ? l->certificate : m.certificate;
	}
	return m;
}

/* Returns whether `now` is for every name that `before` was for. */
static bool covers(const struct present *now, const struct present *before)
{
	for (size_t i = 0; i < before->name_count; i++)
		if (!present_covers(now, before->names[i]))
			return false;
	return true;
}

/* A service that was not reloaded since its files changed presents what no file has. What it presents after its reload
 * is right when its files have it and it is for the same names. A port that only passes connections on changes with
 * what is behind it. */
static bool may_follow(
	const struct plan *p, const char *service, const struct served_leaf *before, const struct served_leaf *now)
{
	struct meant there = meant_of(p, NULL, before), then = meant_of(p, service, now);
	if (there.certificate)
		return is_of(there.certificate, now);
	bool ours = then.stays;
	for (size_t i = 0; !ours && i < p->target_count; i++)
		ours = strcmp(p->targets[i].service->name, service) == 0 && is_of(p->targets[i].certificate, now);
	return ours && !there.stays && covers(&now->present, &before->present);
}

/* Who takes any kind of key was asked only where nothing else was served, which may be otherwise now. */
static const struct served_leaf *shown(const struct served_look *now, enum served_kind kind)
{
	for (size_t k = 0; kind == SERVED_OTHER && k < SERVED_OTHER; k++)
		if (now->by[k].served)
			return &now->by[k];
	return &now->by[kind];
}

static bool is_right(
	const struct plan *p, const struct served_look *before, const struct served_look *now, enum served_kind kind)
{
	const struct served_leaf *old = &before->by[kind], *new = shown(now, kind);
	if (!old->served)
		return true;
	struct meant m = meant_of(p, before->service, old);
	if (served_same(old, new))
		return m.stays || !m.certificate;
	if (!new->served)
		return m.certificate && m.cut && serves(now, m.certificate);
	if (m.certificate)
		return is_of(m.certificate, new);
	return !m.stays && may_follow(p, before->service, old, new);
}

static bool is_same(const struct served_look *before, const struct served_look *now)
{
	for (size_t k = 0; k < SERVED_KINDS; k++)
		if (!served_same(&before->by[k], &now->by[k]))
			return false;
	return true;
}

/* A probe of agent.conf serves what is installed, unless it served nothing before and does not now, or presents what a
 * line has that was left. */
static bool is_kept(const struct plan *p, const struct plan_target *t, const struct served_look *before,
	const struct served_look *now, bool strict)
{
	if (!t || serves(now, t->certificate))
		return true;
	if (strict || !is_same(before, now))
		return false;
	bool left = t->unknown || !served_any(now);
	for (size_t k = 0; k < SERVED_KINDS; k++)
		left = left || (now->by[k].served && meant_of(p, before->service, &now->by[k]).stays);
	return left;
}

/* ---- what is wrong ---- */

static const char *key_text(enum served_kind kind)
{
	static const char *const texts[SERVED_KINDS] = {
		" to clients that take RSA keys alone", " to clients that take ECDSA keys alone", ""};
	return texts[kind];
}

/* The same to all kinds of clients is told once. */
static const char *which(const struct served_look *before, const struct served_look *now, enum served_kind kind)
{
	for (size_t k = 0; k < SERVED_KINDS; k++)
		if (k != kind && before->by[k].served && now->by[k].served != now->by[kind].served)
			return key_text(kind);
	return "";
}

static void leaf_text(const struct served_leaf *leaf, char ret[WRONG_MAX])
{
	char hex[CHAIN_HEX_MAX];
	auto_free char *names = present_names(&leaf->present);
	if (leaf->served)
		snprintf(ret, WRONG_MAX, "the certificate with SHA-256 %s, for %s",
			chain_hex(leaf->present.leaves[0].fingerprint, hex), names);
	else
		snprintf(ret, WRONG_MAX, "nothing: %s", leaf->text);
}

static int tell(const struct plan *p, const struct served_look *before, const struct served_look *now,
	enum served_kind kind, const struct plan_certificate *wanted, struct error *err)
{
	char was[WRONG_MAX], is[WRONG_MAX];
	const struct served_leaf *new = shown(now, kind);
	auto_free char *asked = now->name ? mem_printf("asked for %s", now->name) : mem_strdup("asked for no name");
	leaf_text(&before->by[kind], was);
	leaf_text(new, is);
	if (!wanted && p)
		wanted = meant_of(p, before->service, &before->by[kind]).certificate;
	if (wanted)
		return error_set(err, ERROR_UNTRUSTED, "%s does not serve %s%s: it serves %s (%s)", now->endpoint,
			wanted->certificate->name, which(before, now, kind), is, asked);
	return error_set(err, ERROR_UNTRUSTED, "%s served %s%s, which was to stay, and now serves %s (%s)",
		now->endpoint, was, which(before, now, kind), is, asked);
}

static int check_look(const struct plan *p, const struct plan_target *promised, const struct served_look *before,
	const struct served_look *now, bool strict, struct error *err)
{
	for (int k = 0; k < SERVED_KINDS; k++)
		if (!is_right(p, before, now, (enum served_kind)k))
			return tell(p, before, now, (enum served_kind)k, NULL, err);
	if (is_kept(p, promised, before, now, strict))
		return 0;
	enum served_kind seen = now->by[SERVED_ECDSA].served ? SERVED_ECDSA
		: now->by[SERVED_RSA].served                 ? SERVED_RSA
							     : SERVED_OTHER;
	return tell(p, before, now, seen, promised->certificate, err);
}

static int check_all(
	const struct plan *p, const struct sight *before, const struct served *now, bool strict, struct error *err)
{
	for (size_t i = 0; i < now->count; i++)
		if (check_look(p, before->promised[i], &before->served.list[i], &now->list[i], strict, err) < 0)
			return -1;
	return 0;
}

/* ---- afterwards ---- */

int sight_changed(const struct agent_config *config, const struct plan *plan, const struct sight *before,
	struct sight *ret, struct error *err)
{
	auto_progress struct progress *progress = progress_new("waiting until the ports serve it");
	int64_t began = clock_monotonic_ms();
	*ret = (struct sight){0};
	served_copy(&before->served, &ret->served);
	for (bool again = false;; poll(NULL, 0, PAUSE_MS)) {
		struct error not_yet;
		if (served_look_at(&ret->served, config->probe_timeout, err) < 0)
			return -1;
		int64_t spent = clock_monotonic_ms() - began;
		bool right = check_all(plan, before, &ret->served, false, err) == 0;
		/* What a worker on its way out has answered does not count, so everything has to be right twice, and
		 * what may stay as it is gets a little time. */
		bool settled = spent >= SETTLE_MS || check_all(plan, before, &ret->served, true, &not_yet) == 0;
		if (right && again && settled)
			return 0;
		if (!right && spent >= config->probe_timeout * 1000)
			return -1;
		again = right;
	}
}

int sight_unchanged(const struct agent_config *config, const struct sight *before, struct error *err)
{
	auto_served struct served now = {0};
	served_copy(&before->served, &now);
	if (served_look_at(&now, config->probe_timeout, err) < 0)
		return -1;
	for (size_t i = 0; i < now.count; i++)
		for (int k = 0; k < SERVED_KINDS; k++)
			if (before->served.list[i].by[k].served &&
				!served_same(&before->served.list[i].by[k], shown(&now.list[i], (enum served_kind)k)))
				return tell(
					NULL, &before->served.list[i], &now.list[i], (enum served_kind)k, NULL, err);
	return 0;
}
