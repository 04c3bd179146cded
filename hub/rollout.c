#include "hub/rollout.h"
#include "lib/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Attempts count seconds since this moment, so that they fit in 31 bits and grow over restarts. */
enum { ATTEMPT_EPOCH = 1700000000 };

const char *rollout_state_name(enum rollout_state state)
{
	static const char *const names[] = {
		[ROLLOUT_IDLE] = "waiting", [ROLLOUT_OFFERED] = "offered", [ROLLOUT_STAGED] = "staged",
		[ROLLOUT_ACTIVATING] = "activating", [ROLLOUT_INSTALLED] = "installed",
		[ROLLOUT_VERIFIED] = "verified", [ROLLOUT_UNVERIFIED] = "unverified", [ROLLOUT_FAILED] = "failed", [ROLLOUT_AHEAD] = "ahead",
	};
	return names[state];
}

void rollout_actions_release(struct rollout_actions *a)
{
	free(a->action);
	*a = (struct rollout_actions){0};
}

void rollout_init(struct rollout *r, const struct hub_certificate *certificate)
{
	*r = (struct rollout){.policy = certificate->rollout, .stage_timeout = certificate->stage_timeout,
		.activate_timeout = certificate->activate_timeout, .proceed_after = certificate->proceed_after,
		.soak = certificate->soak};
	snprintf(r->certificate, sizeof(r->certificate), "%s", certificate->name);
}

