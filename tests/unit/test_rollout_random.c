/* Thousands of random histories of a simulated fleet: publishes, losses, restarts of the hub with agents that join and
 * leave, failures, drift, restored disks, foreign revisions, holds, windows, canaries, rollbacks by policy, old answers
 * told again, jumps of the clock and of the time zone. At every step it is checked what must hold in each of them, with
 * books that the test keeps itself and not with the machine's own; and when the faults stop, everything must converge
 * within a bound. A history that fails prints its seed; CERTSYNC_SEED=N runs that one alone, CERTSYNC_SEEDS=N the first
 * N. */
#include "tests/unit/history.h"
#include "hub/daemon/rollout/progress.h"

/* The functions from here on check what must always hold. */

static int64_t age(const struct history *h)
{
	return h->now - h->started;
}

static bool is_awaited(const struct history *h, size_t i)
{
	const struct node *n = &h->nodes[i];
	return !n->held_until && (n->up || (n->seen && h->now - n->seen <= ROLLOUT_SEEN)) &&
		h->r.agents[i].state != ROLLOUT_AHEAD;
}

/* The barrier opens when each agent that is waited for has staged, or when their time is over. */
static void note_barrier(struct history *h)
{
	bool all = true;
	for (size_t i = 0; i < h->count; i++)
		if (is_awaited(h, i) && h->nodes[i].staged != h->published && h->nodes[i].passed != h->published)
			all = false;
	h->opened = h->opened || all || age(h) >= STAGE_TIMEOUT || h->proceed;
}

static bool must_go_on(const struct history *h)
{
	return h->proceed || age(h) >= PROCEED_AFTER || (current(h)->urgent && age(h) >= STAGE_TIMEOUT) ||
		!h->r.old.not_after || h->r.old.not_after - h->now < (h->r.old.not_after - h->r.old.not_before) / 6;
}

/* Before the canaries have soaked nobody else begins, except for the reasons that end every wait. */
static void check_canaries(struct history *h)
{
	for (size_t i = 0; i < h->canaries && !must_go_on(h); i++) {
		const struct rollout_agent *a = &h->r.agents[i];
		if (h->nodes[i].passed != h->published || a->state != ROLLOUT_VERIFIED || h->now - a->since < SOAK)
			fail_msg("an agent began before the canary %s had soaked", a->name);
	}
}

static bool in_window(const struct history *h)
{
	int minute = minute_of(h->now);
	return !h->certificate.window_count || (minute >= h->window.from && minute < h->window.to);
}

static void check_window(const struct history *h, const struct node *n)
{
	uint32_t served = n->served_told;
	bool needs_none = served == 0 || served == h->published || h->proceed || current(h)->urgent;
	if (!needs_none && served < REVISIONS_MAX)
		needs_none = is_nearly_over(&h->books[served], h->now, 6);
	if (!in_window(h) && !needs_none && !must_go_on(h))
		fail_msg("an activation began outside of the window, at minute %d", minute_of(h->now));
	if (!in_window(h) && !needs_none && age(h) >= PROCEED_AFTER &&
		h->r.old.not_after - h->now >= (h->r.old.not_after - h->r.old.not_before) / 6 && h->r.old.not_after)
		fail_msg("proceed_after is no reason to pass the window");
}

/* Nobody is reloaded in a tight loop: between two activations of one revision lies a backoff, unless the connection is
 * a new one. */
static void check_pace(struct history *h, struct node *n)
{
	if (n->activated == h->published && n->activated_at && h->now - n->activated_at < ROLLOUT_BACKOFF_MIN)
		fail_msg("activated again after %lld s", (long long)(h->now - n->activated_at));
	n->activated = h->published;
	n->activated_at = n->told_at = h->now;
}

