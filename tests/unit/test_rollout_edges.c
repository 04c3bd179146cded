/* The rollout's edges: answers that fit no state, clocks beyond every date, and each reason to wait by itself. */
#include "tests/unit/three.h"

#include "hub/daemon/rollout/barrier.h"
#include "hub/daemon/rollout/window.h"
#include "hub/daemon/rollout/progress.h"

static const struct hub_window night[] = {{180, 300}};

static bool answer_permanently(struct fleet_of_three *f, struct rollout_agent *a)
{
	struct rollout_actions actions = {0};
	struct message m = {.type = MESSAGE_FAILED,
		.content.revision = f->r.desired.revision,
		.attempt = a->attempt,
		.permanent = true};
	strcpy(m.step, "verify");
	strcpy(m.text, "not in `allow`");
	bool taken = rollout_answer(&f->r, a, &m, f->now, &actions);
	count(f, &actions);
	return taken;
}

static void nobody_of_that_name(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	assert_null(rollout_find(&f.r, "d"));
	rollout_release(&f.r);
}

static void what_will_not_mend_itself_waits_longest(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	assert_true(answer(&f, f.a, MESSAGE_FAILED));
	assert_int_equal(f.a->next_try, f.now + ROLLOUT_BACKOFF_MIN);
	assert_true(answer_permanently(&f, f.b));
	assert_int_equal(f.b->next_try, f.now + ROLLOUT_BACKOFF_MAX);
	rollout_release(&f.r);
}

static void one_may_fail_after_it_has_staged(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	answer(&f, f.a, MESSAGE_STAGED);
	assert_true(answer(&f, f.a, MESSAGE_FAILED));
	assert_int_equal(f.a->state, ROLLOUT_FAILED);
	assert_true(f.a->failed_staging);
	assert_false(f.a->failed_activation);
	rollout_release(&f.r);
}

static void an_answer_that_fits_no_state_changes_nothing(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_IMMEDIATE);
	answer(&f, f.a, MESSAGE_FAILED);
	assert_false(answer(&f, f.a, MESSAGE_FAILED));
	assert_int_equal(f.a->failures, 1);
	assert_false(answer(&f, f.b, MESSAGE_PULL));
	assert_int_equal(f.b->state, ROLLOUT_OFFERED);
	rollout_release(&f.r);
}

static void a_bundle_is_fetched_once_and_only_the_one_that_is_offered(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	struct message m = {.type = MESSAGE_FETCH, .content.revision = f.r.desired.revision, .attempt = f.a->attempt};
	assert_true(rollout_may_fetch(&f.r, f.a, &m));
	m.attempt--;
	assert_false(rollout_may_fetch(&f.r, f.a, &m));
	m.attempt++;
	m.content.revision.number--;
	assert_false(rollout_may_fetch(&f.r, f.a, &m));
	m.content.revision.number++;
	f.a->fetched = true;
	assert_false(rollout_may_fetch(&f.r, f.a, &m));
	f.a->fetched = false;
	answer(&f, f.a, MESSAGE_STAGED);
	assert_false(rollout_may_fetch(&f.r, f.a, &m));
	rollout_release(&f.r);
}

static void attempts_grow_even_when_the_clock_is_beyond_them(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	uint32_t before = f.a->attempt;
	f.now = START + (1LL << 40);
	publish(&f, 3, digest_new);
	assert_true(f.a->attempt > before && f.a->attempt <= before + 3);
	rollout_release(&f.r);
}

static void a_hold_that_was_over_is_ended_without_effect(void **state)
{
	(void)state;
	struct fleet_of_three f;
	struct rollout_actions actions = {0};
	begin(&f, ROLLOUT_TOGETHER);
	rollout_hold(&f.r, f.a, 0, f.now, &actions);
	count(&f, &actions);
	assert_int_equal(f.offers + f.activations + f.probes, 0);
	assert_int_equal(f.a->held_until, 0);
	rollout_release(&f.r);
}

static void add_probe(struct message *m, const char *endpoint, bool stopped)
{
	struct message_probe *p = message_add_probe(m);
	snprintf(p->endpoint, sizeof(p->endpoint), "%s", endpoint);
	p->stopped = stopped;
	strcpy(p->text, "nothing listens");
}