void rollout_release(struct rollout *r)
{
	for (size_t i = 0; i < r->agent_count; i++) {
		free(r->agents[i].output);
		free(r->agents[i].probes);
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

static void act(struct rollout_actions *out, enum rollout_action_type type, struct rollout_agent *a)
{
	out->action = mem_grow(out->action, out->count + 1, sizeof(*out->action));
	out->action[out->count++] = (struct rollout_action){type, a};
}

static bool under_way(const struct rollout_agent *a)
{
	return a->state == ROLLOUT_OFFERED || a->state == ROLLOUT_ACTIVATING || a->state == ROLLOUT_INSTALLED ||
		(a->state == ROLLOUT_UNVERIFIED && a->deadline);
}

/* The desired revision is committed there. */
static bool has_passed(const struct rollout_agent *a)
{
	return a->state == ROLLOUT_VERIFIED || a->state == ROLLOUT_UNVERIFIED;
}

/* Asks for what is served there; verified when it is the desired one everywhere. */
static void probe(struct rollout_agent *a, int64_t now, struct rollout_actions *out)
{
	enter(a, ROLLOUT_UNVERIFIED, now, now + ROLLOUT_PROBE_TIMEOUT);
	act(out, ROLLOUT_SEND_PROBE, a);
}

/* Failures. */

static int64_t backoff(uint32_t failures, bool permanent)
{
	int64_t delay = ROLLOUT_BACKOFF_MIN;
	while (failures-- > 1 && delay < ROLLOUT_BACKOFF_MAX)
		delay *= 2;
	return permanent || delay > ROLLOUT_BACKOFF_MAX ? ROLLOUT_BACKOFF_MAX : delay;
}

static void fail(struct rollout_agent *a, const char *step, const char *text, bool permanent, int64_t now)
{
	if (a->state == ROLLOUT_OFFERED || a->state == ROLLOUT_STAGED)
		a->failed_staging = true;
	if (a->state == ROLLOUT_ACTIVATING || a->state == ROLLOUT_INSTALLED)
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

static void time_out(struct rollout_agent *a, int64_t now)
{
	char text[128];
	if (a->state == ROLLOUT_UNVERIFIED) {
		snprintf(a->step, sizeof(a->step), "probe");
		snprintf(a->text, sizeof(a->text), "the agent did not say what its ports serve: see the log of certsync-agent there");
		a->deadline = 0;
		return;
	}
	const char *step = a->state == ROLLOUT_OFFERED ? "stage" : a->state == ROLLOUT_ACTIVATING ? "activate" : "probe";
	snprintf(text, sizeof(text), "no answer within %lld seconds: see the log of certsync-agent there",
		(long long)(a->deadline - a->since));
	fail(a, step, text, false, now);
}

/* The barrier. */

static bool old_one_is_nearly_over(const struct rollout *r, int64_t now)
{
	if (!r->old_not_after)
		return true; /* there is none: nothing is gained by waiting */
	return r->old_not_after - now < (r->old_not_after - r->old_not_before) / 6;
}

/* In spite of a failure somewhere. */
static bool must_go_on(const struct rollout *r, int64_t now)
{
	return r->proceed || now - r->started >= r->proceed_after || old_one_is_nearly_over(r, now);
}

static bool in_barrier(const struct rollout_agent *a, int64_t now)
{
	return a->connected || (a->last_seen && now - a->last_seen <= ROLLOUT_SEEN);
}

static bool barrier_opens(const struct rollout *r, int64_t now)
{
	bool complete = true, failed = false;
	for (size_t i = 0; i < r->agent_count; i++) {
		const struct rollout_agent *a = &r->agents[i];
		if (!in_barrier(a, now) || a->state == ROLLOUT_AHEAD)
			continue;
		if (a->state != ROLLOUT_STAGED && !has_passed(a))
			complete = false;
		if (a->failed_staging)
			failed = true;
	}
	if (complete)
		return true;
	if (failed)
		return must_go_on(r, now) && (r->proceed || now - r->started >= r->stage_timeout);
	return now - r->started >= r->stage_timeout;
}

/* Some agent failed after its files were switched, and has not got over it. */
static bool activation_failed(const struct rollout *r)
{
	for (size_t i = 0; i < r->agent_count; i++)
		if (r->agents[i].failed_activation)
			return true;
	return false;
}

/* When the canaries have soaked; INT64_MAX: some canary is not verified; now or earlier: there is none to wait for. */
static int64_t soaked_at(const struct rollout *r)
{
	int64_t when = 0;
	for (size_t i = 0; i < r->agent_count; i++) {
		const struct rollout_agent *a = &r->agents[i];
		if (!a->canary)
			continue;
		if (a->state != ROLLOUT_VERIFIED)
			return INT64_MAX;
		when = a->since + r->soak > when ? a->since + r->soak : when;
	}
	return when;
}

static bool may_activate(const struct rollout *r, const struct rollout_agent *a, int64_t now)
{
	if (r->immediate)
		return true;
	if (!a->canary && now < soaked_at(r) && !must_go_on(r, now))
		return false;
	if (r->policy == ROLLOUT_IMMEDIATE)
		return true;
	if (!r->open)
		return false;
	/* A retry of the one that failed is no further activation. */
	return a->failed_activation || !activation_failed(r) || must_go_on(r, now);
}

/* The rest of the machine: what is due now. Every event ends here. */

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
	if (!a->connected || revision_is_placeholder(r->desired))
		return false;
	return a->state == ROLLOUT_IDLE || (a->state == ROLLOUT_FAILED && now >= a->next_try);
}

static void not_after(int64_t *when, int64_t latest)
{
	if (*when > latest)
		*when = latest;
}

/* The wall clock may have been set back: nothing has happened in the future, and nobody waits longer than asked to. */
static void mend_clock(struct rollout *r, int64_t now)
{
	not_after(&r->started, now);
	for (size_t i = 0; i < r->agent_count; i++) {
		struct rollout_agent *a = &r->agents[i];
		not_after(&a->since, now);
		not_after(&a->last_seen, now);
		not_after(&a->next_try, now + ROLLOUT_BACKOFF_MAX);
		not_after(&a->deadline, now + (a->state == ROLLOUT_OFFERED ? r->stage_timeout :
			a->state == ROLLOUT_UNVERIFIED ? ROLLOUT_PROBE_TIMEOUT : r->activate_timeout));
	}
}

static void advance(struct rollout *r, int64_t now, struct rollout_actions *out)
{
	mend_clock(r, now);
	for (size_t i = 0; i < r->agent_count; i++) {
		struct rollout_agent *a = &r->agents[i];
		if (a->deadline && now >= a->deadline)
			time_out(a, now);
		if (offer_is_due(r, a, now)) {
			a->attempt = next_attempt(r, now);
			a->stage_ms = a->activate_ms = 0;
			a->fetched = false;
			enter(a, ROLLOUT_OFFERED, now, now + r->stage_timeout);
			act(out, ROLLOUT_SEND_OFFER, a);
		}
	}
	if (!r->open && !revision_is_placeholder(r->desired) && barrier_opens(r, now))
		r->open = true;
	for (size_t i = 0; i < r->agent_count; i++) {
		struct rollout_agent *a = &r->agents[i];
		if (a->state != ROLLOUT_STAGED || !a->connected || !may_activate(r, a, now))
			continue;
		enter(a, ROLLOUT_ACTIVATING, now, now + r->activate_timeout);
		act(out, ROLLOUT_SEND_ACTIVATE, a);
	}
}

static void set_content(struct rollout *r, const struct rollout_content *content)
{
	r->desired = content->revision;
	snprintf(r->digest, sizeof(r->digest), "%s", content->digest);
	r->old_not_before = content->old_not_before;
	r->old_not_after = content->old_not_after;
	r->immediate = content->immediate;
}

static void say_ahead(const struct rollout *r, struct rollout_agent *a)
{
	char has[REVISION_TEXT_MAX], wanted[REVISION_TEXT_MAX];
	snprintf(a->step, sizeof(a->step), "revision");
	snprintf(a->text, sizeof(a->text),
		"the agent has had revision %s, this hub wants %s: was the hub restored from an older backup? Nothing is "
		"changed there until this hub publishes a newer revision",
		revision_text(a->high_water, has), revision_text(r->desired, wanted));
}

void rollout_publish(struct rollout *r, const struct rollout_content *content, int64_t now,
	struct rollout_actions *out)
{
	set_content(r, content);
	r->started = now;
	r->open = r->proceed = false;
	for (size_t i = 0; i < r->agent_count; i++) {
		struct rollout_agent *a = &r->agents[i];
		forget_failure(a);
		a->force = false;
		if (a->state == ROLLOUT_AHEAD && revision_compare(r->desired, a->high_water) <= 0)
			say_ahead(r, a);
		else
			enter(a, ROLLOUT_IDLE, now, 0);
	}
	advance(r, now, out);
}

void rollout_resume(struct rollout *r, const struct rollout_content *content, int64_t started, bool open, bool proceed)
{
	set_content(r, content);
	r->started = started;
	r->open = open;
	r->proceed = proceed;
}

static bool has_desired(const struct rollout *r, const struct message *inventory)
{
	return !revision_is_placeholder(r->desired) && revision_compare(inventory->revision, r->desired) == 0 &&
		strcmp(inventory->digest, r->digest) == 0;
}

static bool is_ahead(const struct rollout *r, const struct message *inventory)
{
	if (revision_compare(inventory->high_water, r->desired) > 0)
		return true;
	return revision_compare(inventory->revision, r->desired) == 0 && !revision_is_placeholder(r->desired) &&
		strcmp(inventory->digest, r->digest) != 0;
}

void rollout_hello(struct rollout *r, struct rollout_agent *a, const struct message *inventory, int64_t now,
	struct rollout_actions *out)
{
	a->connected = true;
	a->last_seen = now;
	a->served = inventory->revision;
	a->high_water = inventory->high_water;
	snprintf(a->fingerprint, sizeof(a->fingerprint), "%s", inventory->fingerprint);
	if (has_desired(r, inventory) && !a->force) {
		a->stopped = inventory->stopped;
		a->failed_staging = a->failed_activation = false;
		probe(a, now, out);
		/* Somebody has passed the barrier: a hub that was killed before it had noted that must not close it. */
		r->open = true;
	} else if (is_ahead(r, inventory)) {
		say_ahead(r, a);
		enter(a, ROLLOUT_AHEAD, now, 0);
	} else if (a->state != ROLLOUT_FAILED) {
		enter(a, ROLLOUT_IDLE, now, 0);
	}
	advance(r, now, out);
}

void rollout_lost(struct rollout *r, struct rollout_agent *a, int64_t now, struct rollout_actions *out)
{
	a->connected = false;
	a->last_seen = now;
	if (a->state == ROLLOUT_UNVERIFIED)
		a->deadline = 0;
	else if (under_way(a) || a->state == ROLLOUT_STAGED)
		enter(a, ROLLOUT_IDLE, now, 0);
	advance(r, now, out);
}

static void take_probes(struct rollout_agent *a, const struct message *m, int64_t now)
{
	free(a->probes);
	a->probes = mem_array(m->probe_count, sizeof(*a->probes));
	if (m->probe_count)
		memcpy(a->probes, m->probes, m->probe_count * sizeof(*a->probes));
	a->probe_count = m->probe_count;
	a->probed = now;
}

/* The first endpoint of the last probes that does not show the desired certificate; NULL when all that run do. */
static const struct message_probe *find_bad_probe(const struct rollout_agent *a)
{
	for (size_t i = 0; i < a->probe_count; i++)
		if (!a->probes[i].match && !a->probes[i].stopped)
			return &a->probes[i];
	return NULL;
}

/* Committed there: what do its probes say? */
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
		fail(a, "drift", "", false, now);
		snprintf(a->text, sizeof(a->text), "%s of %s serves another certificate (SHA-256 %s): the activation is repeated",
			bad->endpoint, bad->service, bad->fingerprint);
		a->force = true;
		return;
	}
	snprintf(a->step, sizeof(a->step), "probe");
	snprintf(a->text, sizeof(a->text), "%s of %s: %s", bad->endpoint, bad->service, bad->text);
	enter(a, ROLLOUT_UNVERIFIED, now, 0);
}

