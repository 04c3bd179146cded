#include "hub/daemon/alert/collect.h"
#include "hub/daemon/keys.h"
#include "lib/probe/check.h"
#include "hub/daemon/rollout/fleet.h"
#include "hub/daemon/acme/renewal.h"
#include "hub/daemon/agents/enroll.h"
#include "hub/daemon/agents/key_changes.h"
#include "hub/daemon/agents/session.h"
#include "hub/daemon/agents/signing.h"
#include "hub/daemon/publish/watched.h"
#include "hub/daemon/alert/endpoints.h"
#include "hub/daemon/agents/enrolment.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"
#include "hub/daemon/rollout/progress.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/statvfs.h>

enum {
	COLLECT_GRACE = 900,   /* seconds after a start, within which nobody is missed who was there before */
	COLLECT_RECENT = 3600, /* seconds for which what happened once counts as a condition */
	COLLECT_SKEW = 60,
	COLLECT_DISK_PERCENT = 5,
};

struct collect {
	struct hub *hub;
	const struct condition_book *book;
	int64_t from, now;
	struct conditions *out;
	int64_t next;
};

static void look_again(struct collect *c, int64_t when)
{
	if (when > c->now && when < c->next)
		c->next = when;
}

/* ---- certificates ---- */

/* Returns the seconds that must be left. */
static int64_t limit(const struct collect *c, int64_t not_before, int64_t not_after)
{
	int64_t configured = c->hub->config->alert.expiring;
	return configured ? configured : check_expiring_before(not_before, not_after);
}

static void collect_expiring(
	struct collect *c, const char *subject, const char *what, int64_t not_before, int64_t not_after)
{
	char when[CLOCK_TEXT_MAX];
	int64_t left = not_after - c->now, needed = limit(c, not_before, not_after);
	if (!not_after)
		return;
	if (left < needed)
		conditions_add(c->out, CONDITION_EXPIRING, left < needed / 3, subject,
			"%s %s %s; certsync status shows what holds up its "
			"successor",
			what, left < 0 ? "expired" : "expires", clock_text(not_after, when));
	else
		look_again(c, not_after - needed + 1);
}

static void collect_renewal(struct collect *c, const struct rollout *r)
{
	struct renewal_status status;
	const struct renewal *renewal = renewal_find(c->hub, r->certificate);
	if (!renewal)
		return;
	renewal_status(renewal, &status);
	bool urgent = !r->desired.not_after ||
		r->desired.not_after - c->now < limit(c, r->desired.not_before, r->desired.not_after);
	if (status.failures && status.error[0])
		conditions_add(c->out, CONDITION_RENEWAL, urgent, r->certificate,
			"no new certificate can be had: %s; it is tried again by "
			"itself, certsync renew %s tries now",
			status.error, r->certificate);
	else if (status.held[0] && status.due <= c->now)
		conditions_add(c->out, CONDITION_RENEWAL, urgent, r->certificate,
			"a new certificate is due and not ordered: %s", status.held);
}

static void collect_certificate(struct collect *c, const struct rollout *r)
{
	const struct watched *source = watched_find(c->hub, r->certificate);
	if (r->desired.revision.epoch || r->desired.revision.number)
		collect_expiring(
			c, r->certificate, "the current revision", r->desired.not_before, r->desired.not_after);
	collect_renewal(c, r);
	if (source && watched_trouble(source)[0])
		conditions_add(c->out, CONDITION_SOURCE, false, r->certificate,
			"what stands at the watched paths is not taken: %s", watched_trouble(source));
	if (r->no_rollback[0])
		conditions_add(c->out, CONDITION_ROLLOUT, true, r->certificate,
			"a failed activation was not rolled back: %s", r->no_rollback);
}

/* ---- an agent with one of its certificates ---- */

