#include "agent/daemon/transaction.h"

#include <stdio.h>
#include <string.h>

enum {
	TIMEOUT_SHARE = 15,      /* s: what of the hub's time-out is left for undoing and telling */
	TIMEOUT_LEAST = 30,      /* s */
	TIMEOUT_DEFAULT = 120,   /* s: when the hub names none */
	COMMIT_SHARE = 5000,     /* ms of the root half's deadline that probes leave for the commit */
	PROBE_LONGEST = 30000,   /* ms: a reload that has shown nothing by then has failed; do not break it longer */
	PROBE_UNDONE = 10000,    /* ms: how long the old leaf is waited for after an undo */
	PROBE_FIRST_DELAY = 250, /* ms */
	PROBE_LAST_DELAY = 2000, /* ms */
};

enum step {
	END,
	FETCH,
	STAGE,
	LOOK, /* ask for the inventory */
	TEST,
	STAGED,
	RUNNING,
	PROBE_BEFORE,
	ACTIVATE,
	RELOAD,
	INSTALLED,
	PROBE_UNTIL, /* until the new leaf is served, or the time is over */
	COMMIT,
	PROBE_ONCE,
	VERIFIED,
	CONFIRM, /* not what should be served: reload after all */
	PROBED,
	UNDO,
	PROBE_AFTER, /* until the old leaf is served again */
	FAILED,
};

static const uint8_t way_fetch[] = {FETCH, STAGE, LOOK, TEST, STAGED, END};
static const uint8_t way_fetch_same[] = {FETCH, STAGE, LOOK, STAGED, END};
static const uint8_t way_test[] = {TEST, STAGED, END};
static const uint8_t way_have[] = {STAGED, END};
static const uint8_t way_activate[] = {
	RUNNING, PROBE_BEFORE, ACTIVATE, TEST, RELOAD, INSTALLED, PROBE_UNTIL, COMMIT, LOOK, VERIFIED, END};
static const uint8_t way_renumber[] = {ACTIVATE, INSTALLED, COMMIT, LOOK, RUNNING, PROBE_ONCE, VERIFIED, END};
static const uint8_t way_resume[] = {
	RUNNING, PROBE_BEFORE, TEST, RELOAD, INSTALLED, PROBE_UNTIL, COMMIT, LOOK, VERIFIED, END};
static const uint8_t way_force[] = {RUNNING, PROBE_BEFORE, TEST, RELOAD, INSTALLED, PROBE_UNTIL, VERIFIED, END};
static const uint8_t way_confirm[] = {RUNNING, PROBE_ONCE, CONFIRM, VERIFIED, END};
static const uint8_t way_inspect[] = {RUNNING, PROBE_ONCE, PROBED, END};
static const uint8_t way_undo[] = {UNDO, LOOK, PROBE_AFTER, FAILED, END};
static const uint8_t way_undone[] = {LOOK, PROBE_AFTER, FAILED, END};
static const uint8_t way_refused[] = {LOOK, FAILED, END};

static void begin(struct transaction *t, const struct transaction_order *order, int64_t now);
static void go(struct transaction *t, const uint8_t *way, int64_t now);

/* The probes are compared with this leaf: what live/ points at, or what the order is about to put there. */
static void expect(struct transaction *t, const uint8_t *first, const uint8_t *second)
{
	static const uint8_t none[CHAIN_SHA256_SIZE];
	chain_hex(first, t->view.expected);
	t->view.second[0] = '\0';
	if (memcmp(second, none, sizeof(none)) != 0)
		chain_hex(second, t->view.second);
}

static void expect_live(struct transaction *t)
{
	expect(t, t->have.live, t->have.second);
}

static void expect_target(struct transaction *t)
{
	bool staged = revision_compare(t->have.staged.revision, t->order.content.revision) == 0;
	if (staged)
		expect(t, t->have.staged.leaf, t->have.staged_second);
	else
		expect_live(t);
}