/* What an agent says of its own ports outside of an activation. */
static void look_at_probes(const struct rollout *r, struct rollout_agent *a, const struct message *m, int64_t now)
{
	take_probes(a, m, now);
	a->stopped = false; /* a standby may have taken over, or gone back */
	for (size_t i = 0; i < a->probe_count; i++)
		a->stopped = a->stopped || a->probes[i].stopped;
	if (has_passed(a) && revision_compare(m->revision, r->desired) == 0)
		judge_probes(a, now);
}

static void take_failure(struct rollout_agent *a, const struct message *m, int64_t now)
{
	fail(a, m->step, m->text, m->permanent, now);
	a->rolled_back = m->rolled_back;
	a->output = m->output[0] ? mem_strdup(m->output) : NULL;
}

static bool take_answer(struct rollout *r, struct rollout_agent *a, const struct message *m, int64_t now)
{
	switch (m->type) {
	case MESSAGE_STAGED:
		if (a->state != ROLLOUT_OFFERED)
			return false;
		a->stage_ms = m->milliseconds;
		/* Its high-water mark is the root half's promise: known now without another inventory. */
		a->high_water = r->desired;
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
		a->stopped = m->stopped;
		a->force = false;
		snprintf(a->fingerprint, sizeof(a->fingerprint), "%s", m->fingerprint);
		take_probes(a, m, now);
		forget_failure(a);
		judge_probes(a, now);
		return true;
	case MESSAGE_FAILED:
		if (!under_way(a) && a->state != ROLLOUT_STAGED)
			return false;
		take_failure(a, m, now);
		return true;
	default:
		return false;
	}
}