static void check_activation(struct history *h, struct rollout_agent *a, struct node *n)
{
	check_pace(h, n);
	if (n->staged != h->published)
		fail_msg("%s was told to activate what it has not staged", a->name);
	if (current(h)->rollback)
		return;
	check_window(h, n);
	if (h->certificate.rollout == ROLLOUT_TOGETHER && !h->opened && n->passed != h->published)
		fail_msg("%s began before all that are waited for had staged", a->name);
	if (!a->canary)
		check_canaries(h);
}

static void check_action(struct history *h, const struct rollout_action *action)
{
	struct rollout_agent *a = action->agent;
	struct node *n = &h->nodes[a - h->r.agents];
	assert_true(n->up);
	assert_int_equal(h->r.desired.revision.number, h->published); /* there is only one desired revision */
	if (n->held_until && action->type != ROLLOUT_SEND_PROBE)
		fail_msg("%s is held, and was sent an order", a->name);
	if (action->type == ROLLOUT_SEND_ACTIVATE)
		check_activation(h, a, n);
}

static void check_rollback(struct history *h)
{
	bool failed = false;
	const struct book *old = &h->books[h->r.old.revision.number];
	for (size_t i = 0; i < h->count; i++)
		failed = failed || h->nodes[i].failed_first == h->published;
	if (h->certificate.on_failure != ROLLOUT_ROLLBACK_ALL || current(h)->rollback || h->proceed)
		fail_msg("a rollback was asked for, and must not be");
	if (!failed)
		fail_msg("a rollback was asked for, and nobody had failed at its first activation");
	if (!h->r.old.revision.number || is_nearly_over(old, h->now, 3) || current(h)->urgent)
		fail_msg("a rollback was asked for to what is not good any more");
	assert_true(h->rolled_back != h->published); /* each revision is rolled back once at most */
}

/* After proceed_after, a staged agent waits for nothing but its window. */
static void check_nobody_waits(struct history *h)
{
	for (size_t i = 0; i < h->count; i++) {
		const struct rollout_agent *a = &h->r.agents[i];
		if (a->state == ROLLOUT_STAGED && h->nodes[i].up && !h->nodes[i].held_until && in_window(h) &&
			age(h) >= PROCEED_AFTER && !h->roll_back)
			fail_msg("%s waits although proceed_after has passed", a->name);
	}
	/* The time at which the machine asks to be woken lies ahead, for else it would spin. */
	if (!h->roll_back && rollout_next(&h->r, h->now) <= h->now)
		fail_msg("the machine asks to be woken in the past");
}

static void set_books(struct history *h)
{
	h->started = h->started < h->now ? h->started : h->now;
	for (size_t i = 0; i < h->count; i++) {
		struct node *n = &h->nodes[i];
		n->seen = n->up || n->seen > h->now ? h->now : n->seen;
		/* An agent that says nothing in time has failed, too. */
		if (n->activated == h->published && h->now - n->told_at >= ACTIVATE_TIMEOUT &&
			n->passed != h->published)
			n->failed_first = h->published;
		n->told_at = n->told_at < h->now ? n->told_at : h->now;
		n->held_until = h->now >= n->held_until ? 0 : n->held_until;
		if (n->held_until > h->now + n->held_for)
			n->held_until = h->now + n->held_for;
	}
	note_barrier(h);
}

static void take_actions(struct history *h, struct rollout_actions *actions)
{
	set_books(h);
	for (size_t i = 0; i < actions->count; i++) {
		struct rollout_agent *a = actions->action[i].agent;
		struct node *node = &h->nodes[a - h->r.agents];
		for (size_t k = 0; k < i; k++)
			assert_ptr_not_equal(actions->action[k].agent, a); /* an agent is told one thing only */
		check_action(h, &actions->action[i]);
		if (node->queued < QUEUE_MAX)
			node->queue[node->queued++] =
				(struct order){actions->action[i].type, h->r.desired.revision, a->attempt};
	}
	h->roll_back = h->roll_back || actions->roll_back;
	if (actions->roll_back)
		check_rollback(h);
	check_nobody_waits(h);
	rollout_actions_release(actions);
}