/* ---- telling the hub ---- */

static void message_for(const struct transaction *t, enum message_type type, int64_t now, struct message *m)
{
	*m = (struct message){.type = type, .content.revision = t->order.content.revision, .attempt = t->order.attempt};
	snprintf(m->certificate, sizeof(m->certificate), "%s", t->certificate);
	chain_unhex(t->view.expected, m->content.leaf);
	m->milliseconds = (uint32_t)(now - t->started);
	m->stopped = t->stopped;
}

static void tell_step(struct transaction *t, enum message_type type, enum transaction_state state, int64_t now)
{
	auto_message struct message m;
	expect_target(t);
	message_for(t, type, now, &m);
	if (type == MESSAGE_VERIFIED)
		probed_add_to(&t->view, &m);
	t->state = state;
	t->io->tell(&m, t->context);
}

static void tell_probed(struct transaction *t, int64_t now)
{
	auto_message struct message m;
	message_for(t, MESSAGE_PROBED, now, &m);
	m.content.revision = t->have.served.revision;
	m.attempt = t->inspection;
	m.repaired = t->repaired;
	probed_add_to(&t->view, &m);
	t->io->tell(&m, t->context);
}

void transaction_tell_probes(struct transaction *t, int64_t now)
{
	tell_probed(t, now);
}

static void tell_failed(struct transaction *t, int64_t now)
{
	auto_message struct message m;
	struct transaction_failure *f = &t->failure;
	f->rolled_back = t->undone && revision_is_placeholder(t->have.pending) &&
		revision_compare(t->have.served.revision, t->order.content.revision) != 0;
	message_for(t, MESSAGE_FAILED, now, &m);
	m.rolled_back = f->rolled_back;
	m.permanent = f->permanent;
	memcpy(m.step, f->step, sizeof(m.step));
	memcpy(m.text, f->text, sizeof(m.text));
	memcpy(m.output, f->output, sizeof(m.output));
	t->state = TRANSACTION_FAILED;
	t->io->tell(&m, t->context);
}

/* ---- probes ---- */

/* Takes the time for probing, which nests in the root half's deadline. Returns whether there is anything to probe. */
static bool probe_begin(struct transaction *t, int64_t longest, int64_t now)
{
	t->probe_delay = PROBE_FIRST_DELAY;
	t->probe_ends = now + longest;
	if (t->switched && t->probe_ends > t->switch_ends - COMMIT_SHARE)
		t->probe_ends = t->switch_ends - COMMIT_SHARE;
	return probed_want_running(&t->view);
}

/* ---- walking ---- */

static void ask(struct transaction *t, enum request_op op, uint32_t timeout)
{
	t->io->ask(
		op, t->way == way_inspect ? t->have.served.revision : t->order.content.revision, timeout, t->context);
}

static void ask_activate(struct transaction *t, int64_t now)
{
	uint32_t timeout = t->order.timeout ? t->order.timeout : TIMEOUT_DEFAULT;
	timeout = timeout > TIMEOUT_LEAST + TIMEOUT_SHARE ? timeout - TIMEOUT_SHARE : TIMEOUT_LEAST;
	t->switched = true;
	t->switch_ends = now + (int64_t)timeout * 1000;
	ask(t, REQUEST_ACTIVATE, timeout);
}

/* The last look decides the state of what is installed, also when a port that was dead before did not stop the way. */
static enum transaction_state seen_state(const struct transaction *t)
{
	return probed_all_match(&t->view) ? TRANSACTION_VERIFIED : TRANSACTION_UNVERIFIED;
}