bool rollout_answer(struct rollout *r, struct rollout_agent *a, const struct message *m, int64_t now,
	struct rollout_actions *out)
{
	a->last_seen = now;
	if (m->type == MESSAGE_PROBED) {
		look_at_probes(r, a, m, now);
		advance(r, now, out);
		return true;
	}
	if (m->attempt != a->attempt || revision_compare(m->revision, r->desired) != 0 || !take_answer(r, a, m, now))
		return false;
	advance(r, now, out);
	return true;
}

bool rollout_may_fetch(const struct rollout *r, const struct rollout_agent *a, const struct message *m)
{
	return a->state == ROLLOUT_OFFERED && !a->fetched && m->attempt == a->attempt &&
		revision_compare(m->revision, r->desired) == 0;
}

void rollout_retry(struct rollout *r, struct rollout_agent *a, bool force, int64_t now, struct rollout_actions *out)
{
	a->force = a->force || force;
	if (a->state == ROLLOUT_FAILED)
		a->next_try = now;
	if (force && has_passed(a))
		enter(a, ROLLOUT_IDLE, now, 0);
	else if (a->state == ROLLOUT_UNVERIFIED && a->connected)
		probe(a, now, out);
	advance(r, now, out);
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

static void sooner(int64_t *best, int64_t when)
{
	if (when < *best)
		*best = when;
}

/* When must_go_on becomes true by itself. */
static int64_t goes_on_at(const struct rollout *r)
{
	int64_t when = r->started + r->proceed_after;
	if (r->old_not_after)
		sooner(&when, r->old_not_after - (r->old_not_after - r->old_not_before) / 6 + 1);
	return when;
}

int64_t rollout_next(const struct rollout *r, int64_t now)
{
	int64_t best = INT64_MAX;
	for (size_t i = 0; i < r->agent_count; i++) {
		const struct rollout_agent *a = &r->agents[i];
		if (a->deadline)
			sooner(&best, a->deadline);
		if (a->state == ROLLOUT_FAILED && a->connected)
			sooner(&best, a->next_try);
		if (a->state != ROLLOUT_STAGED)
			continue;
		if (r->started + r->stage_timeout > now)
			sooner(&best, r->started + r->stage_timeout);
		if (goes_on_at(r) > now)
			sooner(&best, goes_on_at(r));
		if (soaked_at(r) > now)
			sooner(&best, soaked_at(r));
	}
	return best;
}

bool rollout_busy(const struct rollout *r, const struct rollout_agent *a, int64_t now)
{
	if (under_way(a))
		return true;
	if (a->state != ROLLOUT_STAGED)
		return false;
	/* At the barrier: something under way elsewhere, or stage_timeout, may open it; a failure will not. */
	for (size_t i = 0; i < r->agent_count; i++)
		if (under_way(&r->agents[i]))
			return true;
	for (size_t i = 0; i < r->agent_count; i++)
		if (r->agents[i].failures && in_barrier(&r->agents[i], now))
			return false;
	if (!a->canary && soaked_at(r) != INT64_MAX && now < soaked_at(r))
		return true;
	return now - r->started < r->stage_timeout;
}

bool rollout_converged(const struct rollout *r)
{
	for (size_t i = 0; i < r->agent_count; i++)
		if (r->agents[i].state != ROLLOUT_VERIFIED)
			return false;
	return !revision_is_placeholder(r->desired);
}
