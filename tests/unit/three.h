/* A fleet of three agents for the tests of hub/daemon/rollout: it has a clock, and counts what each agent is sent. */
#ifndef CERTSYNC_TESTS_THREE_H
#define CERTSYNC_TESTS_THREE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hub/daemon/rollout/progress.h"
#include "hub/daemon/rollout/rollout.h"
#include "lib/core/mem.h"

enum { START = 1800000000, DAY = 86400 };

static const char digest_old[] = "00000000000000000000000000000000000000000000000000000000000000aa";
static const char digest_new[] = "00000000000000000000000000000000000000000000000000000000000000bb";

struct fleet_of_three {
	struct rollout r;
	struct rollout_agent *a, *b, *c;
	int64_t now;
	size_t offers, activations, probes; /* how many the last event sent */
	bool roll_back;                     /* the last event asked for it */
};

static inline void count(struct fleet_of_three *f, struct rollout_actions *actions)
{
	f->offers = f->activations = f->probes = 0;
	f->roll_back = actions->roll_back;
	for (size_t i = 0; i < actions->count; i++) {
		f->offers += actions->action[i].type == ROLLOUT_SEND_OFFER;
		f->activations += actions->action[i].type == ROLLOUT_SEND_ACTIVATE;
		f->probes += actions->action[i].type == ROLLOUT_SEND_PROBE;
	}
	rollout_actions_release(actions);
}

static inline void hello(struct fleet_of_three *f, struct rollout_agent *a, struct revision served, const char *digest)
{
	struct rollout_actions actions = {0};
	struct message m = {.type = MESSAGE_INVENTORY, .content.revision = served, .high_water = served};
	if (digest[0])
		assert_int_equal(chain_unhex(digest, m.content.digest), 0);
	rollout_hello(&f->r, a, &m, f->now, &actions);
	count(f, &actions);
}

static inline struct rollout_content content_of(uint32_t number, const char *digest)
{
	struct rollout_content content = {.desired.revision = {1, number},
		.old.revision = {1, number - 1},
		.old.not_before = START - 10 * DAY,
		.old.not_after = START + 80 * DAY};
	assert_int_equal(chain_unhex(digest, content.desired.digest), 0);
	return content;
}

static inline void publish_content(struct fleet_of_three *f, const struct rollout_content *content)
{
	struct rollout_actions actions = {0};
	rollout_publish(&f->r, content, f->now, &actions);
	count(f, &actions);
}

static inline void publish(struct fleet_of_three *f, uint32_t number, const char *digest)
{
	const struct rollout_content content = content_of(number, digest);
	publish_content(f, &content);
}

static inline bool answer(struct fleet_of_three *f, struct rollout_agent *a, enum message_type type)
{
	struct rollout_actions actions = {0};
	struct message m = {.type = type, .content.revision = f->r.desired.revision, .attempt = a->attempt};
	strcpy(m.step, "test");
	strcpy(m.text, "it said no");
	if (type == MESSAGE_VERIFIED) {
		struct message_probe *seen = message_add_probe(&m);
		strcpy(seen->endpoint, "127.0.0.1:993");
		seen->served = seen->match = true;
	}
	bool taken = rollout_answer(&f->r, a, &m, f->now, &actions);
	count(f, &actions);
	message_release(&m);
	return taken;
}

static inline void tick(struct fleet_of_three *f, int64_t seconds)
{
	struct rollout_actions actions = {0};
	f->now += seconds;
	rollout_tick(&f->r, f->now, &actions);
	count(f, &actions);
}

static inline void lost(struct fleet_of_three *f, struct rollout_agent *a)
{
	struct rollout_actions actions = {0};
	rollout_lost(&f->r, a, f->now, &actions);
	count(f, &actions);
}

/* The agent tells of one endpoint what it was seen serving. */
static inline void probed(struct fleet_of_three *f, struct rollout_agent *a, bool served, bool match)
{
	struct rollout_actions actions = {0};
	struct message m = {.type = MESSAGE_PROBED, .content.revision = f->r.desired.revision};
	struct message_probe *p = message_add_probe(&m);
	strcpy(p->endpoint, "127.0.0.1:993");
	p->served = served;
	p->match = match;
	assert_true(rollout_answer(&f->r, a, &m, f->now, &actions));
	count(f, &actions);
	message_release(&m);
}

/* Begins with three agents that serve revision 1.1, and publishes 1.2. */
static inline void begin(struct fleet_of_three *f, enum rollout_policy policy)
{
	char name[] = "mail.domain.pl";
	struct hub_certificate certificate = {
		.name = name, .rollout = policy, .stage_timeout = 600, .activate_timeout = 300, .proceed_after = DAY};
	memset(f, 0, sizeof(*f));
	f->now = START;
	rollout_init(&f->r, &certificate);
	rollout_add_agent(&f->r, "a", false);
	rollout_add_agent(&f->r, "b", false);
	rollout_add_agent(&f->r, "c", false);
	f->a = rollout_find(&f->r, "a");
	f->b = rollout_find(&f->r, "b");
	f->c = rollout_find(&f->r, "c");
	/* The hub has just been restarted, so that it cannot know what was activated before. */
	const struct rollout_content had = content_of(1, digest_old);
	rollout_resume(&f->r, &had, START, true, false);
	hello(f, f->a, (struct revision){1, 1}, digest_old);
	hello(f, f->b, (struct revision){1, 1}, digest_old);
	hello(f, f->c, (struct revision){1, 1}, digest_old);
	assert_false(rollout_converged(&f->r));
	probed(f, f->a, true, true);
	probed(f, f->b, true, true);
	probed(f, f->c, true, true);
	assert_true(rollout_converged(&f->r));
	publish(f, 2, digest_new);
	assert_int_equal(f->offers, 3);
}

#endif
