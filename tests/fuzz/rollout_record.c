/* The hub's record of a rollout, from which a hub that was restarted goes on. */
#include "hub/daemon/rollout/fleet.c"
#include "tests/fuzz/fuzz.h"
#include "hub/daemon/rollout/progress.h"

static void go_on(struct rollout *r, const struct resumed *record)
{
	const struct rollout_content content = {.desired.revision = record->revision,
		.old.not_before = record->old.not_before,
		.old.not_after = record->old.not_after};
	auto_actions struct rollout_actions actions = {0};
	auto_buf struct buf text = BUF_INIT(FLEET_RECORD_MAX);
	struct error err;
	rollout_resume(r, &content, record->started, record->open, record->proceed);
	rollout_tick(r, 1800000000, &actions);
	FUZZ_CHECK(actions.count == 0); /* no agent is connected */
	rollout_next(r, 1800000000);
	record_encode(r, &text);
	auto_json cJSON *o = json_parse(text.data, text.len, &err);
	struct resumed again = {0};
	FUZZ_CHECK(o && record_decode(o, r, record->revision, &again, &err) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct hub_certificate certificate = {
		.name = (char[]){"a.pl"}, .stage_timeout = 600, .activate_timeout = 300, .proceed_after = 86400};
	struct error err;
	struct resumed record = {0};
	struct rollout r;
	auto_json cJSON *o = json_parse(data, size, &err);
	if (!o)
		return 0;
	rollout_init(&r, &certificate);
	rollout_add_agent(&r, "a", true);
	rollout_add_agent(&r, "b", false);
	if (record_decode(o, &r, (struct revision){1, 2}, &record, &err) == 0)
		go_on(&r, &record);
	rollout_release(&r);
	return 0;
}