static void collect_failed(
	struct collect *c, const struct rollout *r, const struct rollout_agent *a, const char *subject)
{
	conditions_add(c->out, CONDITION_ROLLOUT, !a->stopped && !a->rolled_back, subject,
		"it failed at %s%s: %s; it is tried again by "
		"itself, certsync push %s --agent %s tries now",
		a->step, a->rolled_back ? " (the old files are back)" : "", a->text, r->certificate, a->name);
}

/* Returns whether the agent has had all the time that its steps may take. */
static bool is_stuck(struct collect *c, const struct rollout *r, const struct rollout_agent *a)
{
	const char *waits_for = rollout_waits_for(r, a, c->now);
	int64_t since = a->state == ROLLOUT_STAGED || a->since < r->started ? r->started : a->since;
	int64_t until = since + r->stage_timeout + r->activate_timeout;
	if (!a->connected || a->held_until > c->now || !r->started || rollout_agent_converged(a))
		return false;
	if (waits_for && strstr(waits_for, "window"))
		return false;
	look_again(c, until + 1);
	return c->now > until;
}

static void collect_hold(struct collect *c, const struct rollout_agent *a, const char *subject)
{
	char until[CLOCK_TEXT_MAX], ends[CLOCK_TEXT_MAX];
	int64_t spare = limit(c, a->served.not_before, a->served.not_after) / 3;
	if (a->held_until <= c->now || !a->served.not_after || a->held_until < a->served.not_after - spare)
		return;
	conditions_add(c->out, CONDITION_ROLLOUT, true, subject,
		"it is held until %s, and what it serves expires %s; certsync hold %s --end "
		"ends that",
		clock_text(a->held_until, until), clock_text(a->served.not_after, ends), a->name);
}

static void collect_state(
	struct collect *c, const struct rollout *r, const struct rollout_agent *a, const char *subject)
{
	const char *waits_for = rollout_waits_for(r, a, c->now);
	if (a->state == ROLLOUT_AHEAD)
		conditions_add(c->out, CONDITION_AHEAD, true, subject,
			"it has a newer revision than this hub ever made: the hub was restored "
			"from a backup, or the agent belongs to another one; publish again what is to be "
			"served");
	else if (a->failures && a->text[0] && !rollout_agent_converged(a))
		collect_failed(c, r, a, subject);
	else if (a->state == ROLLOUT_UNVERIFIED && is_stuck(c, r, a))
		conditions_add(c->out, CONDITION_ROLLOUT, false, subject,
			"the new revision is installed, but not every port was seen serving it; "
			"certsync status shows which");
	else if (is_stuck(c, r, a))
		conditions_add(c->out, CONDITION_ROLLOUT, false, subject,
			"its rollout is stuck: it is %s%s%s; certsync push %s --proceed goes on",
			rollout_state_name(rollout_agent_state(a)), waits_for ? " and waits for " : "",
			waits_for ? waits_for : "", r->certificate);
}

/* Takes what the agent's own probes saw: they look from inside, where no check from outside comes. */
static void collect_probes(struct collect *c, const struct rollout *r, const struct rollout_agent *a)
{
	if (!a->connected)
		return;
	for (size_t i = 0; i < a->probe_count; i++) {
		const struct message_probe *p = &a->probes[i];
		auto_free char *subject =
			mem_printf("%s %s, seen from inside by %s", r->certificate, p->endpoint, a->name);
		if (!p->served && !p->stopped)
			conditions_add(c->out, CONDITION_UNREACHABLE, true, subject, "%s does not serve there: %s",
				p->service, p->text);
	}
}

