/* Thousands of random histories of a simulated fleet: publishes, losses, restarts of the hub, failures, old answers told
 * again, jumps of the clock. What must hold in each of them is checked at every step, and when the faults stop, everything
 * converges within a bound. A failing history prints its seed; CERTSYNC_SEED=N runs that one alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hub/rollout.h"
#include "lib/mem.h"

enum {
	HISTORIES = 4000, STEPS = 150, AGENTS_MAX = 5, QUEUE_MAX = 64,
	STAGE_TIMEOUT = 600, ACTIVATE_TIMEOUT = 300, PROCEED_AFTER = 86400, SOAK = 300,
	/* When nothing fails any more: the longest backoff, a full staging, the barrier's wait, a full activation. */
	BOUND = ROLLOUT_BACKOFF_MAX + 3 * STAGE_TIMEOUT + 2 * ACTIVATE_TIMEOUT + SOAK,
};

struct order { /* what the hub sent and the agent has not dealt with yet */
	enum rollout_action_type type;
	struct revision revision;
	uint32_t attempt;
};

struct node {
	bool up, test_broken, reload_broken;
	struct revision served, high_water;
	struct order queue[QUEUE_MAX];
	size_t queued;
	struct message old; /* an answer once given, to be told again */
};

struct history {
	uint64_t random;
	int64_t now;
	struct rollout r;
	enum rollout_policy policy;
	struct node nodes[AGENTS_MAX];
	size_t count, canaries;
	uint32_t published;
	bool calm;   /* nothing fails any more */
	bool opened; /* the barrier was seen open for this revision */
};

static uint32_t draw(struct history *h, uint32_t below)
{
	h->random ^= h->random << 13;
	h->random ^= h->random >> 7;
	h->random ^= h->random << 17;
	return (uint32_t)(h->random >> 33) % below;
}

/* A revision's digest is its number: two contents never share one. */
static void digest_of(struct revision r, char text[CHAIN_HEX_MAX])
{
	snprintf(text, CHAIN_HEX_MAX, "%064u", r.number);
}

static struct rollout_content content_of(struct history *h)
{
	struct rollout_content content = {.revision = {1, h->published}, .old_not_before = h->now - 10 * 86400,
		.old_not_after = h->now + 80 * 86400};
	digest_of(content.revision, content.digest);
	return content;
}

/* Invariants. */

static void check_barrier(struct history *h)
{
	if (h->policy != ROLLOUT_TOGETHER || h->opened || !h->r.open)
		return;
	h->opened = true;
	bool late = h->now - h->r.started >= STAGE_TIMEOUT;
	for (size_t i = 0; i < h->count; i++) {
		const struct rollout_agent *a = &h->r.agents[i];
		bool seen = a->connected || (a->last_seen && h->now - a->last_seen <= ROLLOUT_SEEN);
		bool ready = a->state == ROLLOUT_STAGED || a->state == ROLLOUT_ACTIVATING || a->state == ROLLOUT_VERIFIED ||
			a->state == ROLLOUT_UNVERIFIED || a->state == ROLLOUT_AHEAD;
		if (seen && !ready && !late && !h->r.proceed)
			fail_msg("the barrier opened before agent %s had staged", a->name);
	}
}

/* Nobody else begins before the canaries have soaked, but for the reasons that end every wait. */
static void check_canaries(struct history *h)
{
	bool must = h->r.proceed || h->now - h->r.started >= PROCEED_AFTER ||
		h->r.old_not_after - h->now < (h->r.old_not_after - h->r.old_not_before) / 6;
	for (size_t i = 0; i < h->canaries && !must; i++) {
		const struct rollout_agent *a = &h->r.agents[i];
		if (a->state != ROLLOUT_VERIFIED || h->now - a->since < SOAK)
			fail_msg("an agent began before the canary %s had soaked", a->name);
	}
}

static void take_actions(struct history *h, struct rollout_actions *actions)
{
	for (size_t i = 0; i < actions->count; i++) {
		struct rollout_agent *a = actions->action[i].agent;
		struct node *node = &h->nodes[a - h->r.agents];
		if (actions->action[i].type == ROLLOUT_SEND_ACTIVATE && h->policy == ROLLOUT_TOGETHER)
			assert_true(h->r.open);
		for (size_t k = 0; k < i; k++)
			assert_ptr_not_equal(actions->action[k].agent, a); /* one action an agent */
		assert_true(node->up);
		if (actions->action[i].type == ROLLOUT_SEND_ACTIVATE && !a->canary)
			check_canaries(h);
		if (node->queued < QUEUE_MAX)
			node->queue[node->queued++] = (struct order){actions->action[i].type, h->r.desired, a->attempt};
	}
	check_barrier(h);
	rollout_actions_release(actions);
}