/* Of two silent ports the first is named; of those whose service is stopped on purpose, none. */
static void silent_ports_are_told_and_stopped_ones_are_not(void **state)
{
	(void)state;
	struct fleet_of_three f;
	struct rollout_actions actions = {0};
	begin(&f, ROLLOUT_IMMEDIATE);
	answer(&f, f.a, MESSAGE_STAGED);
	answer(&f, f.a, MESSAGE_INSTALLED);
	struct message m = {
		.type = MESSAGE_VERIFIED, .content.revision = f.r.desired.revision, .attempt = f.a->attempt};
	add_probe(&m, "127.0.0.1:25", true);
	add_probe(&m, "127.0.0.1:993", false);
	add_probe(&m, "127.0.0.1:995", false);
	assert_true(rollout_answer(&f.r, f.a, &m, f.now, &actions));
	count(&f, &actions);
	assert_int_equal(f.a->state, ROLLOUT_UNVERIFIED);
	assert_non_null(strstr(f.a->text, "127.0.0.1:993"));
	message_release(&m);
	m = (struct message){.type = MESSAGE_PROBED, .content.revision = f.r.desired.revision};
	add_probe(&m, "127.0.0.1:25", true);
	add_probe(&m, "127.0.0.1:993", true);
	assert_true(rollout_answer(&f.r, f.a, &m, f.now, &actions));
	count(&f, &actions);
	assert_true(f.a->stopped);
	assert_int_equal(f.a->state, ROLLOUT_VERIFIED);
	message_release(&m);
	rollout_release(&f.r);
}

/* An agent looks at its own ports every quarter of an hour, and an alert asks how long they have been silent. */
static void how_long_a_port_is_silent_is_not_forgotten_by_looking(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_IMMEDIATE);
	answer(&f, f.a, MESSAGE_STAGED);
	answer(&f, f.a, MESSAGE_INSTALLED);
	answer(&f, f.a, MESSAGE_VERIFIED);
	tick(&f, 100);
	probed(&f, f.a, false, false);
	assert_int_equal(f.a->state, ROLLOUT_UNVERIFIED);
	assert_int_equal(f.a->since, f.now);
	int64_t since = f.now;
	for (int i = 0; i < 3; i++) {
		tick(&f, 900);
		probed(&f, f.a, false, false);
		assert_int_equal(f.a->since, since);
	}
	tick(&f, ROLLOUT_LOOK);
	assert_int_equal(f.probes, 1);
	tick(&f, ROLLOUT_PROBE_TIMEOUT);
	assert_int_equal(f.a->state, ROLLOUT_UNVERIFIED);
	assert_int_equal(f.a->since, since);
	probed(&f, f.a, true, true);
	assert_int_equal(f.a->state, ROLLOUT_VERIFIED);
	assert_int_equal(f.a->since, f.now);
	rollout_release(&f.r);
}

/* Its services may still be starting, so no alert stands for what was so before it went. */
static void one_that_comes_back_unverified_is_given_its_time_again(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_IMMEDIATE);
	answer(&f, f.a, MESSAGE_STAGED);
	answer(&f, f.a, MESSAGE_INSTALLED);
	answer(&f, f.a, MESSAGE_VERIFIED);
	probed(&f, f.a, false, false);
	lost(&f, f.a);
	f.now += DAY;
	hello(&f, f.a, f.r.desired.revision, digest_new);
	assert_int_equal(f.probes, 1);
	assert_int_equal(f.a->state, ROLLOUT_UNVERIFIED);
	assert_int_equal(f.a->since, f.now);
	rollout_release(&f.r);
}

/* No event leaves an agent that is gone in the state staged; if one did, nothing would be sent to it. */
static void nothing_is_sent_to_one_that_is_gone(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	answer(&f, f.a, MESSAGE_STAGED);
	answer(&f, f.b, MESSAGE_STAGED);
	f.a->connected = false;
	f.a->last_seen = f.now;
	answer(&f, f.c, MESSAGE_STAGED);
	assert_int_equal(f.activations, 2);
	assert_int_equal(f.a->state, ROLLOUT_STAGED);
	rollout_release(&f.r);
}