/* Does a step that needs no answer. Returns true when the step is done. */
static bool do_at_once(struct transaction *t, int64_t now)
{
	switch ((enum step)t->way[t->at]) {
	case STAGED:
		tell_step(t, MESSAGE_STAGED, TRANSACTION_STAGED, now);
		return true;
	case INSTALLED:
		tell_step(t, MESSAGE_INSTALLED, TRANSACTION_INSTALLED, now);
		return true;
	case VERIFIED:
		t->failure = (struct transaction_failure){0};
		tell_step(t, MESSAGE_VERIFIED, seen_state(t), now);
		return true;
	case PROBED:
		if (t->state == TRANSACTION_INSTALLED || t->state == TRANSACTION_VERIFIED ||
			t->state == TRANSACTION_UNVERIFIED)
			t->state = seen_state(t);
		tell_probed(t, now);
		return true;
	case FAILED:
		tell_failed(t, now);
		return true;
	default:
		return false;
	}
}

/* Starts a step that probes. Returns false when there is nothing to probe, so that the step is done. */
static bool start_probes(struct transaction *t, int64_t now)
{
	bool until = t->way[t->at] == PROBE_UNTIL;
	if (until)
		expect_target(t);
	else
		expect_live(t);
	if (!probe_begin(t, until ? PROBE_LONGEST : PROBE_UNDONE, now))
		return false;
	t->io->probe(t->view.wanted, t->context);
	return true;
}

static void ask_step(struct transaction *t, int64_t now)
{
	switch ((enum step)t->way[t->at]) {
	case FETCH:
		t->io->fetch(t->order.content.revision, t->order.attempt, t->context);
		break;
	case LOOK:
		ask(t, REQUEST_INVENTORY, 0);
		break;
	case TEST:
		ask(t, REQUEST_TEST, 0);
		break;
	case RUNNING:
		ask(t, REQUEST_RUNNING, 0);
		break;
	case ACTIVATE:
		ask_activate(t, now);
		break;
	case RELOAD:
		ask(t, REQUEST_RELOAD, 0);
		break;
	case COMMIT:
		ask(t, REQUEST_COMMIT, 0);
		break;
	case UNDO:
		ask(t, REQUEST_UNDO, 0);
		break;
	default: /* STAGE: asked when the bundle came */
		break;
	}
}

static bool is_probe_step(enum step step)
{
	return step == PROBE_BEFORE || step == PROBE_ONCE || step == PROBE_UNTIL || step == PROBE_AFTER;
}

/* The way has ended, and the order that came meanwhile is next. */
static void rest(struct transaction *t, int64_t now)
{
	struct transaction_order next = t->next;
	t->way = NULL;
	t->next = (struct transaction_order){0};
	if (!revision_is_placeholder(next.content.revision)) {
		begin(t, &next, now);
	} else if (t->owed) {
		t->inspection = t->owed;
		t->owed = 0;
		go(t, way_inspect, now);
	}
}

/* Walks on until something is outstanding or the way has ended. */
static void walk(struct transaction *t, int64_t now)
{
	for (; t->way[t->at] != END; t->at++) {
		if (t->way[t->at] == CONFIRM) {
			if (!probed_any_mismatch(&t->view))
				continue;
			t->way = way_force;
			t->at = 0;
		}
		if (do_at_once(t, now))
			continue;
		if (!is_probe_step(t->way[t->at])) {
			ask_step(t, now);
			return;
		}
		if (start_probes(t, now))
			return;
	}
	rest(t, now);
}

static void go(struct transaction *t, const uint8_t *way, int64_t now)
{
	t->way = way;
	t->at = 0;
	walk(t, now);
}

static void done(struct transaction *t, int64_t now)
{
	t->at++;
	walk(t, now);
}

/* Texts were cut to size, perhaps in the middle of a character. */
static void clean_failure(struct transaction_failure *f)
{
	text_clean(f->text, 0);
	text_clean(f->output, 1);
}