/* The functions from here on are what happens. */

static struct rollout_content content_of(struct history *h, uint32_t old)
{
	struct rollout_content content = {.desired.revision = {1, h->published},
		.old.revision = {1, old},
		.immediate = current(h)->rollback,
		.urgent = current(h)->urgent,
		.desired.not_before = current(h)->not_before,
		.desired.not_after = current(h)->not_after};
	if (old) {
		content.old.not_before = h->books[old].not_before;
		content.old.not_after = h->books[old].not_after;
	} else {
		content.old.revision.epoch = 0;
	}
	digest_of(h, content.desired.revision, content.desired.digest);
	return content;
}

static void publish_book(struct history *h, struct book book)
{
	struct rollout_actions actions = {0};
	if (h->published + 1 == REVISIONS_MAX)
		return;
	h->books[++h->published] = book;
	h->opened = h->proceed = h->roll_back = false;
	h->started = h->now;
	struct rollout_content content = content_of(h, h->published - 1);
	rollout_publish(&h->r, &content, h->now, &actions);
	take_actions(h, &actions);
}

static void publish(struct history *h)
{
	int64_t left = draw(h, 4) ? 80 : draw(h, 90) + 1;
	publish_book(h,
		(struct book){.content = h->published + 1,
			.not_before = h->now - (90 - left) * DAY,
			.not_after = h->now + left * DAY,
			.urgent = draw(h, 20) == 0});
}

/* Does what the daemon does, and publishes the old content as a new revision; now and then that fails. */
static void roll_back(struct history *h)
{
	struct rollout_actions actions = {0};
	if (!h->roll_back)
		return;
	h->roll_back = false;
	rollout_tick(&h->r, h->now, &actions);
	take_actions(h, &actions);
	if (!h->roll_back)
		return; /* nobody wants it any more by now */
	if (!h->calm && draw(h, 4) == 0) {
		rollout_no_rollback(&h->r, "no space left", h->now);
		h->roll_back = false;
		return;
	}
	struct book old = h->books[h->r.old.revision.number];
	old.rollback = true;
	old.urgent = false;
	if (old.content == current(h)->content)
		fail_msg("a rollback to what is desired already");
	h->rolled_back = h->published;
	publish_book(h, old);
}

static void connect_node(struct history *h, size_t i)
{
	struct rollout_actions actions = {0};
	struct node *n = &h->nodes[i];
	struct message m = {.type = MESSAGE_INVENTORY, .content.revision = n->served, .high_water = n->high_water};
	if (n->up)
		return;
	if (n->served.number < REVISIONS_MAX) {
		m.content.not_before = h->books[n->served.number].not_before;
		m.content.not_after = h->books[n->served.number].not_after;
	}
	digest_of(h, n->served, m.content.digest);
	n->up = true;
	n->queued = 0;
	n->served_told = n->served.number;
	n->activated_at = 0;
	if (n->served.number == h->published && h->published)
		n->passed = h->published; /* this opens the barrier for nobody else */
	rollout_hello(&h->r, &h->r.agents[i], &m, h->now, &actions);
	take_actions(h, &actions);
}

static void disconnect_node(struct history *h, size_t i)
{
	struct rollout_actions actions = {0};
	if (!h->nodes[i].up)
		return;
	h->nodes[i].up = false;
	h->nodes[i].seen = h->now;
	rollout_lost(&h->r, &h->r.agents[i], h->now, &actions);
	take_actions(h, &actions);
}

static void note_told(struct history *h, size_t i, enum message_type type, const struct order *order, bool taken)
{
	struct node *n = &h->nodes[i];
	if (!taken || order->revision.number != h->published)
		return;
	if (type == MESSAGE_STAGED)
		n->staged = h->published;
	if (type == MESSAGE_VERIFIED)
		n->passed = n->served_told = h->published;
}

