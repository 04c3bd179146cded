/* The rollout's state machine, driven by hand: there is a fleet of three, a clock, and what each of them sees. */
#include "tests/unit/three.h"
#include "hub/daemon/rollout/progress.h"

static void nobody_activates_before_all_have_staged(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	assert_true(answer(&f, f.a, MESSAGE_STAGED));
	assert_int_equal(f.activations, 0);
	assert_true(answer(&f, f.b, MESSAGE_STAGED));
	assert_int_equal(f.activations, 0);
	assert_true(answer(&f, f.c, MESSAGE_STAGED));
	assert_int_equal(f.activations, 3);
	assert_true(answer(&f, f.a, MESSAGE_INSTALLED));
	assert_true(answer(&f, f.a, MESSAGE_VERIFIED));
	assert_true(answer(&f, f.b, MESSAGE_VERIFIED));
	assert_false(rollout_converged(&f.r));
	assert_true(answer(&f, f.c, MESSAGE_VERIFIED));
	assert_true(rollout_converged(&f.r));
	rollout_release(&f.r);
}

static void immediate_lets_each_go_on_its_own(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_IMMEDIATE);
	assert_true(answer(&f, f.a, MESSAGE_STAGED));
	assert_int_equal(f.activations, 1);
	rollout_release(&f.r);
}

static void one_that_is_away_is_waited_for_until_stage_timeout(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	lost(&f, f.c);
	answer(&f, f.a, MESSAGE_STAGED);
	answer(&f, f.b, MESSAGE_STAGED);
	assert_int_equal(f.activations, 0);
	assert_int_equal(rollout_next(&f.r, f.now), START + 600);
	tick(&f, 599);
	assert_int_equal(f.activations, 0);
	tick(&f, 1);
	assert_int_equal(f.activations, 2);
	/* The third agent comes back and passes the open barrier on its own. */
	hello(&f, f.c, (struct revision){1, 1}, digest_old);
	assert_int_equal(f.offers, 1);
	answer(&f, f.c, MESSAGE_STAGED);
	assert_int_equal(f.activations, 1);
	rollout_release(&f.r);
}

static void one_not_seen_for_a_day_is_not_waited_for(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	lost(&f, f.c);
	f.c->last_seen = f.now - ROLLOUT_SEEN - 1;
	answer(&f, f.a, MESSAGE_STAGED);
	answer(&f, f.b, MESSAGE_STAGED);
	assert_int_equal(f.activations, 2);
	rollout_release(&f.r);
}

static void a_failure_at_staging_halts_everybody_until_proceed_after(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	answer(&f, f.a, MESSAGE_STAGED);
	answer(&f, f.b, MESSAGE_STAGED);
	assert_true(answer(&f, f.c, MESSAGE_FAILED));
	assert_int_equal(f.c->state, ROLLOUT_FAILED);
	assert_string_equal(f.c->text, "it said no");
	assert_false(rollout_busy(&f.r, f.a, f.now));
	/* The failed agent is tried again after its backoff and fails each time, and the others do not go on. */
	for (int64_t spent = 0; spent < DAY - 7200; spent += 1800) {
		tick(&f, 1800);
		assert_int_equal(f.activations, 0);
		if (f.c->state == ROLLOUT_OFFERED)
			answer(&f, f.c, MESSAGE_FAILED);
	}
	tick(&f, 7200);
	assert_int_equal(f.activations, 2);
	rollout_release(&f.r);
}

static void the_operator_may_proceed_without_it(void **state)
{
	(void)state;
	struct fleet_of_three f;
	struct rollout_actions actions = {0};
	begin(&f, ROLLOUT_TOGETHER);
	answer(&f, f.a, MESSAGE_STAGED);
	answer(&f, f.b, MESSAGE_STAGED);
	answer(&f, f.c, MESSAGE_FAILED);
	rollout_proceed(&f.r, f.now, &actions);
	count(&f, &actions);
	assert_int_equal(f.activations, 2);
	/* Once it is mended it converges by itself. */
	tick(&f, ROLLOUT_BACKOFF_MIN);
	assert_int_equal(f.offers, 1);
	answer(&f, f.c, MESSAGE_STAGED);
	assert_int_equal(f.activations, 1);
	rollout_release(&f.r);
}

