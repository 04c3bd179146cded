#include "hub/daemon/rollout/rollout.h"
#include "hub/daemon/rollout/barrier.h"
#include "hub/daemon/rollout/progress.h"
#include "lib/core/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Attempts count seconds since this moment, so that they fit in 31 bits and grow over restarts. */
enum { ATTEMPT_EPOCH = 1700000000 };

void rollout_actions_release(struct rollout_actions *a)
{
	free(a->action);
	*a = (struct rollout_actions){0};
}

void rollout_init(struct rollout *r, const struct hub_certificate *certificate)
{
	*r = (struct rollout){.policy = certificate->rollout,
		.stage_timeout = certificate->stage_timeout,
		.activate_timeout = certificate->activate_timeout,
		.proceed_after = certificate->proceed_after,
		.soak = certificate->soak,
		.on_failure = certificate->on_failure,
		.windows = certificate->windows,
		.window_count = certificate->window_count};
	snprintf(r->certificate, sizeof(r->certificate), "%s", certificate->name);
}

void rollout_release(struct rollout *r)
{
	for (size_t i = 0; i < r->agent_count; i++) {
		free(r->agents[i].output);
		free(r->agents[i].probes);
		free(r->agents[i].not_yet);
	}
	free(r->agents);
	*r = (struct rollout){0};
}

struct rollout_agent *rollout_add_agent(struct rollout *r, const char *name, bool canary)
{
	r->agents = mem_grow(r->agents, r->agent_count + 1, sizeof(*r->agents));
	struct rollout_agent *a = &r->agents[r->agent_count++];
	*a = (struct rollout_agent){.canary = canary};
	snprintf(a->name, sizeof(a->name), "%s", name);
	return a;
}

struct rollout_agent *rollout_find(struct rollout *r, const char *name)
{
	for (size_t i = 0; i < r->agent_count; i++)
		if (strcmp(r->agents[i].name, name) == 0)
			return &r->agents[i];
	return NULL;
}

static void enter(struct rollout_agent *a, enum rollout_state state, int64_t now, int64_t deadline)
{
	a->state = state;
	a->since = now;
	a->deadline = deadline;
}

/* A look, or none, shows no more than the one before: how long that has been so decides about an alert. Whoever comes
 * back, or is pushed, begins anew by probe(). */
static void stay_unverified(struct rollout_agent *a, int64_t now)
{
	enter(a, ROLLOUT_UNVERIFIED, a->state == ROLLOUT_UNVERIFIED ? a->since : now, 0);
}

static void act(struct rollout_actions *out, enum rollout_action_type type, struct rollout_agent *a)
{
	out->action = mem_grow(out->action, out->count + 1, sizeof(*out->action));
	out->action[out->count++] = (struct rollout_action){type, a};
}

/* Returns whether some port was looked at, and showed it. */
static bool was_seen(const struct rollout_agent *a)
{
	for (size_t i = 0; i < a->probe_count; i++)
		if (a->probes[i].match)
			return true;
	return false;
}

enum rollout_state rollout_agent_state(const struct rollout_agent *a)
{
	if (a->held_until)
		return ROLLOUT_HELD;
	if (a->state == ROLLOUT_VERIFIED && !was_seen(a))
		return a->stopped ? ROLLOUT_INSTALLED : ROLLOUT_UNPROBED;
	return a->state;
}

/* Asks for what is served there; the agent is verified when that is the desired certificate everywhere. */
static void probe(struct rollout_agent *a, int64_t now, struct rollout_actions *out)
{
	a->looked = now;
	enter(a, ROLLOUT_UNVERIFIED, now, now + ROLLOUT_PROBE_TIMEOUT);
	act(out, ROLLOUT_SEND_PROBE, a);
}

/* Does the same for an agent that stays what it was until it has answered. */
static void look(struct rollout_agent *a, int64_t now, struct rollout_actions *out)
{
	a->looked = now;
	a->deadline = now + ROLLOUT_PROBE_TIMEOUT;
	act(out, ROLLOUT_SEND_PROBE, a);
}

