/* Rows that a command shows are read back as the hub wrote them, and what cannot be such a row is named.
 */
#include "hub/common/status/agent_row.h"
#include "lib/core/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static cJSON *changed(const cJSON *o, const char *key, const char *value)
{
	cJSON *copy = cJSON_Duplicate(o, true);
	cJSON_DeleteItemFromObjectCaseSensitive(copy, key);
	if (value)
		cJSON_AddStringToObject(copy, key, value);
	return copy;
}

static void an_agent_s_row(void **state)
{
	(void)state;
	struct error err;
	struct message_probe probes[2] = {
		{.endpoint = "127.0.0.1:25", .service = "postfix", .served = true, .match = true, .milliseconds = 3},
		{.endpoint = "127.0.0.1:993", .service = "dovecot", .stopped = true, .text = "its service is stopped"}};
	memset(probes[0].fingerprint, 'a', CHAIN_HEX_MAX - 1);
	struct agent_row row = {.certificate = "mail.domain.pl",
		.agent = "mail",
		.connected = true,
		.version = "1.0",
		.skew = -7,
		.rival = 1800000001,
		.overdue = true,
		.last_seen = 1800000002,
		.waits_for = "the window",
		.held_until = 1800000003,
		.danger = "what it serves expires",
		.stopped = true,
		.since = 1800000004,
		.desired = {1, 7},
		.served = {1, 6},
		.high_water = {2, 1},
		.leaf = {1, 2, 3},
		.stage_ms = 11,
		.activate_ms = 12,
		.failures = 13,
		.step = "reload",
		.error = "it said no",
		.output = "no\nno",
		.rolled_back = true,
		.next_try = 1800000005,
		.drifts = 14,
		.drifted = 1800000006,
		.drift = "a file",
		.contradictions = 15,
		.contradicted = 1800000007,
		.contradiction = "verified too soon",
		.probes = probes,
		.probe_count = 2,
		.probed = 1800000008};
	for (int n = ROLLOUT_IDLE; n <= ROLLOUT_HELD; n++) {
		row.state = (enum rollout_state)n;
		auto_buf struct buf first = BUF_INIT(8192), again = BUF_INIT(8192);
		auto_json cJSON *written = agent_row_encode(&row, "agent");
		struct agent_row got;
		assert_int_equal(agent_row_decode(written, &got, &err), 0);
		assert_int_equal(got.state, n);
		auto_json cJSON *rewritten = agent_row_encode(&got, "agent");
		assert_int_equal(json_print(written, &first), 0);
		assert_int_equal(json_print(rewritten, &again), 0);
		assert_string_equal(buf_text(&first), buf_text(&again));
		agent_row_release(&got);
	}
	auto_json cJSON *o = agent_row_encode(&row, "progress");
	auto_json cJSON *unknown = changed(o, "state", "bored"), *without = changed(o, "probes", NULL),
			*never = changed(o, "rival", "");
	struct agent_row got;
	assert_int_equal(agent_row_decode(unknown, &got, &err), -1);
	assert_string_equal(err.message, "state: \"bored\" is not known");
	agent_row_release(&got);
	assert_int_equal(agent_row_decode(without, &got, &err), -1);
	assert_string_equal(err.message, "probes: is missing");
	agent_row_release(&got);
	assert_int_equal(agent_row_decode(never, &got, &err), 0);
	assert_int_equal(got.rival, 0);
	agent_row_release(&got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_agent_s_row),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