/* Events. */

static void publish(struct history *h)
{
	struct rollout_actions actions = {0};
	h->published++;
	h->opened = false;
	struct rollout_content content = content_of(h);
	rollout_publish(&h->r, &content, h->now, &actions);
	take_actions(h, &actions);
}

static void connect_node(struct history *h, size_t i)
{
	struct rollout_actions actions = {0};
	struct node *node = &h->nodes[i];
	struct message m = {.type = MESSAGE_INVENTORY, .revision = node->served, .high_water = node->high_water};
	if (node->up)
		return;
	digest_of(node->served, m.digest);
	node->up = true;
	node->queued = 0;
	rollout_hello(&h->r, &h->r.agents[i], &m, h->now, &actions);
	/* Somebody who has it proves that the barrier was open. */
	h->opened = h->opened || h->r.open;
	take_actions(h, &actions);
}

static void disconnect_node(struct history *h, size_t i)
{
	struct rollout_actions actions = {0};
	if (!h->nodes[i].up)
		return;
	h->nodes[i].up = false;
	rollout_lost(&h->r, &h->r.agents[i], h->now, &actions);
	take_actions(h, &actions);
}

static void tell(struct history *h, size_t i, enum message_type type, const struct order *order, const char *step)
{
	struct rollout_actions actions = {0};
	struct message m = {.type = type, .revision = order->revision, .attempt = order->attempt};
	snprintf(m.step, sizeof(m.step), "%s", step);
	h->nodes[i].old = m;
	rollout_answer(&h->r, &h->r.agents[i], &m, h->now, &actions);
	take_actions(h, &actions);
}

static void stage(struct history *h, size_t i, const struct order *order)
{
	struct node *node = &h->nodes[i];
	if (node->test_broken) {
		tell(h, i, MESSAGE_FAILED, order, "test");
		return;
	}
	if (revision_compare(order->revision, node->high_water) < 0)
		fail_msg("revision 1.%u was offered to one that has had 1.%u", order->revision.number, node->high_water.number);
	node->high_water = order->revision;
	tell(h, i, MESSAGE_STAGED, order, "");
}

static void activate(struct history *h, size_t i, const struct order *order)
{
	struct node *node = &h->nodes[i];
	if (node->reload_broken) {
		tell(h, i, MESSAGE_FAILED, order, "reload");
		return;
	}
	if (revision_compare(order->revision, node->served) < 0)
		fail_msg("agent %zu went back to revision 1.%u from 1.%u", i, order->revision.number, node->served.number);
	node->served = order->revision;
	/* The connection may break between what is done and what is told. */
	if (draw(h, 10) == 0) {
		disconnect_node(h, i);
		return;
	}
	tell(h, i, MESSAGE_INSTALLED, order, "");
	if (node->up)
		tell(h, i, MESSAGE_VERIFIED, order, "");
}

/* Now and then one of its services has been restarted on another file, or does not answer. */
static void say_what_is_served(struct history *h, size_t i)
{
	struct rollout_actions actions = {0};
	struct message m = {.type = MESSAGE_PROBED, .revision = h->nodes[i].served};
	struct message_probe *p = message_add_probe(&m);
	p->served = h->calm || draw(h, 10) != 0;
	p->match = h->calm || (p->served && draw(h, 10) != 0);
	rollout_answer(&h->r, &h->r.agents[i], &m, h->now, &actions);
	take_actions(h, &actions);
	message_release(&m);
}