static void collect_place(struct collect *c, const struct rollout *r, const struct rollout_agent *a)
{
	auto_free char *subject = mem_printf("%s %s", r->certificate, a->name);
	char when[CLOCK_TEXT_MAX];
	if (a->served.not_after && revision_compare(a->served.revision, r->desired.revision) != 0)
		collect_expiring(c, subject, "this agent serves an old revision, which", a->served.not_before,
			a->served.not_after);
	collect_state(c, r, a, subject);
	collect_hold(c, a, subject);
	collect_probes(c, r, a);
	if (a->drifted && c->now - a->drifted < COLLECT_RECENT && a->drifted <= c->now) {
		conditions_add(c->out, CONDITION_DRIFT, false, subject,
			"%s, last at %s; certsync puts it right: find out who writes there", a->drift,
			clock_text(a->drifted, when));
		look_again(c, a->drifted + COLLECT_RECENT);
	}
	if (a->contradicted && c->now - a->contradicted < COLLECT_RECENT) {
		conditions_add(c->out, CONDITION_CONTRADICTION, false, subject,
			"%s, last at %s: that is not believed. Is it another build, or another machine with its key? certsync check says what is served; "
			"certsync agent remove %s shuts it out",
			a->contradiction, clock_text(a->contradicted, when), a->name);
		look_again(c, a->contradicted + COLLECT_RECENT);
	}
}

/* ---- agents ---- */

static int64_t last_seen(struct collect *c, const struct hub_agent *a)
{
	int64_t seen = 0;
	for (size_t i = 0; a->certificates[i]; i++) {
		struct rollout *r = fleet_find(c->hub, a->certificates[i]->name);
		const struct rollout_agent *place = r ? rollout_find(r, a->name) : NULL;
		seen = place && place->last_seen > seen ? place->last_seen : seen;
	}
	return seen;
}

static bool is_known(const struct collect *c, const char *agent)
{
	for (size_t i = 0; i < c->book->count; i++)
		if (c->book->entries[i].kind == CONDITION_AWAY && strcmp(c->book->entries[i].subject, agent) == 0)
			return true;
	return false;
}

static void collect_away(struct collect *c, const struct hub_agent *a)
{
	char when[CLOCK_TEXT_MAX], allowed[CLOCK_TEXT_MAX];
	int64_t seen = last_seen(c, a), grace = a->away_after < COLLECT_GRACE ? a->away_after : COLLECT_GRACE;
	if (!seen) {
		/* Nothing is known of the time before this start. */
		if (c->now > c->from + a->away_after)
			conditions_add(c->out, CONDITION_AWAY, true, a->name,
				"it has never been seen: was it joined? certsync agent add %s takes its keys", a->name);
		else
			look_again(c, c->from + a->away_after + 1);
		return;
	}
	/* Agents are given a while to come back to a hub that was restarted, whatever it last wrote down of them. */
	int64_t until = seen + a->away_after;
	if (!is_known(c, a->name) && until < c->from + grace)
		until = c->from + grace;
	if (c->now > until)
		conditions_add(c->out, CONDITION_AWAY, true, a->name,
			"it was last seen %s; that is longer than its away_after of %s. Does its "
			"machine run, and certsync-agent there? certsync-agent status says what it sees of "
			"the hub",
			clock_text(seen, when), clock_span(a->away_after * 1000, allowed));
	else
		look_again(c, until + 1);
}

static void collect_session(struct collect *c, const struct hub_agent *a, const struct session *s)
{
	char when[CLOCK_TEXT_MAX];
	int64_t rival = session_rival(s), skew = session_skew(s);
	if (rival && c->now - rival < COLLECT_RECENT)
		conditions_add(c->out, CONDITION_CLONE, true, a->name,
			"another machine uses its key, last at %s, and is refused: was it cloned? "
			"Give the clone a name and keys of its own",
			clock_text(rival, when));
	if (skew > COLLECT_SKEW || skew < -COLLECT_SKEW)
		conditions_add(c->out, CONDITION_CLOCK, false, a->name,
			"its clock was %lld seconds %s the hub's when it connected: one of them is "
			"wrong, see timedatectl on both",
			(long long)(skew < 0 ? -skew : skew), skew < 0 ? "behind" : "ahead of");
}