static void the_old_one_near_its_end_is_reason_enough(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	answer(&f, f.a, MESSAGE_STAGED);
	answer(&f, f.b, MESSAGE_STAGED);
	answer(&f, f.c, MESSAGE_FAILED);
	f.r.old.not_after = f.now + 10 * DAY; /* the old one lives for 20 days: half is left */
	tick(&f, 700);
	assert_int_equal(f.activations, 0);
	f.r.old.not_before = f.now - 80 * DAY; /* it lives for 90 days: under a sixth is left */
	tick(&f, 1);
	assert_int_equal(f.activations, 2);
	rollout_release(&f.r);
}

static void a_failed_activation_stops_those_that_have_not_begun(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	lost(&f, f.c);
	answer(&f, f.a, MESSAGE_STAGED);
	answer(&f, f.b, MESSAGE_STAGED);
	tick(&f, 600);
	assert_int_equal(f.activations, 2);
	answer(&f, f.a, MESSAGE_FAILED);
	answer(&f, f.b, MESSAGE_VERIFIED);
	hello(&f, f.c, (struct revision){1, 1}, digest_old);
	answer(&f, f.c, MESSAGE_STAGED);
	assert_int_equal(f.activations, 0);
	/* The failed agent is tried again, and its success frees the others. */
	tick(&f, ROLLOUT_BACKOFF_MIN);
	answer(&f, f.a, MESSAGE_STAGED);
	assert_int_equal(f.activations, 1);
	answer(&f, f.a, MESSAGE_VERIFIED);
	assert_int_equal(f.activations, 1);
	assert_int_equal(f.c->state, ROLLOUT_ACTIVATING);
	rollout_release(&f.r);
}

static void a_stale_answer_changes_nothing(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	uint32_t before = f.a->attempt;
	publish(&f, 3, digest_old);
	assert_true(f.a->attempt > before);
	struct message m = {.type = MESSAGE_STAGED, .content.revision = f.r.desired.revision, .attempt = before};
	struct rollout_actions actions = {0};
	assert_false(rollout_answer(&f.r, f.a, &m, f.now, &actions));
	assert_int_equal(f.a->state, ROLLOUT_OFFERED);
	m.attempt = f.a->attempt;
	m.content.revision.number = 2;
	assert_false(rollout_answer(&f.r, f.a, &m, f.now, &actions));
	assert_int_equal(f.a->state, ROLLOUT_OFFERED);
	rollout_release(&f.r);
}

static void an_agent_that_is_ahead_is_named_and_left_alone(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	lost(&f, f.a);
	hello(&f, f.a, (struct revision){1, 9}, digest_old);
	assert_int_equal(f.a->state, ROLLOUT_AHEAD);
	assert_int_equal(f.offers, 0);
	assert_non_null(strstr(f.a->text, "1.9"));
	/* When the revision is the same and its content is another, another hub gave it out, too. */
	lost(&f, f.b);
	hello(&f, f.b, (struct revision){1, 2}, digest_old);
	assert_int_equal(f.b->state, ROLLOUT_AHEAD);
	rollout_release(&f.r);
}

static void silence_after_an_offer_is_a_failure_with_backoff(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_IMMEDIATE);
	tick(&f, 600);
	assert_int_equal(f.a->state, ROLLOUT_FAILED);
	assert_string_equal(f.a->step, "stage");
	assert_int_equal(f.offers, 0);
	tick(&f, ROLLOUT_BACKOFF_MIN);
	assert_int_equal(f.offers, 3);
	rollout_release(&f.r);
}