static void tell(struct history *h, size_t i, enum message_type type, const struct order *order, const char *step)
{
	struct rollout_actions actions = {0};
	struct message m = {.type = type, .content.revision = order->revision, .attempt = order->attempt};
	snprintf(m.step, sizeof(m.step), "%s", step);
	h->nodes[i].old = m;
	if (type == MESSAGE_FAILED && order->type == ROLLOUT_SEND_ACTIVATE &&
		h->nodes[i].passed != order->revision.number)
		h->nodes[i].failed_first = order->revision.number;
	bool taken = rollout_answer(&h->r, &h->r.agents[i], &m, h->now, &actions);
	note_told(h, i, type, order, taken);
	take_actions(h, &actions);
}

static bool is_same_content(const struct history *h, uint32_t a, uint32_t b)
{
	return a < REVISIONS_MAX && b < REVISIONS_MAX && h->books[a].content == h->books[b].content;
}

static void stage(struct history *h, size_t i, const struct order *order)
{
	struct node *n = &h->nodes[i];
	if (revision_compare(order->revision, n->high_water) < 0)
		fail_msg("revision 1.%u was offered to one that has had 1.%u", order->revision.number,
			n->high_water.number);
	/* A revision whose content is served already is only renumbered, and no hook runs. */
	if (n->test_broken && !is_same_content(h, order->revision.number, n->served.number)) {
		tell(h, i, MESSAGE_FAILED, order, "test");
		return;
	}
	n->high_water = order->revision;
	tell(h, i, MESSAGE_STAGED, order, "");
}

static void activate(struct history *h, size_t i, const struct order *order)
{
	struct node *n = &h->nodes[i];
	if (n->reload_broken && !is_same_content(h, order->revision.number, n->served.number)) {
		tell(h, i, MESSAGE_FAILED, order, "reload");
		return;
	}
	if (revision_compare(order->revision, n->served) < 0)
		fail_msg("agent %zu went back to revision 1.%u from 1.%u", i, order->revision.number, n->served.number);
	n->served = order->revision;
	/* The connection may break after the deed and before the answer. */
	if (!h->calm && draw(h, 10) == 0) {
		disconnect_node(h, i);
		return;
	}
	tell(h, i, MESSAGE_INSTALLED, order, "");
	if (n->up)
		tell(h, i, MESSAGE_VERIFIED, order, "");
}

/* Now and then one of its services was restarted with another file, or does not answer. */
static void say_what_is_served(struct history *h, size_t i)
{
	struct rollout_actions actions = {0};
	struct node *n = &h->nodes[i];
	if (!h->calm && draw(h, 10) == 0)
		n->repaired = h->now;
	struct message m = {.type = MESSAGE_PROBED, .content.revision = n->served, .repaired = n->repaired};
	struct message_probe *p = message_add_probe(&m);
	p->served = h->calm || draw(h, 10) != 0;
	p->match = h->calm || (p->served && draw(h, 10) != 0);
	if (h->r.agents[i].state == ROLLOUT_VERIFIED || h->r.agents[i].state == ROLLOUT_UNVERIFIED)
		n->served_told = n->served.number;
	rollout_answer(&h->r, &h->r.agents[i], &m, h->now, &actions);
	take_actions(h, &actions);
	message_release(&m);
}

/* The agent deals with the oldest thing that it was sent, if that is still about what it was sent last. */
static void work(struct history *h, size_t i)
{
	struct node *n = &h->nodes[i];
	if (!n->up || n->queued == 0)
		return;
	struct order order = n->queue[0];
	memmove(n->queue, n->queue + 1, --n->queued * sizeof(order));
	for (size_t k = 0; k < n->queued; k++)
		if (n->queue[k].attempt > order.attempt)
			return; /* a newer order has taken its place */
	if (order.type == ROLLOUT_SEND_OFFER)
		stage(h, i, &order);
	else if (order.type == ROLLOUT_SEND_PROBE)
		say_what_is_served(h, i);
	else
		activate(h, i, &order);
}