static void a_pull_of_one_that_has_not_failed_changes_no_wait(void **state)
{
	(void)state;
	struct fleet_of_three f;
	struct rollout_actions actions = {0};
	begin(&f, ROLLOUT_TOGETHER);
	rollout_pull(&f.r, f.a, f.now, &actions);
	rollout_pull(&f.r, f.a, f.now + 1, &actions);
	count(&f, &actions);
	assert_int_equal(f.a->state, ROLLOUT_OFFERED);
	assert_int_equal(f.a->next_try, 0);
	assert_int_equal(f.a->pulled, f.now);
	rollout_release(&f.r);
}

static void what_a_staged_one_waits_for_is_under_way_or_not(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	answer(&f, f.a, MESSAGE_STAGED);
	answer(&f, f.b, MESSAGE_STAGED);
	assert_int_equal(rollout_waits_for(&f.r, f.a, f.now), BARRIER_OTHERS);
	assert_true(rollout_busy(&f.r, f.a, f.now)); /* c is under way */
	answer(&f, f.c, MESSAGE_FAILED);
	assert_false(rollout_busy(&f.r, f.a, f.now)); /* c has failed, which opens nothing */
	lost(&f, f.c);
	f.c->failures = 0;
	assert_true(rollout_busy(&f.r, f.a, f.now)); /* stage_timeout will open it */
	assert_false(rollout_busy(&f.r, f.a, f.r.started + f.r.stage_timeout));
	rollout_release(&f.r);
}

/* A failure halts the others only as long as the barrier waits for who failed. */
static void one_that_failed_and_went_for_good_keeps_nobody(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	answer(&f, f.a, MESSAGE_STAGED);
	answer(&f, f.c, MESSAGE_FAILED);
	lost(&f, f.b);
	lost(&f, f.c);
	assert_false(rollout_busy(&f.r, f.a, f.now)); /* c may come back and fail again */
	f.c->last_seen = f.now - ROLLOUT_SEEN - 1;
	assert_true(rollout_busy(&f.r, f.a, f.now)); /* stage_timeout will open it */
	rollout_release(&f.r);
}

/* The revision has the desired number and another content, as one of a hub that was set up anew. */
static void a_number_alone_is_not_the_desired_revision(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	lost(&f, f.a);
	hello(&f, f.a, f.r.desired.revision, digest_old);
	assert_int_equal(f.probes + f.offers, 0);
	assert_int_equal(f.a->state, ROLLOUT_AHEAD);
	rollout_release(&f.r);
}

static void canaries_soak_and_others_wait(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	f.r.soak = 100;
	f.a->canary = true;
	answer(&f, f.a, MESSAGE_STAGED);
	answer(&f, f.b, MESSAGE_STAGED);
	answer(&f, f.c, MESSAGE_STAGED);
	assert_int_equal(f.activations, 1);
	assert_int_equal(rollout_waits_for(&f.r, f.b, f.now), BARRIER_CANARIES);
	assert_false(barrier_is_soaking(&f.r, f.b, f.now)); /* no canary is verified yet */
	answer(&f, f.a, MESSAGE_INSTALLED);
	answer(&f, f.a, MESSAGE_VERIFIED);
	assert_true(barrier_is_soaking(&f.r, f.b, f.now));
	assert_false(barrier_is_soaking(&f.r, f.a, f.now));
	assert_true(rollout_busy(&f.r, f.b, f.now));
	assert_false(barrier_is_soaking(&f.r, f.b, f.now + 100));
	tick(&f, 100);
	assert_int_equal(f.activations, 2);
	rollout_release(&f.r);
}

/* It is day and the windows are at night: START is 08:00 UTC. */
static void what_needs_no_window_is_looked_at_by_itself(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_IMMEDIATE);
	f.r.windows = night;
	f.r.window_count = COUNT(night);
	f.a->served.not_after = 0; /* nothing is known of what it serves */
	answer(&f, f.a, MESSAGE_STAGED);
	assert_int_equal(rollout_waits_for(&f.r, f.a, f.now), BARRIER_WINDOW);
	assert_true(barrier_waits_for_window(&f.r, f.a, f.now));
	f.r.immediate = true;
	assert_false(barrier_waits_for_window(&f.r, f.a, f.now));
	assert_int_equal(barrier_wait(&f.r, f.a, f.now), BARRIER_LETS);
	rollout_release(&f.r);
}