/* Ends the way; what was switched is put back. `r` is the reply that reports the failure, if one does. */
static void fail(struct transaction *t, const char *step, const char *text, const struct reply *r, int64_t now)
{
	struct transaction_failure *f = &t->failure;
	*f = (struct transaction_failure){.at = now, .revision = t->order.content.revision};
	snprintf(f->step, sizeof(f->step), "%s", r && r->step[0] ? r->step : step);
	snprintf(f->text, sizeof(f->text), "%s", text);
	snprintf(f->output, sizeof(f->output), "%s", r ? r->output : t->switched ? t->reloaded : "");
	clean_failure(f);
	f->permanent = r && r->permanent;
	t->undone = t->switched;
	if (r && r->rolled_back)
		t->switched = false;
	go(t, t->switched ? way_undo : t->undone ? way_undone : way_refused, now);
}

static void add_output(struct transaction *t, const char *what, const char *output)
{
	struct transaction_failure *f = &t->failure;
	size_t used = strlen(f->output);
	if (*output)
		snprintf(f->output + used, sizeof(f->output) - used, "%s%s:\n%s", used ? "\n" : "", what, output);
	clean_failure(f);
}

/* What went wrong after the failure belongs to it, with both texts and both outputs. */
static void add_to_failure(struct transaction *t, const char *what, const char *text, const char *output)
{
	struct transaction_failure *f = &t->failure;
	size_t used = strlen(f->text);
	snprintf(f->text + used, sizeof(f->text) - used, "; %s: %s", what, text);
	add_output(t, what, output);
}

static struct transaction_order order_of(const struct message *m)
{
	return (struct transaction_order){.activate = m->type == MESSAGE_ACTIVATE,
		.force = m->force,
		.content = m->content,
		.attempt = m->attempt,
		.timeout = m->timeout};
}

/* Content that is served already, under whatever number, needs no hook to run. */
static bool is_served_content(const struct transaction *t, const struct content *c)
{
	return !revision_is_placeholder(t->have.served.revision) && content_same_digest(&t->have.served, c);
}

static void begin_offer(struct transaction *t, int64_t now)
{
	struct transaction_order *o = &t->order;
	bool same = is_served_content(t, &o->content);
	t->state = TRANSACTION_OFFERED;
	if (same && revision_compare(t->have.served.revision, o->content.revision) == 0)
		go(t, way_have, now);
	else if (revision_compare(t->have.staged.revision, o->content.revision) == 0 &&
		content_same_digest(&t->have.staged, &o->content))
		go(t, same ? way_have : way_test, now);
	else
		go(t, same ? way_fetch_same : way_fetch, now);
}

static void begin_activate(struct transaction *t, int64_t now)
{
	struct transaction_order *o = &t->order;
	char text[128], number[REVISION_TEXT_MAX];
	t->state = TRANSACTION_ACTIVATING;
	if (revision_compare(t->have.pending, o->content.revision) == 0) {
		t->switched = true;
		t->switch_ends = now + (int64_t)t->have.pending_seconds * 1000;
		go(t, way_resume, now);
	} else if (revision_compare(t->have.served.revision, o->content.revision) == 0) {
		go(t, o->force ? way_force : way_confirm, now);
	} else if (revision_compare(t->have.staged.revision, o->content.revision) == 0) {
		bool same = is_served_content(t, &t->have.staged);
		go(t, same && !o->force ? way_renumber : way_activate, now);
	} else {
		snprintf(text, sizeof(text), "revision %s is not staged here: it has to be offered first",
			revision_text(o->content.revision, number));
		fail(t, "activate", text, NULL, now);
	}
}

static void begin(struct transaction *t, const struct transaction_order *order, int64_t now)
{
	t->order = *order;
	t->started = now;
	t->switched = t->undone = false;
	probed_all_alive(&t->view);
	if (order->activate)
		begin_activate(t, now);
	else
		begin_offer(t, now);
}

/* ---- what comes in ---- */

void transaction_init(struct transaction *t, const char *certificate, const struct transaction_io *io, void *context)
{
	*t = (struct transaction){.io = io, .context = context};
	snprintf(t->certificate, sizeof(t->certificate), "%s", certificate);
}