static void tell_old(struct history *h, size_t i)
{
	struct rollout_actions actions = {0};
	struct rollout_agent *a = &h->r.agents[i];
	struct message old = h->nodes[i].old;
	if (old.type == 0 || old.attempt == a->attempt)
		return;
	enum rollout_state before = a->state;
	assert_false(rollout_answer(&h->r, a, &old, h->now, &actions));
	assert_int_equal(a->state, before);
	take_actions(h, &actions);
}

static void hold(struct history *h, size_t i)
{
	struct rollout_actions actions = {0};
	struct node *n = &h->nodes[i];
	n->held_until = n->held_until ? 0 : h->now + HOLD;
	n->held_for = HOLD;
	rollout_hold(&h->r, &h->r.agents[i], n->held_until, h->now, &actions);
	take_actions(h, &actions);
}

/* The agent's disk is put back to an older state, so that it also forgets what it has had. */
static void restore_disk(struct history *h, size_t i)
{
	struct node *n = &h->nodes[i];
	if (draw(h, 4) || n->queued || n->served.number == 0)
		return;
	n->served.number = draw(h, n->served.number + 1);
	n->served.epoch = n->served.number > 0;
	n->high_water = n->served;
	if (n->staged == h->published && n->high_water.number < n->staged)
		disconnect_node(h, i); /* the agent does not run while its disk is put back */
}

/* The agent has had a revision that this hub does not know: another hub gave it out, or this one before it was restored
 * from a backup. */
static void go_ahead(struct history *h, size_t i)
{
	struct node *n = &h->nodes[i];
	if (!n->up && h->published && draw(h, 8) == 0)
		n->high_water = (struct revision){1, h->published + 1 + draw(h, 2)};
}

static void build(struct history *h)
{
	rollout_init(&h->r, &h->certificate);
	h->r.local_minute = minute_of;
	for (size_t i = 0; i < h->count; i++) {
		char agent[NAME_AGENT_MAX];
		snprintf(agent, sizeof(agent), "n%zu", i);
		rollout_add_agent(&h->r, agent, i < h->canaries);
	}
}

/* Keeps of an agent what the store does (hub/daemon/rollout/fleet.c). */
static void keep_place(const struct rollout_agent *old, struct rollout_agent *a)
{
	a->state = old->state == ROLLOUT_FAILED ? ROLLOUT_FAILED : ROLLOUT_IDLE;
	a->failed_staging = old->failed_staging;
	a->failed_activation = old->failed_activation;
	a->failures = old->failures;
	a->next_try = old->next_try;
	a->passed = old->passed;
	a->drifts = old->drifts;
	a->drifted = old->drifted;
	a->repaired = old->repaired;
}

static void forget_node(struct history *h, size_t i)
{
	struct node *n = &h->nodes[i];
	n->seen = n->held_until = 0;
	n->staged = n->passed = n->failed_first = 0;
}

/* The hub ends and starts again, perhaps with an agent more or less: what the store has is kept, and all connections
 * are gone. */