/* A rotation counts until it is done, since the old keys open what is sealed to the agent so long. */
static void collect_rotation(struct collect *c, const struct hub_agent *a)
{
	struct enrolment e;
	struct error ignored;
	char when[CLOCK_TEXT_MAX], who[KEY_CHANGES_WHO_MAX];
	if (!key_rotates(c->hub, a->name) || enrolment_find(c->hub, a->name, &e, &ignored) <= 0 || !e.rotation)
		return;
	conditions_add(c->out, CONDITION_ROTATION, false, a->name,
		"its keys are being changed since %s, as %s asked, and %s; until that is done the old ones open what is sealed to it. %s "
		"certsync agent rotate %s prints a new line. Where somebody else may have its old keys: certsync agent remove %s ends "
		"at once all that they opened, and certsync agent add %s lets the node in again",
		clock_text(e.rotation, when), key_changes_who(e.rotation_by, who),
		e.rotates ? "it has not come in with the new ones yet" : "no node has taken the line for it yet",
		e.rotates ? "On its node, systemctl restart certsync-agent makes it come in."
			  : "Give the line to certsync-agent join there.",
		a->name, a->name, a->name);
}

static void collect_stranger(struct collect *c, const struct hub_agent *a)
{
	char when[CLOCK_TEXT_MAX];
	const char *mark;
	int64_t at = key_stranger(c->hub, a->name, &mark);
	if (!at || c->now - at >= COLLECT_RECENT)
		return;
	conditions_add(c->out, CONDITION_OLD_KEY, true, a->name,
		"somebody came in, last at %s, with a key that it has no more (its end is %s), and is refused: a machine that was put back from a "
		"backup, or a thief. The log of sshd says from where; if it is the agent itself, certsync agent add %s --replace prints a "
		"line for it",
		clock_text(at, when), mark[0] ? mark : "not known: the line in authorized_keys is of an older version",
		a->name);
	look_again(c, at + COLLECT_RECENT);
}

/* What has been written into the book is told, however long the hub was down meanwhile. */
static bool is_untold(const struct collect *c, const char *subject)
{
	for (size_t i = 0; i < c->book->count; i++)
		if (c->book->entries[i].kind == CONDITION_KEYS && !c->book->entries[i].told &&
			strcmp(c->book->entries[i].subject, subject) == 0)
			return true;
	return false;
}

static void collect_changes(struct collect *c)
{
	size_t count;
	char when[CLOCK_TEXT_MAX];
	const struct key_change *list = key_changes(c->hub, &count);
	for (size_t i = 0; i < count; i++) {
		const struct key_change *k = &list[i];
		auto_free char *subject = mem_printf("%s #%u", k->agent, k->serial);
		bool recent = c->now - k->at < COLLECT_RECENT;
		if (!recent && !is_untold(c, subject))
			continue;
		conditions_add(c->out, CONDITION_KEYS, false, subject,
			"%s, at %s. Before: %s; now: %s. If nobody here meant that, certsync agent remove %s shuts out who has them now",
			k->what, clock_text(k->at, when), k->before, k->after, k->agent);
		look_again(c, k->at + COLLECT_RECENT);
	}
	if (count == KEY_CHANGES_MAX && c->now - list[0].at < COLLECT_RECENT)
		conditions_add(c->out, CONDITION_KEYS, false, "all agents",
			"more than %d changes within the hour: event=keys in the log has them all", KEY_CHANGES_MAX);
}

static void collect_agent(struct collect *c, const struct hub_agent *a)
{
	const struct session *s = session_find(c->hub, a->name);
	collect_rotation(c, a);
	collect_stranger(c, a);
	if (s)
		collect_session(c, a, s);
	else
		collect_away(c, a);
}

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);
	return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

/* Only a connected agent tells of these, so its absence does not mean that they are over. */
static void keep_of_absent(struct collect *c, const struct hub_agent *a)
{
	auto_free char *behind = mem_printf(" %s", a->name);
	for (size_t i = 0; i < c->book->count; i++) {
		const struct condition_entry *e = &c->book->entries[i];
		bool whole = e->kind == CONDITION_CLOCK || e->kind == CONDITION_CLONE;
		bool behind_it = e->kind == CONDITION_ROLLOUT || e->kind == CONDITION_UNREACHABLE;
		if ((whole && strcmp(e->subject, a->name) == 0) || (behind_it && ends_with(e->subject, behind)))
			conditions_add(c->out, e->kind, e->critical, e->subject, "%s", e->text);
	}
}