static bool look_is_due(const struct rollout_agent *a, int64_t now)
{
	return barrier_has_passed(a) && a->connected && !a->held_until && !a->deadline &&
		now - a->looked >= ROLLOUT_LOOK;
}

/* ---- failures ---- */

static int64_t backoff(uint32_t failures, bool permanent)
{
	int64_t delay = ROLLOUT_BACKOFF_MIN;
	while (failures-- > 1 && delay < ROLLOUT_BACKOFF_MAX)
		delay *= 2;
	return permanent || delay > ROLLOUT_BACKOFF_MAX ? ROLLOUT_BACKOFF_MAX : delay;
}

static void fail(struct rollout_agent *a, const char *step, const char *text, bool permanent, int64_t now)
{
	bool activates = a->state == ROLLOUT_ACTIVATING || a->state == ROLLOUT_INSTALLED;
	/* An adopt that is at work there let nothing begin, which says nothing of the revision. */
	if (a->state == ROLLOUT_OFFERED || a->state == ROLLOUT_STAGED || (activates && strcmp(step, "adopt") == 0))
		a->failed_staging = true;
	else if (activates)
		a->failed_activation = true;
	a->failures++;
	a->next_try = now + backoff(a->failures, permanent);
	snprintf(a->step, sizeof(a->step), "%s", step);
	snprintf(a->text, sizeof(a->text), "%s", text);
	free(a->output);
	a->output = NULL;
	a->rolled_back = false;
	enter(a, ROLLOUT_FAILED, now, 0);
}

static void forget_failure(struct rollout_agent *a)
{
	a->failures = 0;
	a->next_try = 0;
	a->failed_staging = a->failed_activation = a->rolled_back = false;
	a->step[0] = a->text[0] = '\0';
	free(a->output);
	a->output = NULL;
}