/* Returns the state when nothing is going on. */
static enum transaction_state state_at_rest(const struct transaction *t)
{
	if (t->failure.at)
		return TRANSACTION_FAILED;
	if (!revision_is_placeholder(t->have.staged.revision))
		return TRANSACTION_STAGED;
	if (revision_is_placeholder(t->have.served.revision))
		return TRANSACTION_IDLE;
	return t->view.probed_at ? seen_state(t) : TRANSACTION_INSTALLED;
}

void transaction_start(struct transaction *t, const struct inventory *have, int64_t now)
{
	t->have = *have;
	t->state = state_at_rest(t);
	if (revision_is_placeholder(have->pending))
		return;
	struct transaction_order resume = {.activate = true, .content.revision = have->pending};
	begin(t, &resume, now);
}

/* Returns whether the way can be given up at once, because nothing is being asked of the root half. */
static bool may_be_left(const struct transaction *t, const struct transaction_order *order)
{
	if (t->way == way_inspect)
		return is_probe_step(t->way[t->at]);
	return !order->activate && t->way[t->at] == FETCH;
}

bool transaction_take(struct transaction *t, const struct message *m, int64_t now)
{
	struct transaction_order order = order_of(m);
	uint64_t sequence = (uint64_t)m->attempt * 2 + (order.activate ? 2 : 1);
	if (sequence <= t->seen)
		return false;
	t->seen = sequence;
	if (t->way && may_be_left(t, &order)) {
		t->io->cancel(t->context);
		if (t->way == way_inspect && t->inspection)
			t->owed = t->inspection;
		t->way = NULL;
	}
	if (t->way)
		t->next = order;
	else
		begin(t, &order, now);
	return true;
}

bool transaction_inspect(struct transaction *t, uint32_t attempt, int64_t now)
{
	if (t->way == way_inspect && attempt) {
		t->inspection = attempt;
		return true;
	}
	if (t->way) {
		t->owed = attempt ? attempt : t->owed;
		return attempt != 0;
	}
	t->inspection = attempt;
	go(t, way_inspect, now);
	return true;
}

void transaction_lost(struct transaction *t)
{
	t->seen = 0;
	t->inspection = t->owed = 0;
	t->order.attempt = 0;
	t->next = (struct transaction_order){0};
	if (!t->way || t->way[t->at] != FETCH)
		return;
	t->way = NULL;
	t->state = state_at_rest(t);
}

void transaction_fetched(struct transaction *t, const uint8_t *bundle, size_t len)
{
	if (!t->way || t->way[t->at] != FETCH)
		return;
	t->at++;
	t->io->stage(bundle, len, t->context);
}

static void take_stopped(struct transaction *t, const struct reply *r)
{
	const char *stopped[REQUEST_SERVICES_MAX] = {NULL};
	for (size_t i = 0; i < r->stopped_count; i++)
		stopped[i] = r->stopped[i];
	t->stopped = r->stopped_count > 0;
	t->repaired = r->repaired ? r->repaired : t->repaired;
	probed_set_stopped(&t->view, stopped, r->stopped_count);
}

static void take_inventory(struct transaction *t, const struct reply *r)
{
	for (size_t i = 0; i < r->inventory_count; i++)
		if (strcmp(r->inventory[i].certificate, t->certificate) == 0)
			t->have = r->inventory[i];
}

static void reply_stage(struct transaction *t, const struct reply *r, int64_t now)
{
	char offered[REVISION_TEXT_MAX], got[REVISION_TEXT_MAX], text[160];
	if (!r->ok) {
		fail(t, "stage", r->text, r, now);
	} else if (revision_compare(r->revision, t->order.content.revision) != 0) {
		snprintf(text, sizeof(text), "the hub offered revision %s and sent a bundle of %s",
			revision_text(t->order.content.revision, offered), revision_text(r->revision, got));
		fail(t, "fetch", text, NULL, now);
	} else {
		done(t, now);
	}
}

