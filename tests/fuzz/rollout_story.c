/* The hub's state machine under whatever agents, operators and the clock may do. The first byte is the policy; then
 * each event has two bytes: what happens and to which of four agents, and what about it. */
#include "hub/daemon/rollout/progress.h"
#include "hub/daemon/rollout/rollout.h"
#include "lib/core/mem.h"
#include "tests/fuzz/fuzz.h"

enum { AGENTS = 4, PUBLISHES_MAX = 1000 };

struct story {
	struct rollout r;
	int64_t now;
	uint32_t published, attempt;
};

static struct revision revision_of(const struct story *s, uint8_t about)
{
	uint32_t back = about & 3;
	return (struct revision){1, s->published > back ? s->published - back : s->published + back};
}

/* What was decided must be for an agent that is connected, under a number that was not given out before. */
static void check(struct story *s, const struct rollout_actions *actions)
{
	bool seen[AGENTS] = {false};
	for (size_t i = 0; i < actions->count; i++) {
		const struct rollout_agent *a = actions->action[i].agent;
		size_t at = (size_t)(a - s->r.agents);
		FUZZ_CHECK(at < AGENTS && !seen[at]);
		seen[at] = true;
		FUZZ_CHECK(a->connected);
		FUZZ_CHECK(a->attempt <= s->r.attempt && a->state != ROLLOUT_AHEAD);
		FUZZ_CHECK(!revision_is_placeholder(s->r.desired.revision));
	}
	FUZZ_CHECK(s->r.attempt >= s->attempt);
	s->attempt = s->r.attempt;
	FUZZ_CHECK(s->r.desired.revision.number == s->published);
	FUZZ_CHECK(rollout_next(&s->r, s->now) > 0);
}

static void publish(struct story *s, uint8_t about, struct rollout_actions *out)
{
	struct rollout_content content = {.desired.revision = {1, ++s->published},
		.desired.not_before = s->now - 1,
		.desired.not_after = s->now + (about & 64 ? 3600 : 90 * 86400),
		.old = s->r.desired,
		.immediate = about & 1,
		.urgent = about & 2};
	memset(content.desired.digest, 'a' + about % 16, sizeof(content.desired.digest));
	rollout_publish(&s->r, &content, s->now, out);
}

static void tell(struct story *s, struct rollout_agent *a, uint8_t about, struct rollout_actions *out)
{
	static const enum message_type types[] = {
		MESSAGE_STAGED, MESSAGE_INSTALLED, MESSAGE_VERIFIED, MESSAGE_FAILED, MESSAGE_PROBED};
	struct message m = {.type = types[about % COUNT(types)],
		.content.revision = revision_of(s, about >> 6),
		.attempt = about & 32 ? a->attempt - 1 : a->attempt,
		.stopped = about & 16,
		.rolled_back = about & 8,
		.permanent = about & 4};
	snprintf(m.certificate, sizeof(m.certificate), "%s", s->r.certificate);
	if (m.type == MESSAGE_VERIFIED || m.type == MESSAGE_PROBED) {
		struct message_probe *p = message_add_probe(&m);
		p->served = about & 16;
		p->match = about & 8;
	}
	snprintf(m.step, sizeof(m.step), "%s", about & 16 ? "activate" : "test");
	bool stale = m.attempt != a->attempt && m.type != MESSAGE_PROBED; /* an agent may send this one unasked */
	FUZZ_CHECK(!(rollout_answer(&s->r, a, &m, s->now, out) && stale));
	message_release(&m);
}

static void hello(struct story *s, struct rollout_agent *a, uint8_t about, struct rollout_actions *out)
{
	struct message m = {.type = MESSAGE_INVENTORY,
		.content.revision = revision_of(s, about),
		.high_water = revision_of(s, about >> 2),
		.stopped = about & 16};
	if (about & 32)
		m.content.revision = (struct revision){0, 0};
	if (about & 64)
		m.high_water.epoch = 2;
	rollout_hello(&s->r, a, &m, s->now, out);
}

static void fetch(struct story *s, struct rollout_agent *a, uint8_t about)
{
	const struct message m = {.type = MESSAGE_FETCH,
		.content.revision = revision_of(s, about),
		.attempt = about & 32 ? a->attempt + 1 : a->attempt};
	if (rollout_may_fetch(&s->r, a, &m))
		FUZZ_CHECK(a->connected && revision_compare(m.content.revision, s->r.desired.revision) == 0 &&
			m.attempt == a->attempt);
}

static void event(struct story *s, uint8_t what, uint8_t about)
{
	auto_actions struct rollout_actions actions = {0};
	struct rollout_agent *a = &s->r.agents[what % AGENTS];
	switch (what / AGENTS % 10) {
	case 0:
		if (s->published < PUBLISHES_MAX)
			publish(s, about, &actions);
		break;
	case 1:
		hello(s, a, about, &actions);
		break;
	case 2:
		rollout_lost(&s->r, a, s->now, &actions);
		break;
	case 3:
	case 4:
		if (a->connected)
			tell(s, a, about, &actions);
		break;
	case 5:
		fetch(s, a, about);
		break;
	case 6:
		rollout_retry(&s->r, a, about & 1, s->now, &actions);
		break;
	case 7:
		rollout_hold(&s->r, a, about ? s->now + about * 60 : 0, s->now, &actions);
		break;
	case 8:
		about & 1 ? rollout_proceed(&s->r, s->now, &actions) : rollout_no_rollback(&s->r, "no", s->now);
		break;
	default:
		s->now += about & 128 ? (about - 192) * 3600 : about * 30;
		rollout_tick(&s->r, s->now, &actions);
		break;
	}
	check(s, &actions);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char name[] = "a.pl";
	struct hub_certificate certificate = {
		.name = name, .stage_timeout = 600, .activate_timeout = 300, .proceed_after = 86400};
	if (!size)
		return 0;
	certificate.rollout = data[0] & 1 ? ROLLOUT_IMMEDIATE : ROLLOUT_TOGETHER;
	certificate.on_failure = data[0] & 2 ? ROLLOUT_ROLLBACK_ALL : ROLLOUT_STOP;
	certificate.soak = data[0] & 4 ? 300 : 0;
	struct story s = {.now = 1800000000};
	rollout_init(&s.r, &certificate);
	for (size_t i = 0; i < AGENTS; i++)
		rollout_add_agent(&s.r, (const char[]){(char)('a' + i), '\0'}, i == 0 && data[0] & 4);
	for (size_t i = 1; i + 1 < size && i < 4000; i += 2)
		event(&s, data[i], data[i + 1]);
	for (size_t i = 0; i < AGENTS; i++)
		rollout_agent_state(&s.r.agents[i]), rollout_waits_for(&s.r, &s.r.agents[i], s.now);
	rollout_release(&s.r);
	return 0;
}