static void pulls_one_after_other_are_not_all_heard(void **state)
{
	(void)state;
	struct fleet_of_three f;
	struct rollout_actions actions = {0};
	begin(&f, ROLLOUT_IMMEDIATE);
	answer(&f, f.a, MESSAGE_FAILED);
	rollout_pull(&f.r, f.a, f.now, &actions);
	count(&f, &actions);
	assert_int_equal(f.offers, 1);
	/* An agent that fails at once and asks again gets its offer after a rest, however often it asks. */
	answer(&f, f.a, MESSAGE_FAILED);
	for (int i = 0; i < 100; i++)
		rollout_pull(&f.r, f.a, f.now, &actions);
	assert_int_equal(actions.count, 0);
	assert_int_equal(f.a->state, ROLLOUT_FAILED);
	assert_int_equal(rollout_next(&f.r, f.now), f.now + ROLLOUT_PULL_REST);
	tick(&f, ROLLOUT_PULL_REST);
	assert_int_equal(f.a->state, ROLLOUT_OFFERED);
	rollout_actions_release(&actions);
	rollout_release(&f.r);
}

static void force_repeats_the_activation(void **state)
{
	(void)state;
	struct fleet_of_three f;
	struct rollout_actions actions = {0};
	begin(&f, ROLLOUT_IMMEDIATE);
	answer(&f, f.a, MESSAGE_STAGED);
	answer(&f, f.a, MESSAGE_VERIFIED);
	rollout_retry(&f.r, f.a, true, f.now, &actions);
	count(&f, &actions);
	assert_int_equal(f.offers, 1);
	assert_true(f.a->force);
	answer(&f, f.a, MESSAGE_STAGED);
	answer(&f, f.a, MESSAGE_VERIFIED);
	assert_false(f.a->force);
	rollout_release(&f.r);
}

static void what_is_committed_is_verified_only_when_seen(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_IMMEDIATE);
	answer(&f, f.a, MESSAGE_STAGED);
	lost(&f, f.a);
	hello(&f, f.a, (struct revision){1, 2}, digest_new);
	assert_int_equal(f.probes, 1);
	assert_int_equal(f.a->state, ROLLOUT_UNVERIFIED);
	assert_true(rollout_busy(&f.r, f.a, f.now));
	probed(&f, f.a, false, false);
	assert_int_equal(f.a->state, ROLLOUT_UNVERIFIED);
	assert_false(rollout_busy(&f.r, f.a, f.now));
	assert_non_null(strstr(f.a->text, "127.0.0.1:993"));
	probed(&f, f.a, true, true);
	assert_int_equal(f.a->state, ROLLOUT_VERIFIED);
	rollout_release(&f.r);
}

static void what_nobody_has_looked_at_is_not_called_verified(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_IMMEDIATE);
	answer(&f, f.a, MESSAGE_STAGED);
	struct rollout_actions actions = {0};
	struct message unseen = {
		.type = MESSAGE_VERIFIED, .content.revision = f.r.desired.revision, .attempt = f.a->attempt};
	assert_true(rollout_answer(&f.r, f.a, &unseen, f.now, &actions));
	assert_true(rollout_agent_converged(f.a));
	assert_int_equal(rollout_agent_state(f.a), ROLLOUT_UNPROBED);
	probed(&f, f.a, true, true);
	assert_int_equal(rollout_agent_state(f.a), ROLLOUT_VERIFIED);
	/* Its service has been stopped since. */
	auto_message struct message m = {.type = MESSAGE_PROBED, .content.revision = f.r.desired.revision};
	message_add_probe(&m)->stopped = true;
	rollout_answer(&f.r, f.a, &m, f.now, &actions);
	rollout_actions_release(&actions);
	assert_true(rollout_agent_converged(f.a));
	assert_int_equal(rollout_agent_state(f.a), ROLLOUT_INSTALLED);
	assert_true(f.a->stopped);
	rollout_release(&f.r);
}