static void without_dates_of_the_old_one_nobody_goes_back(void **state)
{
	(void)state;
	struct fleet_of_three f;
	const char *refusal = NULL;
	begin(&f, ROLLOUT_IMMEDIATE);
	f.r.on_failure = ROLLOUT_ROLLBACK_ALL;
	f.a->failed_activation = true;
	assert_true(barrier_wants_rollback(&f.r, f.now, &refusal));
	assert_null(refusal);
	f.r.old.not_after = 0;
	assert_true(barrier_wants_rollback(&f.r, f.now, &refusal));
	assert_string_equal(refusal, "there is nothing older");
	f.r.old.revision = (struct revision){0};
	assert_true(barrier_wants_rollback(&f.r, f.now, &refusal));
	assert_string_equal(refusal, "there is nothing older");
	rollout_release(&f.r);
}

static void an_adopt_that_is_at_work_sends_nobody_back(void **state)
{
	(void)state;
	const char *refusal = NULL;
	struct fleet_of_three f;
	struct rollout_actions actions = {0};
	begin(&f, ROLLOUT_IMMEDIATE);
	f.r.on_failure = ROLLOUT_ROLLBACK_ALL;
	answer(&f, f.a, MESSAGE_STAGED);
	assert_int_equal(f.a->state, ROLLOUT_ACTIVATING);
	struct message m = {.type = MESSAGE_FAILED,
		.content.revision = f.r.desired.revision,
		.attempt = f.a->attempt,
		.step = "adopt"};
	assert_true(rollout_answer(&f.r, f.a, &m, f.now, &actions));
	count(&f, &actions);
	assert_int_equal(f.a->state, ROLLOUT_FAILED);
	assert_true(f.a->failed_staging && !f.a->failed_activation);
	assert_false(barrier_wants_rollback(&f.r, f.now, &refusal));
	tick(&f, ROLLOUT_BACKOFF_MIN);
	answer(&f, f.a, MESSAGE_STAGED);
	answer(&f, f.a, MESSAGE_VERIFIED);
	assert_int_equal(f.a->state, ROLLOUT_VERIFIED);
	assert_false(f.a->failed_staging);
	rollout_release(&f.r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_of_that_name),
		cmocka_unit_test(what_will_not_mend_itself_waits_longest),
		cmocka_unit_test(one_may_fail_after_it_has_staged),
		cmocka_unit_test(an_answer_that_fits_no_state_changes_nothing),
		cmocka_unit_test(a_bundle_is_fetched_once_and_only_the_one_that_is_offered),
		cmocka_unit_test(attempts_grow_even_when_the_clock_is_beyond_them),
		cmocka_unit_test(a_hold_that_was_over_is_ended_without_effect),
		cmocka_unit_test(silent_ports_are_told_and_stopped_ones_are_not),
		cmocka_unit_test(how_long_a_port_is_silent_is_not_forgotten_by_looking),
		cmocka_unit_test(one_that_comes_back_unverified_is_given_its_time_again),
		cmocka_unit_test(nothing_is_sent_to_one_that_is_gone),
		cmocka_unit_test(a_pull_of_one_that_has_not_failed_changes_no_wait),
		cmocka_unit_test(what_a_staged_one_waits_for_is_under_way_or_not),
		cmocka_unit_test(one_that_failed_and_went_for_good_keeps_nobody),
		cmocka_unit_test(a_number_alone_is_not_the_desired_revision),
		cmocka_unit_test(canaries_soak_and_others_wait),
		cmocka_unit_test(what_needs_no_window_is_looked_at_by_itself),
		cmocka_unit_test(without_dates_of_the_old_one_nobody_goes_back),
		cmocka_unit_test(an_adopt_that_is_at_work_sends_nobody_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
