#include "hub/daemon/alert/collect.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
	COLLECT_GRACE = 900,       /* seconds after a start, within which nobody is missed who was there before */
	COLLECT_RECENT = 3600,     /* seconds for which what happened once counts as a condition */
	COLLECT_AUTHORITY = 86400, /* seconds for which it is told that another authority has issued */
	COLLECT_SKEW = 60,
	COLLECT_DISK_PERCENT = 5,
};

struct collect {
	const struct situation *s;
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
	int64_t configured = c->s->expiring;
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

static void collect_renewal(struct collect *c, const struct situation_certificate *of)
{
	const struct renewal_status *status = &of->renewal;
	bool urgent = !of->not_after || of->not_after - c->now < limit(c, of->not_before, of->not_after);
	if (status->failures && status->error[0])
		conditions_add(c->out, CONDITION_RENEWAL, urgent, of->name,
			"no new certificate can be had: %s; it is tried again by "
			"itself, certsync renew %s tries now",
			status->error, of->name);
	else if (status->held[0] && status->due <= c->now)
		conditions_add(c->out, CONDITION_RENEWAL, urgent, of->name,
			"a new certificate is due and not ordered: %s", status->held);
}

/* What another authority has issued is as good, so that this is told once, for a day: somebody should look what is wrong
 * with the first one. */
static void collect_authority(struct collect *c, const struct situation_certificate *of)
{
	const struct renewal_status *status = &of->renewal;
	int64_t end = status->instead_since + COLLECT_AUTHORITY;
	if (!status->instead_since || (status->at_first && end <= c->now))
		return;
	look_again(c, end);
	conditions_add(c->out, CONDITION_AUTHORITY, false, of->name,
		"%s; the first one is asked again at the next renewal", status->instead);
}

static void collect_certificate(struct collect *c, const struct situation_certificate *of)
{
	if (of->revision.epoch || of->revision.number)
		collect_expiring(c, of->name, "the current revision", of->not_before, of->not_after);
	collect_renewal(c, of);
	collect_authority(c, of);
	if (of->watch_trouble[0])
		conditions_add(c->out, CONDITION_SOURCE, false, of->name,
			"what stands at the watched paths is not taken: %s", of->watch_trouble);
	if (of->rollout->no_rollback[0])
		conditions_add(c->out, CONDITION_ROLLOUT, true, of->name, "a failed activation was not rolled back: %s",
			of->rollout->no_rollback);
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
static bool is_stuck(struct collect *c, const struct rollout *r, const struct situation_place *p)
{
	const struct rollout_agent *a = p->agent;
	int64_t since = a->state == ROLLOUT_STAGED || a->since < r->started ? r->started : a->since;
	int64_t until = since + r->stage_timeout + r->activate_timeout;
	if (!a->connected || a->held_until > c->now || !r->started || p->converged || p->wait == BARRIER_WINDOW)
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
	struct collect *c, const struct rollout *r, const struct situation_place *p, const char *subject)
{
	const struct rollout_agent *a = p->agent;
	const char *waits_for = barrier_wait_text(p->wait);
	if (a->state == ROLLOUT_AHEAD)
		conditions_add(c->out, CONDITION_AHEAD, true, subject,
			"it has a newer revision than this hub ever made: the hub was restored "
			"from a backup, or the agent belongs to another one; publish again what is to be "
			"served");
	else if (a->no_section && p->row.connected && !revision_is_placeholder(r->desired.revision))
		conditions_add(
			c->out, CONDITION_ROLLOUT, false, subject, "nothing of it is installed there: %s", a->text);
	else if (a->failures && a->text[0] && !p->converged)
		collect_failed(c, r, a, subject);
	else if (a->state == ROLLOUT_UNVERIFIED && is_stuck(c, r, p))
		conditions_add(c->out, CONDITION_ROLLOUT, false, subject,
			"the new revision is installed, but not every port was seen serving it; "
			"certsync status shows which");
	else if (is_stuck(c, r, p))
		conditions_add(c->out, CONDITION_ROLLOUT, false, subject,
			"its rollout is stuck: it is %s%s%s; certsync push %s --proceed goes on",
			rollout_state_name(p->row.state), waits_for ? " and waits for " : "",
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

static void collect_place(struct collect *c, const struct rollout *r, const struct situation_place *p)
{
	const struct rollout_agent *a = p->agent;
	auto_free char *subject = mem_printf("%s %s", r->certificate, a->name);
	char when[CLOCK_TEXT_MAX];
	if (a->served.not_after && revision_compare(a->served.revision, r->desired.revision) != 0)
		collect_expiring(c, subject, "this agent serves an old revision, which", a->served.not_before,
			a->served.not_after);
	collect_state(c, r, p, subject);
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

static bool is_known(const struct collect *c, const char *agent)
{
	for (size_t i = 0; i < c->book->count; i++)
		if (c->book->entries[i].kind == CONDITION_AWAY && strcmp(c->book->entries[i].subject, agent) == 0)
			return true;
	return false;
}

static void collect_away(struct collect *c, const struct situation_agent *a)
{
	char when[CLOCK_TEXT_MAX], allowed[CLOCK_TEXT_MAX];
	int64_t seen = a->last_seen, away_after = a->configured->away_after;
	int64_t grace = away_after < COLLECT_GRACE ? away_after : COLLECT_GRACE;
	if (!seen) {
		/* Nothing is known of the time before this start. */
		if (c->now > c->from + away_after)
			conditions_add(c->out, CONDITION_AWAY, true, a->name,
				"it has never been seen: was it joined? certsync agent add %s takes its keys", a->name);
		else
			look_again(c, c->from + away_after + 1);
		return;
	}
	/* Agents are given a while to come back to a hub that was restarted, whatever it last wrote down of them. */
	int64_t until = seen + away_after;
	if (!is_known(c, a->name) && until < c->from + grace)
		until = c->from + grace;
	if (c->now > until)
		conditions_add(c->out, CONDITION_AWAY, true, a->name,
			"it was last seen %s; that is longer than its away_after of %s. Does its "
			"machine run, and certsync-agent there? certsync-agent status says what it sees of "
			"the hub",
			clock_text(seen, when), clock_span(away_after * 1000, allowed));
	else
		look_again(c, until + 1);
}

static void collect_session(struct collect *c, const struct situation_agent *a)
{
	char when[CLOCK_TEXT_MAX];
	if (a->rival && c->now - a->rival < COLLECT_RECENT)
		conditions_add(c->out, CONDITION_CLONE, true, a->name,
			"another machine uses its key, last at %s, and is refused: was it cloned? "
			"Give the clone a name and keys of its own",
			clock_text(a->rival, when));
	if (a->skew > COLLECT_SKEW || a->skew < -COLLECT_SKEW)
		conditions_add(c->out, CONDITION_CLOCK, false, a->name,
			"its clock was %lld seconds %s the hub's when it connected: one of them is "
			"wrong, see timedatectl on both",
			(long long)(a->skew < 0 ? -a->skew : a->skew), a->skew < 0 ? "behind" : "ahead of");
}

/* A rotation counts until it is done, since the old keys open what is sealed to the agent so long. */
static void collect_rotation(struct collect *c, const struct situation_agent *a)
{
	char when[CLOCK_TEXT_MAX], who[KEY_CHANGES_WHO_MAX];
	if (!a->rotation)
		return;
	conditions_add(c->out, CONDITION_ROTATION, false, a->name,
		"its keys are being changed since %s, as %s asked, and %s; until that is done the old ones open what is sealed to it. %s "
		"certsync agent rotate %s prints a new line. Where somebody else may have its old keys: certsync agent remove %s ends "
		"at once all that they opened, and certsync agent add %s lets the node in again",
		clock_text(a->rotation, when), key_changes_who(a->rotation_by, who),
		a->rotates ? "it has not come in with the new ones yet" : "no node has taken the line for it yet",
		a->rotates ? "On its node, systemctl restart certsync-agent makes it come in."
			   : "Give the line to certsync-agent join there.",
		a->name, a->name, a->name);
}

static void collect_stranger(struct collect *c, const struct situation_agent *a)
{
	char when[CLOCK_TEXT_MAX];
	if (!a->stranger || c->now - a->stranger >= COLLECT_RECENT)
		return;
	conditions_add(c->out, CONDITION_OLD_KEY, true, a->name,
		"somebody came in, last at %s, with a key that it has no more (its end is %s), and is refused: a machine that was put back from a "
		"backup, or a thief. The log of sshd says from where; if it is the agent itself, certsync agent add %s --replace prints a "
		"line for it",
		clock_text(a->stranger, when),
		a->stranger_mark[0] ? a->stranger_mark
				    : "not known: the line in authorized_keys is of an older version",
		a->name);
	look_again(c, a->stranger + COLLECT_RECENT);
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
	char when[CLOCK_TEXT_MAX];
	size_t count = c->s->change_count;
	const struct key_change *list = c->s->changes;
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

static void collect_agent(struct collect *c, const struct situation_agent *a)
{
	collect_rotation(c, a);
	collect_stranger(c, a);
	if (a->connected)
		collect_session(c, a);
	else
		collect_away(c, a);
}

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);
	return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

/* Only a connected agent tells of these, so its absence does not mean that they are over. */
static void keep_of_absent(struct collect *c, const struct situation_agent *a)
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
	const struct signing_status *s = &c->s->signing;
	char when[CLOCK_TEXT_MAX], who[KEY_CHANGES_WHO_MAX];
	auto_buf struct buf names = BUF_INIT(COLLECT_NAMED * (NAME_AGENT_MAX + 32));
	bool cut_off = false;
	if (s->phase == SIGNING_IDLE && !s->missing_count)
		return;
	for (size_t i = 0; i < s->missing_count; i++)
		cut_off = cut_off || s->missing[i].cut_off;
	name_missing(s, &names);
	if (s->phase == SIGNING_IDLE) {
		conditions_add(c->out, CONDITION_SIGNING, true, "hub",
			"agents refuse the hub's signing key: %s. Was the hub restored from a backup that is older than its present key? Nothing that it "
			"signs is taken there; `certsync keys` shows what they say, and what to do",
			buf_text(&names));
		return;
	}
	conditions_add(c->out, CONDITION_SIGNING, cut_off, "hub",
		"the signing key is being replaced since %s, as %s asked; %s. %zu of %zu agents have not said that: %s. `certsync keys` shows why, and "
		"what to do",
		clock_text(s->since, when), key_changes_who(s->by, who),
		s->phase == SIGNING_TOLD
			? "the next one takes over when every agent has said that it takes both"
			: "the new one signs, and this is over when every agent has said that it has forgotten the old one",
		s->missing_count, s->agent_count, buf_text(&names));
}

static void collect_store(struct collect *c)
{
	const struct situation_hub *hub = &c->s->hub;
	if (hub->disk_error[0])
		conditions_add(
			c->out, CONDITION_STORE, true, hub->state, "its disk cannot be asked: %s", hub->disk_error);
	else if (hub->disk_share < COLLECT_DISK_PERCENT)
		conditions_add(c->out, CONDITION_STORE, hub->disk_share < 1, hub->state,
			"its disk has less than %d %% left: what cannot "
			"be written is not published; make room",
			hub->disk_share < 1 ? 1 : COLLECT_DISK_PERCENT);
	if (hub->store_trouble[0])
		conditions_add(
			c->out, CONDITION_STORE, true, "records", "the last write failed: %s", hub->store_trouble);
	for (size_t i = 0; i < hub->damage_count; i++) {
		const struct store_damage *damage = &hub->damages[i];
		if (c->now - damage->at >= STORE_DAMAGE_TOLD)
			continue;
		conditions_add(c->out, CONDITION_STORE, false, damage->record, "this record could not be read: %s",
			damage->text);
		look_again(c, damage->at + STORE_DAMAGE_TOLD);
	}
	if (hub->keys_trouble[0])
		conditions_add(c->out, CONDITION_STORE, true, "certsync-keys", "%s", hub->keys_trouble);
	if (hub->root_error[0])
		conditions_add(c->out, CONDITION_STORE, true, hub->authorized_keys, "it could not be written: %s",
			hub->root_error);
}

void alert_collect_manifests(const struct situation *s, struct conditions *out)
{
	for (size_t i = 0; i < s->certificate_count; i++)
		if (s->certificates[i].store_error)
			conditions_add(out, CONDITION_STORE, true, s->certificates[i].name,
				"its current revision cannot be read: %s; restore it, or publish it again",
				s->certificates[i].store_error);
}

/* ---- endpoints ---- */

/* The reason has the digests shortened, so they are told in full. */
static char *digests(const struct situation_certificate *of, const struct check *check)
{
	char served[CHAIN_HEX_MAX], wanted[CHAIN_HEX_MAX], second[CHAIN_HEX_MAX];
	bool pair = manifest_has_second(&of->current);
	return mem_printf("served: SHA-256 %s; wanted: SHA-256 %s%s%s; ",
		check->served ? chain_hex(check->facts.fingerprint, served) : "",
		chain_hex(of->current.content.leaf, wanted), pair ? " or, for the other kind of key, " : "",
		pair ? chain_hex(of->current.second, second) : "");
}

static void collect_found(struct collect *c, const struct endpoint_row *row, const struct check_found *found)
{
	static const enum condition_kind kinds[] = {
		[CHECK_EXPIRING] = CONDITION_EXPIRING,
		[CHECK_MISMATCH] = CONDITION_MISMATCH,
		[CHECK_UNTRUSTED] = CONDITION_UNTRUSTED,
		[CHECK_UNREACHABLE] = CONDITION_UNREACHABLE,
	};
	enum check_verdict verdict = found->check.verdict;
	if (verdict == CHECK_OK)
		return;
	auto_free char *subject = mem_printf("%s %s", row->name, found->endpoint);
	const struct situation_certificate *of =
		verdict == CHECK_MISMATCH ? situation_certificate(c->s, row->certificate) : NULL;
	auto_free char *both = of && of->published ? digests(of, &found->check) : NULL;
	conditions_add(c->out, kinds[verdict], verdict != CHECK_EXPIRING, subject, "%s; %swhat to do: %s",
		found->check.reason, both ? both : "", found->check.advice);
}

static void collect_endpoints(struct collect *c)
{
	if (c->s->endpoints_trouble[0])
		conditions_add(c->out, CONDITION_UNREACHABLE, true, "all endpoints",
			"they cannot be checked: %s; what is shown of them is old", c->s->endpoints_trouble);
	for (size_t i = 0; i < c->s->endpoint_count; i++) {
		const struct endpoint_row *row = c->s->endpoints[i];
		collect_found(c, row, &row->found);
		if (row->before)
			collect_found(c, row, row->before);
	}
}

void alert_collect(const struct situation *s, const struct condition_book *book, int64_t from, struct conditions *out,
	int64_t *ret_next)
{
	struct collect c = {.s = s, .book = book, .from = from, .now = s->now, .out = out, .next = INT64_MAX};
	for (size_t i = 0; i < s->certificate_count; i++) {
		const struct situation_certificate *of = &s->certificates[i];
		collect_certificate(&c, of);
		for (size_t k = 0; k < of->place_count; k++)
			collect_place(&c, of->rollout, &of->places[k]);
	}
	for (size_t i = 0; i < s->agent_count; i++)
		collect_agent(&c, &s->agents[i]);
	collect_changes(&c);
	collect_signing(&c);
	collect_endpoints(&c);
	collect_store(&c);
	for (size_t i = 0; i < s->agent_count; i++)
		if (!s->agents[i].connected)
			keep_of_absent(&c, &s->agents[i]);
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