static void restart_hub(struct history *h)
{
	struct rollout old = h->r;
	struct rollout_actions actions = {0};
	size_t before = h->count;
	for (size_t i = 0; i < h->count; i++) {
		h->nodes[i].seen = h->nodes[i].up ? h->now : h->nodes[i].seen;
		h->nodes[i].up = false;
		h->nodes[i].queued = 0;
	}
	if (draw(h, 4) == 0 && h->count < AGENTS_MAX)
		forget_node(h, h->count++);
	else if (draw(h, 4) == 0 && h->count > 1 && h->count > h->canaries)
		h->count--;
	build(h);
	for (size_t i = 0; i < h->count && i < before; i++) {
		h->r.agents[i].last_seen = h->nodes[i].seen;
		keep_place(&old.agents[i], &h->r.agents[i]);
	}
	struct rollout_content content = content_of(h, 0);
	content.old.revision = old.old.revision;
	content.old.not_before = old.old.not_before;
	content.old.not_after = old.old.not_after;
	if (h->published)
		rollout_resume(&h->r, &content, old.started, old.open, old.proceed);
	for (size_t i = 0; i < h->count; i++)
		if (h->nodes[i].held_until > h->now) {
			h->nodes[i].held_for = h->nodes[i].held_until - h->now;
			rollout_hold(&h->r, &h->r.agents[i], h->nodes[i].held_until, h->now, &actions);
		}
	h->opened = h->opened || h->r.open;
	rollout_actions_release(&actions);
	rollout_tick(&h->r, h->now, &actions);
	take_actions(h, &actions);
	rollout_release(&old);
}

static void pass_time(struct history *h, int64_t seconds)
{
	struct rollout_actions actions = {0};
	h->now += seconds;
	for (size_t i = 0; i < h->count && seconds < 0; i++)
		h->nodes[i].activated_at = 0;
	rollout_tick(&h->r, h->now, &actions);
	take_actions(h, &actions);
}

static void push(struct history *h, size_t i)
{
	struct rollout_actions actions = {0};
	h->nodes[i].activated_at = 0;
	if (draw(h, 4)) {
		rollout_retry(&h->r, &h->r.agents[i], draw(h, 2), h->now, &actions);
	} else if (h->published) {
		h->proceed = true;
		rollout_proceed(&h->r, h->now, &actions);
	}
	take_actions(h, &actions);
}

static void happen(struct history *h)
{
	size_t i = draw(h, (uint32_t)h->count);
	switch (draw(h, 22)) {
	case 0:
		publish(h);
		break;
	case 1:
		disconnect_node(h, i);
		break;
	case 2:
	case 3:
		connect_node(h, i);
		break;
	case 4:
		h->nodes[i].test_broken = !h->nodes[i].test_broken && draw(h, 2);
		break;
	case 5:
		h->nodes[i].reload_broken = !h->nodes[i].reload_broken && draw(h, 2);
		break;
	case 6:
		restart_hub(h);
		break;
	case 7:
		tell_old(h, i);
		break;
	case 8:
		pass_time(h, draw(h, 20) ? draw(h, 900) : draw(h, 4 * DAY)); /* it mostly moves forwards … */
		break;
	case 9:
		if (draw(h, 10) == 0)
			pass_time(h, -(int64_t)draw(h, 2 * DAY)); /* … and sometimes back */
		break;
	case 10:
		if (draw(h, 3) == 0)
			hold(h, i);
		break;
	case 11:
		if (draw(h, 3) == 0)
			push(h, i);
		break;
	case 12:
		restore_disk(h, i);
		go_ahead(h, i);
		break;
	case 13:
		if (h->nodes[i].up)
			say_what_is_served(h, i);
		break;
	case 14:
		zone = (int64_t)draw(h, 3) * 3600;
		pass_time(h, 1);
		break;
	case 15:
	case 16:
		roll_back(h);
		break;
	default:
		work(h, i);
	}
}

static void describe(struct history *h)
{
	print_message("policy %d, revision 1.%u, %lld s old, barrier %s, minute %d\n", h->certificate.rollout,
		h->published, (long long)(h->now - h->r.started), h->r.open ? "open" : "closed", minute_of(h->now));
	for (size_t i = 0; i < h->count; i++) {
		const struct rollout_agent *a = &h->r.agents[i];
		print_message(
			"%s %s, failures %u, staging %d, next try in %lld s, deadline in %lld s; serves 1.%u, had 1.%u\n",
			a->name, rollout_state_name(rollout_agent_state(a)), a->failures, a->failed_staging,
			(long long)(a->next_try - h->now), (long long)(a->deadline - h->now), h->nodes[i].served.number,
			h->nodes[i].high_water.number);
	}
}