/* An agent deals with the oldest thing that it was sent, if it is still about what it was sent last. */
static void work(struct history *h, size_t i)
{
	struct node *node = &h->nodes[i];
	if (!node->up || node->queued == 0)
		return;
	struct order order = node->queue[0];
	memmove(node->queue, node->queue + 1, --node->queued * sizeof(order));
	for (size_t k = 0; k < node->queued; k++)
		if (node->queue[k].attempt > order.attempt)
			return; /* superseded */
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

static void build(struct history *h)
{
	static char name[] = "mail.domain.pl";
	struct hub_certificate certificate = {.name = name, .rollout = h->policy, .stage_timeout = STAGE_TIMEOUT,
		.activate_timeout = ACTIVATE_TIMEOUT, .proceed_after = PROCEED_AFTER, .soak = SOAK};
	rollout_init(&h->r, &certificate);
	for (size_t i = 0; i < h->count; i++) {
		char agent[NAME_AGENT_MAX];
		snprintf(agent, sizeof(agent), "n%zu", i);
		rollout_add_agent(&h->r, agent, i < h->canaries);
	}
}

/* The hub ends and begins again: what the store keeps is kept, all connections are gone. */
static void restart_hub(struct history *h)
{
	struct rollout old = h->r;
	build(h);
	for (size_t i = 0; i < h->count; i++) {
		h->r.agents[i].last_seen = old.agents[i].connected ? h->now : old.agents[i].last_seen;
		h->nodes[i].up = false;
		h->nodes[i].queued = 0;
	}
	struct rollout_content content = content_of(h);
	if (h->published)
		rollout_resume(&h->r, &content, old.started, old.open, old.proceed);
	rollout_release(&old);
}

static void pass_time(struct history *h, int64_t seconds)
{
	struct rollout_actions actions = {0};
	h->now += seconds;
	rollout_tick(&h->r, h->now, &actions);
	take_actions(h, &actions);
}

static void happen(struct history *h)
{
	size_t i = draw(h, (uint32_t)h->count);
	switch (draw(h, 16)) {
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
		pass_time(h, draw(h, 20) ? draw(h, 900) : draw(h, 4 * 86400)); /* forwards… */
		break;
	case 9:
		if (draw(h, 10) == 0)
			pass_time(h, -(int64_t)draw(h, 2 * 86400)); /* …and sometimes back */
		break;
	default:
		work(h, i);
	}
}

static void describe(struct history *h)
{
	print_message("policy %d, revision 1.%u, %lld s old, barrier %s\n", h->policy, h->published,
		(long long)(h->now - h->r.started), h->r.open ? "open" : "closed");
	for (size_t i = 0; i < h->count; i++) {
		const struct rollout_agent *a = &h->r.agents[i];
		print_message("%s %s, failures %u, staging %d, next try in %lld s, deadline in %lld s; serves 1.%u, had 1.%u\n",
			a->name, rollout_state_name(a->state), a->failures, a->failed_staging, (long long)(a->next_try - h->now),
			(long long)(a->deadline - h->now), h->nodes[i].served.number, h->nodes[i].high_water.number);
	}
}

/* The faults are over: how long until all have converged? Driven only by what the machine asks for. */
static void converge(struct history *h)
{
	h->calm = true;
	if (h->published == 0)
		publish(h);
	for (size_t i = 0; i < h->count; i++) {
		h->nodes[i].test_broken = h->nodes[i].reload_broken = false;
		connect_node(h, i);
	}
	int64_t end = h->now + BOUND;
	while (!rollout_converged(&h->r)) {
		for (size_t i = 0; i < h->count; i++) {
			connect_node(h, i);
			while (h->nodes[i].queued)
				work(h, i);
		}
		if (rollout_converged(&h->r))
			break;
		bool working = false;
		for (size_t i = 0; i < h->count; i++)
			working = working || h->nodes[i].queued || !h->nodes[i].up;
		if (working)
			continue;
		for (size_t i = 0; i < h->count; i++)
			say_what_is_served(h, i); /* as every agent does at its interval */
		int64_t next = rollout_next(&h->r, h->now);
		if (rollout_converged(&h->r))
			break;
		if (next > end) {
			describe(h);
			fail_msg("not converged within %d seconds", BOUND);
		}
		pass_time(h, next > h->now ? next - h->now : 1);
	}
	for (size_t i = 0; i < h->count; i++)
		assert_int_equal(h->nodes[i].served.number, h->published);
}

static void live(uint64_t seed)
{
	struct history h = {.random = seed * 2654435761u + 88172645463325252u, .now = 1800000000};
	h.count = 1 + draw(&h, AGENTS_MAX);
	h.canaries = draw(&h, 3) ? 0 : draw(&h, (uint32_t)h.count + 1);
	h.policy = draw(&h, 3) ? ROLLOUT_TOGETHER : ROLLOUT_IMMEDIATE;
	build(&h);
	for (int step = 0; step < STEPS; step++)
		happen(&h);
	converge(&h);
	rollout_release(&h.r);
}

static uint64_t running; /* the seed of the history that is being lived; 0: none */

static void every_history_holds_and_converges(void **state)
{
	(void)state;
	const char *given = getenv("CERTSYNC_SEED");
	uint64_t first = given ? strtoull(given, NULL, 10) : 1;
	uint64_t last = given ? first : HISTORIES;
	for (uint64_t seed = first; seed <= last; seed++) {
		running = seed;
		live(seed);
		running = 0;
	}
}

/* A failed assertion leaves the test: the seed is told behind it. */
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