/* Something there has changed behind our back. */
static void note_drift(struct rollout_agent *a, int64_t now, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void note_drift(struct rollout_agent *a, int64_t now, const char *fmt, ...)
{
	va_list args;
	a->drifts++;
	a->drifted = now;
	va_start(args, fmt);
	vsnprintf(a->drift, sizeof(a->drift), fmt, args);
	va_end(args);
	text_clean(a->drift, 0);
}

/* The agent says what cannot be. */
static void note_contradiction(struct rollout_agent *a, int64_t now, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void note_contradiction(struct rollout_agent *a, int64_t now, const char *fmt, ...)
{
	va_list args;
	a->contradictions++;
	a->contradicted = now;
	va_start(args, fmt);
	vsnprintf(a->contradiction, sizeof(a->contradiction), fmt, args);
	va_end(args);
}

/* Counts a drift that an activation has to mend. */
static void count_in_row(struct rollout_agent *a, int64_t now)
{
	if (now - a->row_at >= ROLLOUT_DRIFT_QUIET)
		a->drifts_in_row = 0;
	a->drifts_in_row++;
	a->row_at = now;
}

/* What drifts again and again is repaired ever more rarely, though each repair succeeds. */
static void fail_by_drift(struct rollout_agent *a, int64_t now)
{
	if (a->failures + 1 < a->drifts_in_row)
		a->failures = a->drifts_in_row - 1;
	fail(a, "drift", a->drift, false, now);
}

static void time_out(struct rollout_agent *a, int64_t now)
{
	char text[128];
	if (barrier_has_passed(a)) {
		stay_unverified(a, now);
		snprintf(a->step, sizeof(a->step), "probe");
		snprintf(a->text, sizeof(a->text),
			"the agent did not say what its ports serve: see the log of certsync-agent there");
		return;
	}
	const char *step = a->state == ROLLOUT_OFFERED ? "stage"
		: a->state == ROLLOUT_ACTIVATING       ? "activate"
						       : "probe";
	snprintf(text, sizeof(text), "no answer within %lld seconds: see the log of certsync-agent there",
		(long long)(a->deadline - a->since));
	fail(a, step, text, false, now);
}

/* ---- the rest of the machine: what is due now; every event ends here ---- */

static uint32_t next_attempt(struct rollout *r, int64_t now)
{
	int64_t clock = now - ATTEMPT_EPOCH;
	uint32_t attempt = r->attempt + 1;
	if (clock > 0 && clock < REVISION_PART_MAX && (uint32_t)clock > attempt)
		attempt = (uint32_t)clock;
	r->attempt = attempt;
	return attempt;
}

static bool offer_is_due(const struct rollout *r, const struct rollout_agent *a, int64_t now)
{
	if (!a->connected || a->held_until || revision_is_placeholder(r->desired.revision))
		return false;
	return a->state == ROLLOUT_IDLE || (a->state == ROLLOUT_FAILED && now >= a->next_try);
}

static void not_after(int64_t *when, int64_t latest)
{
	if (*when > latest)
		*when = latest;
}

/* The wall clock may have been set back: nothing has happened in the future, and nobody waits longer than was asked
 * for. */
static void mend_clock(struct rollout *r, int64_t now)
{
	not_after(&r->started, now);
	not_after(&r->rollback_retry, now + ROLLOUT_BACKOFF_MAX);
	for (size_t i = 0; i < r->agent_count; i++) {
		struct rollout_agent *a = &r->agents[i];
		not_after(&a->since, now);
		not_after(&a->last_seen, now);
		not_after(&a->looked, now);
		not_after(&a->drifted, now);
		not_after(&a->contradicted, now);
		not_after(&a->pulled, now);
		not_after(&a->row_at, now);
		not_after(&a->next_try, now + ROLLOUT_BACKOFF_MAX);
		not_after(&a->held_until, now + a->held_for);
		not_after(&a->deadline,
			now +
				(a->state == ROLLOUT_OFFERED            ? r->stage_timeout
						: barrier_has_passed(a) ? ROLLOUT_PROBE_TIMEOUT
									: r->activate_timeout));
	}
}

static void end_hold(struct rollout_agent *a, int64_t now, struct rollout_actions *out)
{
	a->held_until = 0;
	if (barrier_has_passed(a) && a->connected && !a->deadline)
		probe(a, now, out);
}

/* Does what the clock brings for one agent, and its next offer. */
static void advance_agent(struct rollout *r, struct rollout_agent *a, int64_t now, struct rollout_actions *out)
{
	if (a->held_until && now >= a->held_until)
		end_hold(a, now, out);
	if (a->deadline && now >= a->deadline)
		time_out(a, now);
	if (look_is_due(a, now))
		look(a, now, out);
	if (!offer_is_due(r, a, now))
		return;
	a->attempt = next_attempt(r, now);
	a->stage_ms = a->activate_ms = 0;
	a->fetched = false;
	enter(a, ROLLOUT_OFFERED, now, now + r->stage_timeout);
	act(out, ROLLOUT_SEND_OFFER, a);
}

static void ask_for_rollback(struct rollout *r, int64_t now, struct rollout_actions *out)
{
	const char *refusal;
	if (!barrier_wants_rollback(r, now, &refusal)) {
		r->no_rollback[0] = '\0';
		return;
	}
	if (refusal)
		snprintf(r->no_rollback, sizeof(r->no_rollback), "%s", refusal);
	else if (now >= r->rollback_retry)
		out->roll_back = true;
}

static void advance(struct rollout *r, int64_t now, struct rollout_actions *out)
{
	mend_clock(r, now);
	for (size_t i = 0; i < r->agent_count; i++)
		advance_agent(r, &r->agents[i], now, out);
	ask_for_rollback(r, now, out);
	if (!r->open && !revision_is_placeholder(r->desired.revision) && barrier_opens(r, now))
		r->open = true;
	/* An agent that cannot pass is not asked about: what keeps each of them would be looked for among all the
	 * others, at every answer. */
	bool closed = !r->open && !r->immediate && r->policy == ROLLOUT_TOGETHER;
	for (size_t i = 0; i < r->agent_count; i++) {
		struct rollout_agent *a = &r->agents[i];
		if ((closed && !a->passed) || a->state != ROLLOUT_STAGED || !a->connected || out->roll_back ||
			!barrier_may_activate(r, a, now))
			continue;
		a->told = true;
		enter(a, ROLLOUT_ACTIVATING, now, now + r->activate_timeout);
		act(out, ROLLOUT_SEND_ACTIVATE, a);
	}
}

void rollout_no_rollback(struct rollout *r, const char *reason, int64_t now)
{
	snprintf(r->no_rollback, sizeof(r->no_rollback), "%s", reason);
	text_clean(r->no_rollback, 0);
	r->rollback_retry = now + ROLLOUT_BACKOFF_MAX;
}

void rollout_hold(struct rollout *r, struct rollout_agent *a, int64_t until, int64_t now, struct rollout_actions *out)
{
	bool was_held = a->held_until;
	if (until > now) {
		a->held_for = until - now < MESSAGE_HOLD_MAX ? until - now : MESSAGE_HOLD_MAX;
		a->held_until = now + a->held_for;
	} else if (was_held) {
		end_hold(a, now, out);
	}
	advance(r, now, out);
}

/* Returns whether some agent of the barrier still serves what the desired revision replaces; that stays "the old one"
 * for the next revision. A rollback went back to what is good. */
static bool keeps_old(const struct rollout *r, int64_t now)
{
	bool waits = false, any_passed = false;
	if (revision_is_placeholder(r->desired.revision) || r->immediate)
		return false;
	for (size_t i = 0; i < r->agent_count; i++) {
		const struct rollout_agent *a = &r->agents[i];
		any_passed = any_passed || a->passed;
		if (barrier_awaits(a, now) && a->state != ROLLOUT_FAILED && !a->passed)
			waits = true;
	}
	return waits && (r->old.not_after || !any_passed);
}

static void set_content(struct rollout *r, const struct rollout_content *content)
{
	r->desired = content->desired;
	r->immediate = content->immediate;
	r->urgent = content->urgent;
	r->no_rollback[0] = '\0';
	r->rollback_retry = 0;
}

static void say_ahead(const struct rollout *r, struct rollout_agent *a)
{
	char has[REVISION_TEXT_MAX], wanted[REVISION_TEXT_MAX];
	snprintf(a->step, sizeof(a->step), "revision");
	snprintf(a->text, sizeof(a->text),
		"the agent has had revision %s, this hub wants %s: was the hub restored from an older backup? Nothing is "
		"changed there until `certsync recover` has begun a new epoch",
		revision_text(a->high_water, has), revision_text(r->desired.revision, wanted));
}

static void go_ahead(const struct rollout *r, struct rollout_agent *a, struct revision has, int64_t now)
{
	a->high_water = has;
	say_ahead(r, a);
	enter(a, ROLLOUT_AHEAD, now, 0);
}

static void say_no_section(const struct rollout *r, struct rollout_agent *a)
{
	snprintf(a->step, sizeof(a->step), "configuration");
	snprintf(a->text, sizeof(a->text),
		"agent.conf there has no section certificate \"%s\": add it, then systemctl reload certsync-agent",
		r->certificate);
}

void rollout_no_section(const struct rollout *r, struct rollout_agent *a, int64_t now)
{
	a->no_section = true;
	a->last_seen = now;
	say_no_section(r, a);
}

void rollout_publish(struct rollout *r, const struct rollout_content *content, int64_t now, struct rollout_actions *out)
{
	if (!keeps_old(r, now))
		r->old = content->old;
	set_content(r, content);
	r->started = now;
	r->witnessed = true;
	r->open = r->proceed = false;
	for (size_t i = 0; i < r->agent_count; i++) {
		struct rollout_agent *a = &r->agents[i];
		forget_failure(a);
		if (a->no_section)
			say_no_section(r, a);
		a->force = a->passed = a->told = false;
		if (a->state == ROLLOUT_AHEAD && revision_compare(r->desired.revision, a->high_water) <= 0)
			say_ahead(r, a);
		else
			enter(a, ROLLOUT_IDLE, now, 0);
	}
	advance(r, now, out);
}

void rollout_resume(struct rollout *r, const struct rollout_content *content, int64_t started, bool open, bool proceed)
{
	r->old = content->old;
	set_content(r, content);
	r->witnessed = false;
	r->started = started;
	r->open = open;
	r->proceed = proceed;
}

static bool has_desired(const struct rollout *r, const struct message *inventory)
{
	return !revision_is_placeholder(r->desired.revision) &&
		revision_compare(inventory->content.revision, r->desired.revision) == 0;
}

/* An agent is also ahead where only the number is that of the desired revision, and the content is another hub's. */
static bool is_ahead(const struct rollout *r, const struct message *inventory)
{
	return revision_compare(inventory->high_water, r->desired.revision) > 0 ||
		(has_desired(r, inventory) && !content_same_digest(&inventory->content, &r->desired));
}

/* The desired revision was there, and is not any more. */
static void lose_revision(struct rollout_agent *a, struct revision has, int64_t now, bool at_once)
{
	char text[REVISION_TEXT_MAX];
	count_in_row(a, now);
	note_drift(a, now, "it has revision %s although it had the desired one", revision_text(has, text));
	a->served.revision = has;
	a->served.not_before = a->served.not_after = 0;
	if (at_once && a->drifts_in_row == 1)
		enter(a, ROLLOUT_IDLE, now, 0);
	else
		fail_by_drift(a, now);
}

/* The agent has the desired revision, which only an `activate` brings: this finds out whether there was one. */
static bool may_have_it(const struct rollout *r, struct rollout_agent *a, int64_t now)
{
	char text[REVISION_TEXT_MAX];
	if (a->told || !r->witnessed)
		return true;
	note_contradiction(a, now, "it says that it has revision %s, which it was not told to activate",
		revision_text(r->desired.revision, text));
	return false;
}

static void take_inventory(struct rollout_agent *a, const struct message *inventory)
{
	a->served = inventory->content;
	a->high_water = inventory->high_water;
}

void rollout_hello(struct rollout *r, struct rollout_agent *a, const struct message *inventory, int64_t now,
	struct rollout_actions *out)
{
	a->connected = true;
	a->last_seen = now;
	if (a->no_section)
		a->step[0] = a->text[0] = '\0';
	a->no_section = false;
	take_inventory(a, inventory);
	/* This includes an agent that serves the desired revision but has staged what this hub has never made. */
	if (is_ahead(r, inventory)) {
		go_ahead(r, a, inventory->high_water, now);
	} else if (has_desired(r, inventory) && !a->force && may_have_it(r, a, now)) {
		a->stopped = inventory->stopped;
		a->passed = true;
		a->failed_staging = false;
		probe(a, now, out);
	} else if (a->passed && barrier_has_passed(a)) {
		lose_revision(a, inventory->content.revision, now, true);
		a->served = inventory->content;
	} else if (a->state != ROLLOUT_FAILED) {
		enter(a, ROLLOUT_IDLE, now, 0);
	}
	advance(r, now, out);
}

void rollout_lost(struct rollout *r, struct rollout_agent *a, int64_t now, struct rollout_actions *out)
{
	a->connected = false;
	a->last_seen = now;
	if (barrier_has_passed(a))
		a->deadline = 0;
	else if (rollout_is_under_way(a) || a->state == ROLLOUT_STAGED)
		enter(a, ROLLOUT_IDLE, now, 0);
	advance(r, now, out);
}

static const struct message_probe *find_probe(const struct rollout_agent *a, const struct message_probe *like)
{
	for (size_t i = 0; i < a->probe_count; i++)
		if (strcmp(a->probes[i].endpoint, like->endpoint) == 0 &&
			strcmp(a->probes[i].service, like->service) == 0)
			return &a->probes[i];
	return NULL;
}

/* A port that agent.conf names newly may serve what it served before certsync came, until its service is changed. Where
 * nothing is known of earlier ports, all are taken for old ones. */
static bool is_not_yet_right(const struct rollout_agent *a, const struct message_probe *probe)
{
	const struct message_probe *before = find_probe(a, probe);
	return a->probed && !probe->match && (!before || a->not_yet[before - a->probes]);
}

static void take_probes(struct rollout_agent *a, const struct message *m, int64_t now)
{
	bool *not_yet = mem_array(m->probe_count, sizeof(*not_yet));
	for (size_t i = 0; i < m->probe_count; i++)
		not_yet[i] = is_not_yet_right(a, &m->probes[i]);
	free(a->not_yet);
	a->not_yet = not_yet;
	free(a->probes);
	a->probes = mem_array(m->probe_count, sizeof(*a->probes));
	if (m->probe_count)
		memcpy(a->probes, m->probes, m->probe_count * sizeof(*a->probes));
	a->probe_count = m->probe_count;
	a->probed = a->looked = now;
}

/* Returns an endpoint of the last probes that does not show the desired certificate, one that serves another before one
 * that is silent, or NULL when all that run show it. */
static const struct message_probe *find_bad_probe(const struct rollout_agent *a)
{
	const struct message_probe *silent = NULL, *other = NULL;
	for (size_t i = 0; i < a->probe_count; i++) {
		const struct message_probe *p = &a->probes[i];
		if (p->match || p->stopped)
			continue;
		/* Of two, the one that has changed. */
		if (p->served && (!other || a->not_yet[other - a->probes]))
			other = p;
		silent = silent || p->served ? silent : p;
	}
	return other ? other : silent;
}

/* The activation is repeated, hooks and all: that may be all that it lacks. */
static void judge_other(struct rollout_agent *a, const struct message_probe *bad, int64_t now)
{
	char text[MESSAGE_TEXT_MAX];
	if (a->not_yet[bad - a->probes]) {
		snprintf(text, sizeof(text),
			"%s of %s, new in agent.conf, serves another certificate (SHA-256 %.16s…): certsync-agent adopt",
			bad->endpoint, bad->service, bad->fingerprint);
		fail(a, "probe", text, false, now);
	} else {
		count_in_row(a, now);
		note_drift(a, now, "%s of %s serves another certificate (SHA-256 %.16s…): the activation is repeated",
			bad->endpoint, bad->service, bad->fingerprint);
		fail_by_drift(a, now);
	}
	a->force = true;
}

/* The revision is committed there, and its probes decide the state. */
static void judge_probes(struct rollout_agent *a, int64_t now)
{
	const struct message_probe *bad = find_bad_probe(a);
	if (!bad) {
		forget_failure(a);
		if (a->state != ROLLOUT_VERIFIED)
			enter(a, ROLLOUT_VERIFIED, now, 0);
		a->deadline = 0;
		return;
	}
	if (bad->served) {
		judge_other(a, bad, now);
		return;
	}
	snprintf(a->step, sizeof(a->step), "probe");
	snprintf(a->text, sizeof(a->text), "%s of %s: %s", bad->endpoint, bad->service, bad->text);
	a->failed_activation = false; /* it is in its place, and nothing else was seen in it */
	stay_unverified(a, now);
}

/* Takes what an agent says of its own ports outside of an activation. */
static void look_at_probes(struct rollout *r, struct rollout_agent *a, const struct message *m, int64_t now)
{
	take_probes(a, m, now);
	a->stopped = false; /* a standby may have taken over, or gone back */
	for (size_t i = 0; i < a->probe_count; i++)
		a->stopped = a->stopped || a->probes[i].stopped;
	if (m->repaired && m->repaired != a->repaired && !a->held_until) {
		a->repaired = m->repaired;
		note_drift(a, now, "installed files had been changed, and were put right");
	}
	if (!barrier_has_passed(a)) {
		if (!revision_is_placeholder(r->desired.revision) &&
			revision_compare(m->content.revision, r->desired.revision) == 0)
			may_have_it(r, a, now);
		return;
	}
	a->deadline = 0;
	if (revision_compare(m->content.revision, r->desired.revision) > 0)
		go_ahead(r, a, m->content.revision, now);
	else if (revision_compare(m->content.revision, r->desired.revision) < 0)
		lose_revision(a, m->content.revision, now, false);
	else if (!a->held_until)
		judge_probes(a, now);
}

static void take_failure(struct rollout_agent *a, const struct message *m, int64_t now)
{
	fail(a, m->step, m->text, m->permanent, now);
	a->rolled_back = m->rolled_back;
	a->output = m->output[0] ? mem_strdup(m->output) : NULL;
}

/* The answer is of this very attempt, so it is not stale, but nobody has told the agent to do it. */
static bool is_untold(struct rollout_agent *a, enum message_type type, int64_t now)
{
	bool waits = a->state == ROLLOUT_OFFERED || a->state == ROLLOUT_STAGED;
	if (!waits || (type != MESSAGE_INSTALLED && type != MESSAGE_VERIFIED))
		return false;
	note_contradiction(
		a, now, "it says `%s` of an attempt in which it was not told to activate", message_type_name(type));
	return true;
}

static bool take_answer(struct rollout *r, struct rollout_agent *a, const struct message *m, int64_t now)
{
	if (is_untold(a, m->type, now))
		return false;
	switch (m->type) {
	case MESSAGE_STAGED:
		if (a->state != ROLLOUT_OFFERED)
			return false;
		a->stage_ms = m->milliseconds;
		/* Its high-water mark is the root half's promise, and known now without another inventory. */
		a->high_water = r->desired.revision;
		a->failed_staging = false;
		enter(a, ROLLOUT_STAGED, now, 0);
		return true;
	case MESSAGE_INSTALLED:
		if (a->state != ROLLOUT_ACTIVATING)
			return false;
		enter(a, ROLLOUT_INSTALLED, now, a->deadline);
		return true;
	case MESSAGE_VERIFIED:
		if (a->state != ROLLOUT_ACTIVATING && a->state != ROLLOUT_INSTALLED)
			return false;
		a->activate_ms = m->milliseconds;
		a->served = r->desired;
		memcpy(a->served.leaf, m->content.leaf, sizeof(a->served.leaf));
		a->stopped = m->stopped;
		a->force = false;
		a->passed = true;
		take_probes(a, m, now);
		forget_failure(a);
		judge_probes(a, now);
		return true;
	case MESSAGE_FAILED:
		if (!rollout_is_under_way(a) && a->state != ROLLOUT_STAGED)
			return false;
		take_failure(a, m, now);
		return true;
	default:
		return false;
	}
}

bool rollout_answer(
	struct rollout *r, struct rollout_agent *a, const struct message *m, int64_t now, struct rollout_actions *out)
{
	a->last_seen = now;
	if (m->type == MESSAGE_PROBED) {
		look_at_probes(r, a, m, now);
		advance(r, now, out);
		return true;
	}
	if (m->attempt != a->attempt || revision_compare(m->content.revision, r->desired.revision) != 0 ||
		!take_answer(r, a, m, now))
		return false;
	advance(r, now, out);
	return true;
}

bool rollout_may_fetch(const struct rollout *r, const struct rollout_agent *a, const struct message *m)
{
	return a->state == ROLLOUT_OFFERED && !a->fetched && m->attempt == a->attempt &&
		revision_compare(m->content.revision, r->desired.revision) == 0;
}

void rollout_retry(struct rollout *r, struct rollout_agent *a, bool force, int64_t now, struct rollout_actions *out)
{
	a->force = a->force || force;
	if (a->state == ROLLOUT_FAILED)
		a->next_try = now;
	if (force && barrier_has_passed(a))
		enter(a, ROLLOUT_IDLE, now, 0);
	else if (a->state == ROLLOUT_UNVERIFIED && a->connected && !a->held_until)
		probe(a, now, out);
	advance(r, now, out);
}

void rollout_pull(struct rollout *r, struct rollout_agent *a, int64_t now, struct rollout_actions *out)
{
	int64_t allowed = a->pulled ? a->pulled + ROLLOUT_PULL_REST : now;
	if (a->state == ROLLOUT_FAILED)
		not_after(&a->next_try, allowed);
	if (now < allowed)
		return;
	a->pulled = now;
	rollout_retry(r, a, false, now, out);
}

void rollout_proceed(struct rollout *r, int64_t now, struct rollout_actions *out)
{
	r->proceed = true;
	advance(r, now, out);
}

void rollout_tick(struct rollout *r, int64_t now, struct rollout_actions *out)
{
	advance(r, now, out);
}