static void a_dead_port_does_not_hide_one_that_serves_something_else(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_IMMEDIATE);
	answer(&f, f.a, MESSAGE_STAGED);
	answer(&f, f.a, MESSAGE_VERIFIED);
	for (int silent_first = 0; silent_first < 2; silent_first++) {
		struct rollout_actions actions = {0};
		auto_message struct message m = {.type = MESSAGE_PROBED, .content.revision = f.r.desired.revision};
		for (int i = 0; i < 2; i++) {
			struct message_probe *seen = message_add_probe(&m);
			strcpy(seen->endpoint, "127.0.0.1:993");
			seen->served = i == silent_first;
		}
		f.a->state = ROLLOUT_VERIFIED;
		rollout_answer(&f.r, f.a, &m, f.now, &actions);
		rollout_actions_release(&actions);
		assert_int_equal(f.a->state, ROLLOUT_FAILED);
		assert_string_equal(f.a->step, "drift");
	}
	rollout_release(&f.r);
}

static void a_daemon_with_the_old_one_in_memory_is_activated_again(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_IMMEDIATE);
	answer(&f, f.a, MESSAGE_STAGED);
	answer(&f, f.a, MESSAGE_VERIFIED);
	assert_int_equal(f.a->state, ROLLOUT_VERIFIED);
	probed(&f, f.a, true, false);
	assert_int_equal(f.a->state, ROLLOUT_FAILED);
	assert_string_equal(f.a->step, "drift");
	tick(&f, ROLLOUT_BACKOFF_MIN);
	assert_int_equal(f.offers, 1);
	assert_true(f.a->force);
	rollout_release(&f.r);
}

static void a_failure_at_the_retry_does_not_lift_the_stop(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	lost(&f, f.c);
	answer(&f, f.a, MESSAGE_STAGED);
	answer(&f, f.b, MESSAGE_STAGED);
	tick(&f, 600);
	answer(&f, f.b, MESSAGE_VERIFIED);
	answer(&f, f.a, MESSAGE_FAILED); /* it fails at its activation */
	hello(&f, f.c, (struct revision){1, 1}, digest_old);
	answer(&f, f.c, MESSAGE_STAGED);
	tick(&f, ROLLOUT_BACKOFF_MIN);
	answer(&f, f.a, MESSAGE_FAILED); /* and now it fails at staging */
	assert_int_equal(f.activations, 0);
	assert_int_equal(f.c->state, ROLLOUT_STAGED);
	rollout_release(&f.r);
}

static void canaries_go_first_and_soak(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	f.a->canary = true;
	f.r.soak = 300;
	answer(&f, f.a, MESSAGE_STAGED);
	answer(&f, f.b, MESSAGE_STAGED);
	assert_int_equal(f.activations, 0); /* the barrier holds for canaries too */
	answer(&f, f.c, MESSAGE_STAGED);
	assert_int_equal(f.activations, 1);
	assert_int_equal(f.a->state, ROLLOUT_ACTIVATING);
	answer(&f, f.a, MESSAGE_VERIFIED);
	assert_int_equal(f.activations, 0);
	assert_true(rollout_busy(&f.r, f.b, f.now));
	assert_int_equal(rollout_next(&f.r, f.now), f.now + 300);
	tick(&f, 299);
	assert_int_equal(f.activations, 0);
	tick(&f, 1);
	assert_int_equal(f.activations, 2);
	rollout_release(&f.r);
}

static void a_canary_that_fails_stops_the_others(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_IMMEDIATE);
	f.a->canary = true;
	answer(&f, f.b, MESSAGE_STAGED);
	assert_int_equal(f.activations, 0);
	answer(&f, f.a, MESSAGE_STAGED);
	assert_int_equal(f.activations, 1);
	answer(&f, f.a, MESSAGE_FAILED);
	assert_int_equal(f.activations, 0);
	assert_int_equal(f.b->state, ROLLOUT_STAGED);
	/* But they do not wait longer than the old one is valid. */
	tick(&f, DAY);
	assert_int_equal(f.b->state, ROLLOUT_ACTIVATING);
	rollout_release(&f.r);
}

