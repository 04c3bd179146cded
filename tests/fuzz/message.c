/* Messages of agents, one a line, on their way into a hub's rollout: the first byte of a line says which agent sends it
 * and what else happens. */
#include "hub/daemon/rollout/progress.h"
#include "hub/daemon/rollout/rollout.h"
#include "tests/fuzz/fuzz.h"

enum { AGENTS = 3, MESSAGE_LINES_MAX = 200 };

static void check(const struct rollout *r, struct rollout_actions *actions)
{
	for (size_t i = 0; i < actions->count; i++)
		for (size_t k = 0; k < i; k++)
			FUZZ_CHECK(actions->action[k].agent != actions->action[i].agent);
	for (size_t i = 0; i < actions->count; i++)
		FUZZ_CHECK(actions->action[i].agent->connected);
	FUZZ_CHECK(!rollout_converged(r) || !rollout_busy(r, &r->agents[0], 0));
	rollout_actions_release(actions);
}

static void take(struct rollout *r, uint8_t what, const struct message *m, int64_t now)
{
	auto_actions struct rollout_actions actions = {0};
	struct rollout_agent *a = &r->agents[what % AGENTS];
	if (m->type == MESSAGE_INVENTORY)
		rollout_hello(r, a, m, now, &actions);
	else if (m->type == MESSAGE_FETCH)
		rollout_may_fetch(r, a, m);
	else if (m->type == MESSAGE_PULL)
		rollout_retry(r, a, what & 0x40, now, &actions);
	else if (m->type == MESSAGE_PING)
		rollout_lost(r, a, now, &actions);
	else if (a->connected)
		rollout_answer(r, a, m, now, &actions);
	check(r, &actions);
	rollout_tick(r, now, &actions);
	check(r, &actions);
}

static int64_t line(struct rollout *r, const uint8_t *data, size_t len, int64_t now)
{
	struct error err;
	auto_message struct message m = {0};
	if (!len || message_decode(data + 1, len - 1, &m, &err) < 0)
		return now;
	/* The hub chose the attempt's number, so a fuzzer has to be told it. */
	if (data[0] & 0x20)
		m.attempt = r->agents[data[0] % AGENTS].attempt;
	take(r, data[0], &m, now);
	return now + ((data[0] & 0x10) ? 700 : 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct hub_certificate certificate = {.name = (char[]){"a.pl"},
		.stage_timeout = 600,
		.activate_timeout = 300,
		.proceed_after = 86400,
		.soak = 60};
	struct rollout_content content = {.desired.revision = {1, 2}, .old.not_before = 1, .old.not_after = 1 << 30};
	auto_actions struct rollout_actions actions = {0};
	struct rollout r;
	int64_t now = 1000000;
	memset(content.desired.digest, 0xaa, sizeof(content.desired.digest));
	rollout_init(&r, &certificate);
	for (int i = 0; i < AGENTS; i++)
		rollout_add_agent(&r, (const char *[]){"a", "b", "c"}[i], i == 0);
	rollout_publish(&r, &content, now, &actions);
	for (int i = 0; size && i < MESSAGE_LINES_MAX; i++) {
		const uint8_t *end = memchr(data, '\n', size);
		size_t len = end ? (size_t)(end - data) : size;
		now = line(&r, data, len, now);
		data += len + (end != NULL);
		size -= len + (end != NULL);
	}
	rollout_release(&r);
	return 0;
}