static void reply_undo(struct transaction *t, const struct reply *r, int64_t now)
{
	if (r->ok) {
		take_stopped(t, r);
		add_output(t, "when the old files were put back", r->output);
	} else {
		add_to_failure(t, r->rolled_back ? "the old files are back, but" : "putting the old files back failed",
			r->text, r->output);
	}
	t->switched = false;
	done(t, now);
}

static void reply_or_fail(struct transaction *t, const char *step, const struct reply *r, int64_t now)
{
	if (r->ok)
		done(t, now);
	else
		fail(t, step, r->text, r, now);
}

void transaction_reply(struct transaction *t, const struct reply *r, int64_t now)
{
	switch (t->way ? (enum step)t->way[t->at] : END) {
	case STAGE:
		reply_stage(t, r, now);
		break;
	case LOOK:
		take_inventory(t, r);
		done(t, now);
		break;
	case RUNNING:
		if (r->ok)
			take_stopped(t, r);
		done(t, now);
		break;
	case TEST:
		reply_or_fail(t, "test", r, now);
		break;
	case ACTIVATE:
		t->reloaded[0] = '\0';
		reply_or_fail(t, "activate", r, now);
		break;
	case RELOAD:
		snprintf(t->reloaded, sizeof(t->reloaded), "%.*s", (int)sizeof(t->reloaded) - 1, r->output);
		if (r->ok)
			take_stopped(t, r);
		reply_or_fail(t, "reload", r, now);
		break;
	case COMMIT:
		t->switched = t->switched && !r->ok;
		reply_or_fail(t, "commit", r, now);
		break;
	case UNDO:
		reply_undo(t, r, now);
		break;
	default:
		break;
	}
}

static void wait_or_give_up(struct transaction *t, int64_t now)
{
	char missing[MESSAGE_TEXT_MAX - 128];
	if (now < t->probe_ends) {
		t->io->wait(t->probe_delay, t->context);
		t->probe_delay = t->probe_delay * 2 < PROBE_LAST_DELAY ? t->probe_delay * 2 : PROBE_LAST_DELAY;
		return;
	}
	probed_describe_wanted(&t->view, missing, sizeof(missing));
	if (t->way[t->at] == PROBE_UNTIL) {
		fail(t, "probe", missing, NULL, now);
		return;
	}
	add_to_failure(t, "after putting the old files back", missing, "");
	done(t, now);
}

void transaction_probed(struct transaction *t, const struct message_probe *seen, int64_t now)
{
	enum step step = t->way ? (enum step)t->way[t->at] : END;
	if (!is_probe_step(step))
		return;
	probed_record(&t->view, seen, now);
	if (step == PROBE_BEFORE && !probed_note_alive(&t->view) && t->way == way_resume)
		/* Perhaps what was interrupted has silenced the ports. */
		probed_all_alive(&t->view);
	if ((step == PROBE_UNTIL || step == PROBE_AFTER) && probed_want_missing(&t->view))
		wait_or_give_up(t, now);
	else
		done(t, now);
}

void transaction_waited(struct transaction *t)
{
	if (t->way && is_probe_step(t->way[t->at]))
		t->io->probe(t->view.wanted, t->context);
}

bool transaction_rests(const struct transaction *t)
{
	return !t->way;
}

bool transaction_is_switched(const struct transaction *t)
{
	return t->switched || t->way == way_undo;
}

const char *transaction_state_name(const struct transaction *t)
{
	static const char *const names[] = {
		"waiting", "offered", "staged", "activating", "installed", "verified", "unverified", "failed"};
	if (t->state == TRANSACTION_FAILED && t->failure.rolled_back)
		return "rolled back";
	if (t->stopped && (t->state == TRANSACTION_INSTALLED || t->state == TRANSACTION_VERIFIED))
		return "installed (stopped)";
	/* Nobody has looked. */
	if (t->state == TRANSACTION_VERIFIED && t->view.count == 0)
		return "unprobed";
	return names[t->state];
}