/* ---- the hub itself ---- */

enum { COLLECT_NAMED = 8 /* agents that one text names */ };

static void name_missing(const struct signing_status *s, struct buf *out)
{
	for (size_t i = 0; i < s->missing_count && i < COLLECT_NAMED; i++)
		buf_addf(out, "%s%s%s", i ? ", " : "", s->missing[i].agent,
			s->missing[i].cut_off ? " (has to join again)" : "");
	if (s->missing_count > COLLECT_NAMED)
		buf_addf(out, " and %zu more", s->missing_count - COLLECT_NAMED);
}

/* The replacement counts until every agent has pinned the new key, and none the old one. */
static void collect_signing(struct collect *c)
{
	struct signing_status s;
	char when[CLOCK_TEXT_MAX], who[KEY_CHANGES_WHO_MAX];
	auto_buf struct buf names = BUF_INIT(COLLECT_NAMED * (NAME_AGENT_MAX + 32));
	bool cut_off = false;
	signing_status(c->hub, &s);
	if (s.phase == SIGNING_IDLE && !s.missing_count)
		return;
	for (size_t i = 0; i < s.missing_count; i++)
		cut_off = cut_off || s.missing[i].cut_off;
	name_missing(&s, &names);
	if (s.phase == SIGNING_IDLE) {
		conditions_add(c->out, CONDITION_SIGNING, true, "hub",
			"agents refuse the hub's signing key: %s. Was the hub restored from a backup that is older than its present key? Nothing that it "
			"signs is taken there; `certsync keys` shows what they say, and what to do",
			buf_text(&names));
		return;
	}
	conditions_add(c->out, CONDITION_SIGNING, cut_off, "hub",
		"the signing key is being replaced since %s, as %s asked; %s. %zu of %zu agents have not said that: %s. `certsync keys` shows why, and "
		"what to do",
		clock_text(s.since, when), key_changes_who(s.by, who),
		s.phase == SIGNING_TOLD
			? "the next one takes over when every agent has said that it takes both"
			: "the new one signs, and this is over when every agent has said that it has forgotten the old one",
		s.missing_count, s.agent_count, buf_text(&names));
}

/* Returns whether less than so many per cent of the disk are free, also where it has few blocks. A file system that
 * counts no blocks is never short of them. */
static bool has_less(const struct statvfs *disk, unsigned percent)
{
	return disk->f_blocks && (double)disk->f_bavail * 100 < (double)disk->f_blocks * percent;
}

static void collect_store(struct collect *c)
{
	struct statvfs disk;
	const char *state = c->hub->config->state;
	if (statvfs(state, &disk) < 0)
		conditions_add(c->out, CONDITION_STORE, true, state, "its disk cannot be asked: %s", strerror(errno));
	else if (has_less(&disk, COLLECT_DISK_PERCENT))
		conditions_add(c->out, CONDITION_STORE, has_less(&disk, 1), state,
			"its disk has less than %d %% left: what cannot "
			"be written is not published; make room",
			has_less(&disk, 1) ? 1 : COLLECT_DISK_PERCENT);
	if (store_trouble(c->hub->store)[0])
		conditions_add(c->out, CONDITION_STORE, true, "records", "the last write failed: %s",
			store_trouble(c->hub->store));
	size_t count;
	const struct store_damage *damages = store_damages(c->hub->store, &count);
	for (size_t i = 0; i < count; i++) {
		if (c->now - damages[i].at >= STORE_DAMAGE_TOLD)
			continue;
		conditions_add(c->out, CONDITION_STORE, false, damages[i].record, "this record was damaged: %s",
			damages[i].text);
		look_again(c, damages[i].at + STORE_DAMAGE_TOLD);
	}
	if (keys_trouble(c->hub->keys)[0])
		conditions_add(c->out, CONDITION_STORE, true, "certsync-keys", "%s", keys_trouble(c->hub->keys));
	if (c->hub->root_error[0])
		conditions_add(c->out, CONDITION_STORE, true, c->hub->config->authorized_keys,
			"it could not be written: %s", c->hub->root_error);
}