/* Does everything that can be done without time passing. */
static void settle(struct history *h)
{
	for (bool working = true; working;) {
		working = false;
		for (size_t i = 0; i < h->count; i++) {
			connect_node(h, i);
			while (h->nodes[i].queued)
				work(h, i), working = true;
		}
		if (h->roll_back)
			roll_back(h), working = true;
	}
}

/* The faults are over, and all must converge within the bound, driven only by what the machine asks for. */
static void converge(struct history *h)
{
	h->calm = true;
	if (h->published == 0)
		publish(h);
	for (size_t i = 0; i < h->count; i++)
		h->nodes[i].test_broken = h->nodes[i].reload_broken = false;
	settle(h);
	for (size_t i = 0; i < h->count; i++)
		while (h->r.agents[i].state == ROLLOUT_AHEAD)
			publish(h); /* a person would publish again */
	/* Holds end by themselves, and a window comes within a day. */
	int64_t end = h->now + BOUND + HOLD + (h->certificate.window_count ? DAY + BOUND : 0);
	for (;;) {
		settle(h);
		for (size_t i = 0; i < h->count; i++)
			say_what_is_served(h, i); /* every agent does this at its interval */
		settle(h);
		if (rollout_converged(&h->r))
			break;
		int64_t next = rollout_next(&h->r, h->now);
		if (next > end) {
			describe(h);
			fail_msg("not converged within %lld seconds", (long long)(end - h->started));
		}
		pass_time(h, next > h->now ? next - h->now : 1);
	}
	for (size_t i = 0; i < h->count; i++)
		assert_int_equal(h->nodes[i].served.number, h->published);
}

static void live(uint64_t seed)
{
	static char name[] = "mail.domain.pl";
	auto_free struct history *h = mem_alloc(sizeof(*h));
	h->random = seed * 2654435761u + 88172645463325252u;
	h->now = 1800000000;
	zone = 0;
	h->count = 1 + draw(h, AGENTS_MAX);
	h->canaries = draw(h, 3) ? 0 : draw(h, (uint32_t)h->count + 1);
	h->window = (struct hub_window){180, (uint16_t)(draw(h, 2) ? 300 : 190)};
	h->certificate = (struct hub_certificate){.name = name,
		.rollout = draw(h, 3) ? ROLLOUT_TOGETHER : ROLLOUT_IMMEDIATE,
		.stage_timeout = STAGE_TIMEOUT,
		.activate_timeout = ACTIVATE_TIMEOUT,
		.proceed_after = PROCEED_AFTER,
		.soak = SOAK,
		.on_failure = draw(h, 2) ? ROLLOUT_STOP : ROLLOUT_ROLLBACK_ALL,
		.windows = &h->window,
		.window_count = draw(h, 3) == 0};
	build(h);
	for (int step = 0; step < STEPS; step++)
		happen(h);
	converge(h);
	rollout_release(&h->r);
}

static uint64_t running; /* the seed of the history that runs; 0: none does */

static void every_history_holds_and_converges(void **state)
{
	(void)state;
	const char *given = getenv("CERTSYNC_SEED");
	uint64_t first = given ? strtoull(given, NULL, 10) : 1;
	const char *many = getenv("CERTSYNC_SEEDS");
	uint64_t last = given ? first : many ? strtoull(many, NULL, 10) : HISTORIES;
	for (uint64_t seed = first; seed <= last; seed++) {
		running = seed;
		live(seed);
		running = 0;
	}
}

/* A failed assertion leaves the test, so the seed is told here, behind it. */
static int tell_seed(void **state)
{
	(void)state;
	if (running)
		print_message("replay with CERTSYNC_SEED=%llu\n", (unsigned long long)running);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(every_history_holds_and_converges, tell_seed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