static void a_standby_that_is_started_is_no_longer_stopped(void **state)
{
	(void)state;
	struct fleet_of_three f;
	struct rollout_actions actions = {0};
	begin(&f, ROLLOUT_IMMEDIATE);
	f.a->stopped = true;
	struct message m = {.type = MESSAGE_PROBED, .content.revision = f.r.desired.revision};
	message_add_probe(&m)->stopped = true;
	assert_true(rollout_answer(&f.r, f.a, &m, f.now, &actions));
	assert_true(f.a->stopped);
	m.probes[0].stopped = false;
	assert_true(rollout_answer(&f.r, f.a, &m, f.now, &actions));
	assert_false(f.a->stopped);
	assert_int_equal(f.a->probe_count, 1);
	message_release(&m);
	rollout_release(&f.r);
}

static void a_restarted_hub_goes_on_behind_an_open_barrier(void **state)
{
	(void)state;
	struct fleet_of_three f;
	struct rollout_content content = {.desired.revision = {1, 2}};
	begin(&f, ROLLOUT_TOGETHER);
	assert_int_equal(chain_unhex(digest_new, content.desired.digest), 0);
	struct rollout restarted;
	char name[] = "mail.domain.pl";
	struct hub_certificate certificate = {.name = name,
		.rollout = ROLLOUT_TOGETHER,
		.stage_timeout = 600,
		.activate_timeout = 300,
		.proceed_after = DAY};
	rollout_release(&f.r);
	rollout_init(&restarted, &certificate);
	rollout_add_agent(&restarted, "a", false);
	rollout_add_agent(&restarted, "b", false);
	rollout_resume(&restarted, &content, START, false, false);
	f.r = restarted;
	f.a = rollout_find(&f.r, "a");
	f.b = rollout_find(&f.r, "b");
	f.a->last_seen = f.b->last_seen = START;
	hello(&f, f.a, (struct revision){1, 1}, digest_old);
	answer(&f, f.a, MESSAGE_STAGED);
	assert_int_equal(f.activations, 0);                  /* b was seen today */
	hello(&f, f.b, (struct revision){1, 2}, digest_new); /* and has passed the barrier already */
	assert_int_equal(f.activations, 1);
	rollout_release(&f.r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_activates_before_all_have_staged),
		cmocka_unit_test(immediate_lets_each_go_on_its_own),
		cmocka_unit_test(one_that_is_away_is_waited_for_until_stage_timeout),
		cmocka_unit_test(one_not_seen_for_a_day_is_not_waited_for),
		cmocka_unit_test(a_failure_at_staging_halts_everybody_until_proceed_after),
		cmocka_unit_test(the_operator_may_proceed_without_it),
		cmocka_unit_test(the_old_one_near_its_end_is_reason_enough),
		cmocka_unit_test(a_failed_activation_stops_those_that_have_not_begun),
		cmocka_unit_test(a_stale_answer_changes_nothing),
		cmocka_unit_test(an_agent_that_is_ahead_is_named_and_left_alone),
		cmocka_unit_test(silence_after_an_offer_is_a_failure_with_backoff),
		cmocka_unit_test(pulls_one_after_other_are_not_all_heard),
		cmocka_unit_test(force_repeats_the_activation),
		cmocka_unit_test(what_is_committed_is_verified_only_when_seen),
		cmocka_unit_test(what_nobody_has_looked_at_is_not_called_verified),
		cmocka_unit_test(a_dead_port_does_not_hide_one_that_serves_something_else),
		cmocka_unit_test(a_daemon_with_the_old_one_in_memory_is_activated_again),
		cmocka_unit_test(a_failure_at_the_retry_does_not_lift_the_stop),
		cmocka_unit_test(canaries_go_first_and_soak),
		cmocka_unit_test(a_canary_that_fails_stops_the_others),
		cmocka_unit_test(a_standby_that_is_started_is_no_longer_stopped),
		cmocka_unit_test(a_restarted_hub_goes_on_behind_an_open_barrier),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