void alert_collect_manifests(struct hub *hub, struct conditions *out)
{
	for (size_t i = 0; i < fleet_count(hub); i++) {
		struct error err;
		auto_manifest struct manifest m = {0};
		const char *name = fleet_at(hub, i)->certificate;
		if (store_current(hub->store, name, &m, &err) < 0)
			conditions_add(out, CONDITION_STORE, true, name,
				"its current revision cannot be read: %s; restore it, or publish it again",
				err.message);
	}
}

void alert_collect(struct hub *hub, const struct condition_book *book, int64_t from, int64_t now,
	struct conditions *out, int64_t *ret_next)
{
	struct collect c = {.hub = hub, .book = book, .from = from, .now = now, .out = out, .next = INT64_MAX};
	for (size_t i = 0; i < fleet_count(hub); i++) {
		const struct rollout *r = fleet_at(hub, i);
		collect_certificate(&c, r);
		for (size_t k = 0; k < r->agent_count; k++)
			collect_place(&c, r, &r->agents[k]);
	}
	for (size_t i = 0; i < hub->config->agent_count; i++)
		collect_agent(&c, &hub->config->agents[i]);
	collect_changes(&c);
	collect_signing(&c);
	endpoints_conditions(hub, out);
	collect_store(&c);
	for (size_t i = 0; i < hub->config->agent_count; i++)
		if (!session_find(hub, hub->config->agents[i].name))
			keep_of_absent(&c, &hub->config->agents[i]);
	*ret_next = c.next;
}

/* ---- ways that cross what is watched ---- */

/* Returns the host of smtp://host:port. */
static char *host_of(const char *url)
{
	const char *host = strstr(url, "://");
	host = host ? host + 3 : url;
	return *host == '[' ? mem_strndup(host + 1, strcspn(host + 1, "]")) : mem_strndup(host, strcspn(host, ":/"));
}

static bool is_watched(const struct hub_config *c, const char *host)
{
	for (size_t i = 0; i < c->endpoint_count; i++) {
		if (strcasecmp(c->endpoints[i].name, host) == 0)
			return true;
		for (char **at = c->endpoints[i].at; *at; at++)
			if (strcmp(*at, host) == 0)
				return true;
	}
	return false;
}

/* A domain's mail is usually taken by a host in it. Where another host takes it, a warning too many does no harm. */
static bool is_watched_domain(const struct hub_config *c, const char *domain)
{
	auto_free char *behind = mem_printf(".%s", domain);
	for (size_t i = 0; i < c->endpoint_count; i++)
		if (ends_with(c->endpoints[i].name, behind))
			return true;
	return is_watched(c, domain);
}

char *alert_crossing(const struct hub_config *c)
{
	const struct hub_alert *a = &c->alert;
	bool other = a->command != NULL, mail = a->email[0] != NULL, server = false;
	if (mail) {
		auto_free char *host = host_of(a->smtp);
		server = is_watched(c, host);
		for (char **to = a->email; *to; to++)
			other = other || !(server || is_watched_domain(c, strchr(*to, '@') + 1));
	}
	for (char **url = a->webhook; *url; url++) {
		auto_free char *host = host_of(*url);
		other = other || !is_watched(c, host);
	}
	if (other || (!mail && !a->webhook[0]))
		return NULL;
	return mem_printf("alert: every way to tell a person leads through a host that an endpoint section watches%s: "
			  "when it is down, "
			  "nobody is told of that; add a webhook elsewhere, a command, or another mail server",
		server ? " (smtp)" : "");
}
