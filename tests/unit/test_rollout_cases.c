/* Cases in which the rollout has to decide: windows, going back, holds, drift, and agents that come and go in the
 * middle. */
#include "tests/unit/three.h"

#include "hub/daemon/rollout/window.h"
#include "hub/daemon/rollout/progress.h"
#include "tests/unit/range.h"

static const char digest_third[] = "00000000000000000000000000000000000000000000000000000000000000cc";
static const struct hub_window night[] = {{180, 300}}; /* 03:00-05:00 */

static void stage_all(struct fleet_of_three *f)
{
	answer(f, f->a, MESSAGE_STAGED);
	answer(f, f->b, MESSAGE_STAGED);
	answer(f, f->c, MESSAGE_STAGED);
}

/* Begins as begin() does, by day (START is 08:00 UTC), and with these windows. */
static void begin_with_windows(struct fleet_of_three *f, enum rollout_policy policy)
{
	begin(f, policy);
	f->r.windows = night;
	f->r.window_count = COUNT(night);
	struct rollout_agent *all[] = {f->a, f->b, f->c};
	for (size_t i = 0; i < COUNT(all); i++) {
		all[i]->served.not_before = START - 10 * DAY;
		all[i]->served.not_after = START + 80 * DAY;
	}
}

/* Ticks only when the machine asks for it, and returns how long it took until activations began. */
static int64_t wait_for_activations(struct fleet_of_three *f, int64_t longest)
{
	int64_t begun = f->now;
	for (int turns = 0; f->activations == 0 && f->now - begun < longest; turns++) {
		int64_t next = rollout_next(&f->r, f->now);
		assert_true(next > f->now && turns < 10000);
		tick(f, next - f->now);
		if (f->probes && !f->activations)
			probed(f, f->a, true, true);
	}
	return f->now - begun;
}

/* The tests from here on are about windows. */

static void activations_begin_within_the_window(void **state)
{
	(void)state;
	static const enum rollout_policy policies[] = {ROLLOUT_TOGETHER, ROLLOUT_IMMEDIATE};
	for (size_t i = 0; i < COUNT(policies); i++) {
		struct fleet_of_three f;
		begin_with_windows(&f, policies[i]);
		stage_all(&f);
		assert_int_equal(f.activations, 0);
		assert_int_equal(rollout_waits_for(&f.r, f.a, f.now), BARRIER_WINDOW);
		assert_false(rollout_busy(&f.r, f.a, f.now)); /* nobody's push waits until the night */
		assert_int_equal(wait_for_activations(&f, 2 * DAY), 19 * 3600);
		assert_int_equal(f.activations, 3);
		rollout_release(&f.r);
	}
}

static void canaries_obey_the_window_too(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin_with_windows(&f, ROLLOUT_TOGETHER);
	f.r.soak = 3 * 3600;
	f.a->canary = true;
	stage_all(&f);
	assert_int_equal(f.activations, 0);
	assert_int_equal(wait_for_activations(&f, 2 * DAY), 19 * 3600);
	assert_int_equal(f.activations, 1);
	answer(&f, f.a, MESSAGE_VERIFIED);
	/* The canary's soak ends when the window is over, so that the others follow in the next night. */
	f.r.proceed_after = 30 * DAY;
	assert_int_equal(wait_for_activations(&f, 2 * DAY), DAY);
	assert_int_equal(f.activations, 2);
	rollout_release(&f.r);
}

static void what_cannot_wait_goes_through_the_window(void **state)
{
	(void)state;
	struct fleet_of_three f;
	struct rollout_actions actions = {0};
	begin_with_windows(&f, ROLLOUT_TOGETHER);
	stage_all(&f);
	rollout_proceed(&f.r, f.now, &actions);
	count(&f, &actions);
	assert_int_equal(f.activations, 3);
	rollout_release(&f.r);

	begin_with_windows(&f, ROLLOUT_TOGETHER);
	struct rollout_content urgent = content_of(3, digest_third);
	urgent.urgent = true;
	publish_content(&f, &urgent);
	stage_all(&f);
	assert_int_equal(f.activations, 3);
	rollout_release(&f.r);

	begin_with_windows(&f, ROLLOUT_TOGETHER);
	stage_all(&f);
	f.r.old.not_before = f.now - 80 * DAY;
	f.r.old.not_after = f.now + 10 * DAY;
	tick(&f, 1);
	assert_int_equal(f.activations, 3);
	rollout_release(&f.r);

	begin_with_windows(&f, ROLLOUT_TOGETHER);
	struct rollout_content back = content_of(3, digest_old);
	back.immediate = true;
	publish_content(&f, &back);
	stage_all(&f);
	assert_int_equal(f.activations, 1); /* they go one by one, and this is the last one */
	rollout_release(&f.r);
}

static void one_whose_own_certificate_is_over_does_not_wait(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin_with_windows(&f, ROLLOUT_TOGETHER);
	f.a->served.revision = (struct revision){0, 0}; /* this agent has just joined */
	f.b->served.not_after = f.now - DAY;            /* this agent was away for long */
	f.b->served.not_before = f.now - 91 * DAY;
	stage_all(&f);
	assert_int_equal(f.activations, 2);
	assert_int_equal(f.c->state, ROLLOUT_STAGED);
	rollout_release(&f.r);
}

static void one_that_has_got_a_new_certificate_waits_again(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin_with_windows(&f, ROLLOUT_IMMEDIATE);
	struct rollout_content content = content_of(3, digest_third);
	content.desired.not_before = f.now;
	content.desired.not_after = f.now + 90 * DAY;
	publish_content(&f, &content);
	f.b->served.not_before = f.now - 91 * DAY;
	f.b->served.not_after = f.now - DAY;
	answer(&f, f.b, MESSAGE_STAGED);
	assert_int_equal(f.activations, 1);
	answer(&f, f.b, MESSAGE_VERIFIED);
	publish(&f, 4, digest_new);
	answer(&f, f.b, MESSAGE_STAGED);
	assert_int_equal(f.activations, 0);
	rollout_release(&f.r);
}

/* One clock skips 02:00-03:00 in the night after START, and another one has that hour twice. */
static int64_t change_at; /* the time at which it is 02:00 for the first time */
static int spring(int64_t wall)
{
	return (int)((wall + (wall >= change_at ? 3600 : 0)) / 60 % 1440);
}
static int autumn(int64_t wall)
{
	return (int)((wall - (wall >= change_at + 3600 ? 3600 : 0)) / 60 % 1440);
}

static void windows_on_the_days_when_the_clock_is_changed(void **state)
{
	(void)state;
	static const struct hub_window late[] = {{150, 170}}; /* 02:30-02:50 */
	struct fleet_of_three f;
	change_at = START + 18 * 3600;
	begin_with_windows(&f, ROLLOUT_TOGETHER);
	f.r.local_minute = spring;
	stage_all(&f);
	assert_int_equal(wait_for_activations(&f, 3 * DAY), 18 * 3600); /* 03:00 comes an hour sooner */
	rollout_release(&f.r);
	begin_with_windows(&f, ROLLOUT_TOGETHER);
	f.r.windows = late;
	f.r.local_minute = spring;
	stage_all(&f);
	assert_int_equal(wait_for_activations(&f, 3 * DAY), DAY + 17 * 3600 + 1800); /* that night has no such hour */
	rollout_release(&f.r);
	begin_with_windows(&f, ROLLOUT_TOGETHER);
	f.r.local_minute = autumn;
	stage_all(&f);
	assert_int_equal(wait_for_activations(&f, 3 * DAY), 20 * 3600);
	rollout_release(&f.r);
}

static void a_window_over_midnight(void **state)
{
	(void)state;
	static const struct hub_window w[] = {{23 * 60, 60}, {720, 721}};
	const struct {
		int minute;
		bool open;
	} cases[] = {{0, true}, {59, true}, {60, false}, {719, false}, {720, true}, {721, false}, {23 * 60 - 1, false},
		{23 * 60, true}, {1439, true}};
	for (size_t i = 0; i < COUNT(cases); i++)
		assert_int_equal(window_is_open(w, COUNT(w), cases[i].minute * 60 + 59, NULL), cases[i].open);
	assert_true(window_is_open(NULL, 0, 1, NULL));
}

/* The tests from here on are about going back. */

static void begin_with_rollback(struct fleet_of_three *f)
{
	begin(f, ROLLOUT_TOGETHER);
	f->r.on_failure = ROLLOUT_ROLLBACK_ALL;
}

static void a_failed_activation_sends_everybody_back(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin_with_rollback(&f);
	stage_all(&f);
	answer(&f, f.a, MESSAGE_VERIFIED);
	assert_false(f.roll_back);
	answer(&f, f.b, MESSAGE_FAILED);
	assert_true(f.roll_back);
	assert_int_equal(f.r.old.revision.number, 1);
	/* The machine asks for the rollback until it was made. */
	assert_int_equal(rollout_next(&f.r, f.now), f.now);
	tick(&f, 1);
	assert_true(f.roll_back);
	struct rollout_content back = content_of(3, digest_old);
	back.immediate = true;
	publish_content(&f, &back);
	assert_false(f.roll_back);
	assert_int_equal(f.offers, 3);
	answer(&f, f.a, MESSAGE_STAGED);
	answer(&f, f.c, MESSAGE_STAGED);
	answer(&f, f.b, MESSAGE_STAGED);
	answer(&f, f.a, MESSAGE_VERIFIED);
	answer(&f, f.c, MESSAGE_VERIFIED);
	/* An agent that fails at the rollback too is tried again, and causes no further rollback. */
	answer(&f, f.b, MESSAGE_FAILED);
	assert_false(f.roll_back);
	for (int i = 0; i < 100; i++) {
		tick(&f, 1800);
		assert_false(f.roll_back);
		if (f.b->state == ROLLOUT_OFFERED)
			answer(&f, f.b, MESSAGE_STAGED), answer(&f, f.b, MESSAGE_FAILED);
		assert_false(f.roll_back);
	}
	rollout_release(&f.r);
}

static void nobody_goes_back_to_what_is_nearly_over_or_revoked(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin_with_rollback(&f);
	f.r.old.not_before = f.now - 70 * DAY; /* of 90 days, 29 are left */
	f.r.old.not_after = f.now + 29 * DAY;
	stage_all(&f);
	answer(&f, f.b, MESSAGE_FAILED);
	assert_false(f.roll_back);
	assert_non_null(strstr(f.r.no_rollback, "under a third"));
	/* As with `stop`, c has begun already, and a third one would not begin. */
	rollout_release(&f.r);

	begin_with_rollback(&f);
	struct rollout_content urgent = content_of(3, digest_third);
	urgent.urgent = true;
	publish_content(&f, &urgent);
	stage_all(&f);
	answer(&f, f.b, MESSAGE_FAILED);
	assert_false(f.roll_back);
	assert_non_null(strstr(f.r.no_rollback, "revoked"));
	rollout_release(&f.r);
}

static void a_rollback_that_cannot_be_published_is_said_and_tried_again(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin_with_rollback(&f);
	stage_all(&f);
	answer(&f, f.b, MESSAGE_FAILED);
	assert_true(f.roll_back);
	rollout_no_rollback(&f.r, "no space left", f.now);
	assert_string_equal(f.r.no_rollback, "no space left");
	tick(&f, 60);
	assert_false(f.roll_back);
	assert_string_equal(f.r.no_rollback, "no space left");
	tick(&f, ROLLOUT_BACKOFF_MAX);
	assert_true(f.roll_back);
	rollout_release(&f.r);
}

static void a_service_that_breaks_later_sends_nobody_back(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin_with_rollback(&f);
	stage_all(&f);
	answer(&f, f.a, MESSAGE_VERIFIED);
	answer(&f, f.b, MESSAGE_VERIFIED);
	answer(&f, f.c, MESSAGE_VERIFIED);
	probed(&f, f.b, true, false); /* it is seen serving something else */
	tick(&f, ROLLOUT_BACKOFF_MIN);
	answer(&f, f.b, MESSAGE_STAGED);
	answer(&f, f.b, MESSAGE_FAILED);
	assert_false(f.roll_back);
	rollout_release(&f.r);
}

static void a_hub_that_ended_before_it_could_go_back_does_so(void **state)
{
	(void)state;
	struct fleet_of_three f;
	struct rollout_actions actions = {0};
	begin_with_rollback(&f);
	struct rollout_content content = content_of(2, digest_new);
	rollout_resume(&f.r, &content, START, true, false);
	f.b->state = ROLLOUT_FAILED;
	f.b->failed_activation = true;
	f.b->next_try = f.now + 30;
	assert_int_equal(rollout_next(&f.r, f.now), f.now);
	rollout_tick(&f.r, f.now, &actions);
	count(&f, &actions);
	assert_true(f.roll_back);
	rollout_release(&f.r);
}

/* When a revision is published in the middle of a rollout, the question is what counts as the old one. */
static void the_old_one_is_what_is_still_served(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin_with_rollback(&f);
	answer(&f, f.a, MESSAGE_STAGED);
	publish(&f, 3, digest_third);
	assert_int_equal(f.r.old.revision.number, 1); /* nobody has passed 1.2 */
	stage_all(&f);
	answer(&f, f.a, MESSAGE_VERIFIED);
	answer(&f, f.b, MESSAGE_VERIFIED);
	answer(&f, f.c, MESSAGE_FAILED);
	publish(&f, 4, digest_new);
	assert_int_equal(f.r.old.revision.number, 3); /* an agent that failed does not count */
	struct rollout_content back = content_of(5, digest_third);
	back.immediate = true;
	publish_content(&f, &back);
	publish(&f, 6, digest_new);
	assert_int_equal(f.r.old.revision.number, 5); /* what was gone back to counts as good */
	rollout_release(&f.r);
}

static void the_failed_content_published_in_the_middle_of_a_rollback_is_a_rollout_of_its_own(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin_with_rollback(&f);
	stage_all(&f);
	answer(&f, f.b, MESSAGE_FAILED);
	publish(&f, 3, digest_third);
	assert_false(f.roll_back);
	assert_int_equal(f.offers, 3);
	assert_false(answer(&f, f.b, MESSAGE_VERIFIED));
	assert_false(f.r.open);
	rollout_release(&f.r);
}

/* The tests from here on are about holds. */

static void hold(struct fleet_of_three *f, struct rollout_agent *a, int64_t seconds)
{
	struct rollout_actions actions = {0};
	rollout_hold(&f->r, a, seconds ? f->now + seconds : 0, f->now, &actions);
	count(f, &actions);
}

static void a_held_agent_is_let_alone_and_nobody_waits_for_it(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	hold(&f, f.c, 4 * 3600);
	assert_int_equal(rollout_agent_state(f.c), ROLLOUT_HELD);
	answer(&f, f.a, MESSAGE_STAGED);
	answer(&f, f.b, MESSAGE_STAGED);
	assert_int_equal(f.activations, 2);
	answer(&f, f.a, MESSAGE_VERIFIED);
	answer(&f, f.b, MESSAGE_VERIFIED);
	/* A held agent completes what it is in the middle of, and begins nothing more. */
	assert_true(answer(&f, f.c, MESSAGE_STAGED));
	assert_int_equal(f.activations, 0);
	assert_false(rollout_busy(&f.r, f.c, f.now));
	assert_false(rollout_converged(&f.r));
	assert_int_equal(rollout_next(&f.r, f.now), START + 4 * 3600);
	publish(&f, 3, digest_third);
	assert_int_equal(f.offers, 2);
	tick(&f, 4 * 3600);
	assert_int_equal(rollout_agent_state(f.c), ROLLOUT_OFFERED);
	assert_int_equal(f.c->state, ROLLOUT_OFFERED);
	rollout_release(&f.r);
}

static void what_a_held_agent_serves_is_judged_when_the_hold_ends(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	stage_all(&f);
	answer(&f, f.a, MESSAGE_VERIFIED);
	answer(&f, f.b, MESSAGE_VERIFIED);
	answer(&f, f.c, MESSAGE_VERIFIED);
	hold(&f, f.c, 3600);
	assert_false(rollout_converged(&f.r));
	probed(&f, f.c, true, false);
	assert_int_equal(f.c->state, ROLLOUT_VERIFIED);
	assert_int_equal(f.c->drifts, 0);
	lost(&f, f.c);
	hello(&f, f.c, (struct revision){1, 2}, digest_new);
	assert_int_equal(f.offers + f.activations, 0);
	tick(&f, 1800);
	hold(&f, f.c, 0);
	assert_int_equal(f.probes, 1);
	probed(&f, f.c, true, false);
	assert_int_equal(f.c->state, ROLLOUT_FAILED);
	assert_int_equal(f.c->drifts, 1);
	rollout_release(&f.r);
}

static void a_hold_does_not_outlast_a_clock_that_is_set_back(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	hold(&f, f.c, MESSAGE_HOLD_MAX);
	tick(&f, -300 * DAY);
	assert_int_equal(f.c->held_until, f.now + MESSAGE_HOLD_MAX);
	rollout_release(&f.r);
}

static void a_held_canary_is_waited_for(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	f.a->canary = true;
	hold(&f, f.a, MESSAGE_HOLD_MAX);
	answer(&f, f.b, MESSAGE_STAGED);
	answer(&f, f.c, MESSAGE_STAGED);
	assert_int_equal(f.activations, 0);
	tick(&f, DAY);
	assert_int_equal(f.activations, 2);
	rollout_release(&f.r);
}

/* The tests from here on are about drift. */

static void verify_all(struct fleet_of_three *f)
{
	stage_all(f);
	answer(f, f->a, MESSAGE_VERIFIED);
	answer(f, f->b, MESSAGE_VERIFIED);
	answer(f, f->c, MESSAGE_VERIFIED);
	assert_true(rollout_converged(&f->r));
}

/* Each activation succeeds, and each look afterwards finds the old certificate again. */
static void a_service_that_drifts_for_ever_is_reloaded_ever_more_rarely(void **state)
{
	(void)state;
	struct fleet_of_three f;
	size_t activations = 0;
	begin(&f, ROLLOUT_TOGETHER);
	verify_all(&f);
	int64_t end = f.now + 2 * DAY;
	while (f.now < end) {
		probed(&f, f.c, true, false);
		tick(&f, 60);
		if (f.c->state == ROLLOUT_OFFERED)
			answer(&f, f.c, MESSAGE_STAGED);
		activations += f.activations;
		if (f.c->state == ROLLOUT_ACTIVATING)
			answer(&f, f.c, MESSAGE_VERIFIED);
	}
	assert_uint_in_range(activations, 48, 56);
	assert_int_equal(f.c->drifts, activations + 1);
	/* After a quiet time it is reloaded quickly again. */
	for (int i = 0; i < 8; i++) {
		tick(&f, 3600);
		if (f.c->state == ROLLOUT_OFFERED)
			answer(&f, f.c, MESSAGE_STAGED);
		if (f.c->state == ROLLOUT_ACTIVATING)
			answer(&f, f.c, MESSAGE_VERIFIED);
	}
	probed(&f, f.c, true, false);
	assert_int_equal(f.c->next_try, f.now + ROLLOUT_BACKOFF_MIN);
	rollout_release(&f.r);
}

/* Lets an agent say that its first port is right, or not, and that there is another one, "443". */
static void say_two(struct fleet_of_three *f, enum message_type type, bool first, bool second)
{
	struct rollout_actions actions = {0};
	auto_message struct message m = {
		.type = type, .content.revision = f->r.desired.revision, .attempt = f->c->attempt};
	const char *const endpoints[] = {"127.0.0.1:993", "443"};
	for (size_t i = 0; i < COUNT(endpoints); i++) {
		struct message_probe *seen = message_add_probe(&m);
		snprintf(seen->endpoint, sizeof(seen->endpoint), "%s", endpoints[i]);
		seen->served = true;
		seen->match = i ? second : first;
	}
	assert_true(rollout_answer(&f->r, f->c, &m, f->now, &actions));
	count(f, &actions);
}

static void activate_again(struct fleet_of_three *f)
{
	tick(f, ROLLOUT_BACKOFF_MAX);
	answer(f, f->c, MESSAGE_STAGED);
	assert_int_equal(f->c->state, ROLLOUT_ACTIVATING);
}

static void a_port_that_is_new_and_not_right_yet_is_no_drift(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	verify_all(&f);
	say_two(&f, MESSAGE_PROBED, true, false);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(f.c->state, ROLLOUT_FAILED);
		assert_string_equal(f.c->step, "probe");
		assert_non_null(strstr(f.c->text, "443"));
		assert_true(f.c->force);
		activate_again(&f);
		say_two(&f, MESSAGE_VERIFIED, true, false);
	}
	assert_int_equal(f.c->drifts, 0);
	activate_again(&f);
	say_two(&f, MESSAGE_VERIFIED, true, true);
	assert_int_equal(f.c->state, ROLLOUT_VERIFIED);
	say_two(&f, MESSAGE_PROBED, true, false);
	assert_int_equal(f.c->drifts, 1);
	assert_string_equal(f.c->step, "drift");
	rollout_release(&f.r);
}

static void of_two_ports_the_one_that_was_right_is_told(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	verify_all(&f);
	say_two(&f, MESSAGE_PROBED, false, false);
	assert_int_equal(f.c->drifts, 1);
	assert_string_equal(f.c->step, "drift");
	assert_non_null(strstr(f.c->text, "993"));
	rollout_release(&f.r);
}

static void files_put_right_are_counted_once(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	verify_all(&f);
	for (int i = 0; i < 3; i++) {
		struct rollout_actions actions = {0};
		struct message m = {.type = MESSAGE_PROBED, .content.revision = {1, 2}, .repaired = START - 5};
		rollout_answer(&f.r, f.c, &m, f.now, &actions);
		count(&f, &actions);
	}
	assert_int_equal(f.c->drifts, 1);
	assert_non_null(strstr(f.c->drift, "put right"));
	assert_true(rollout_converged(&f.r));
	rollout_release(&f.r);
}

static void one_that_lost_its_revision_gets_it_again(void **state)
{
	(void)state;
	struct fleet_of_three f;
	struct rollout_actions actions = {0};
	begin(&f, ROLLOUT_TOGETHER);
	verify_all(&f);
	/* While it is connected, its disk is put back to an older state. */
	struct message m = {.type = MESSAGE_PROBED, .content.revision = {1, 1}};
	rollout_answer(&f.r, f.c, &m, f.now, &actions);
	count(&f, &actions);
	assert_int_equal(f.c->state, ROLLOUT_FAILED);
	assert_int_equal(f.c->drifts, 1);
	tick(&f, ROLLOUT_BACKOFF_MIN);
	assert_int_equal(f.offers, 1);
	answer(&f, f.c, MESSAGE_STAGED);
	assert_int_equal(f.activations, 1); /* it passed the barrier before */
	answer(&f, f.c, MESSAGE_VERIFIED);
	/* A day later the same is seen at a hello, and the offer comes at once. */
	tick(&f, DAY);
	lost(&f, f.c);
	hello(&f, f.c, (struct revision){1, 1}, digest_old);
	assert_int_equal(f.offers, 1);
	/* Then the agent says that it has a revision which this hub never gave out. */
	answer(&f, f.c, MESSAGE_STAGED);
	answer(&f, f.c, MESSAGE_VERIFIED);
	m.content.revision = (struct revision){2, 1};
	rollout_answer(&f.r, f.c, &m, f.now, &actions);
	count(&f, &actions);
	assert_int_equal(f.c->state, ROLLOUT_AHEAD);
	rollout_release(&f.r);
}

static void one_that_says_nothing_for_hours_is_asked(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	verify_all(&f);
	tick(&f, ROLLOUT_LOOK - 1);
	assert_int_equal(f.probes, 0);
	tick(&f, 1);
	assert_int_equal(f.probes, 3);
	assert_true(rollout_converged(&f.r)); /* until it has answered, it counts as before */
	probed(&f, f.a, true, true);
	probed(&f, f.b, true, true);
	assert_int_equal(f.c->state, ROLLOUT_VERIFIED);
	tick(&f, ROLLOUT_PROBE_TIMEOUT);
	assert_int_equal(f.c->state, ROLLOUT_UNVERIFIED);
	assert_int_equal(f.a->state, ROLLOUT_VERIFIED);
	rollout_release(&f.r);
}

/* The tests from here on are about agents that come and go. */

static void one_that_joins_is_waited_for_from_its_first_hello(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	rollout_add_agent(&f.r, "d", false);
	f.a = rollout_find(&f.r, "a");
	f.b = rollout_find(&f.r, "b");
	f.c = rollout_find(&f.r, "c");
	struct rollout_agent *d = rollout_find(&f.r, "d");
	answer(&f, f.a, MESSAGE_STAGED);
	answer(&f, f.b, MESSAGE_STAGED);
	hello(&f, d, (struct revision){0, 0}, "");
	answer(&f, f.c, MESSAGE_STAGED);
	assert_int_equal(f.activations, 0);
	answer(&f, d, MESSAGE_STAGED);
	assert_int_equal(f.activations, 4);
	rollout_release(&f.r);
}

static void one_that_was_lost_after_it_had_activated_is_found_verified(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	stage_all(&f);
	lost(&f, f.a);
	assert_int_equal(f.a->state, ROLLOUT_IDLE);
	hello(&f, f.a, (struct revision){1, 2}, digest_new);
	assert_int_equal(f.offers, 0);
	assert_int_equal(f.probes, 1);
	probed(&f, f.a, true, true);
	assert_int_equal(f.a->state, ROLLOUT_VERIFIED);
	rollout_release(&f.r);
}

static void one_that_restarts_at_any_step_begins_anew(void **state)
{
	(void)state;
	static const enum message_type steps[][3] = {{0}, {MESSAGE_STAGED}, {MESSAGE_STAGED, MESSAGE_INSTALLED}};
	for (size_t i = 0; i < COUNT(steps); i++) {
		struct fleet_of_three f;
		begin(&f, ROLLOUT_IMMEDIATE);
		for (size_t k = 0; steps[i][k]; k++)
			assert_true(answer(&f, f.a, steps[i][k]));
		uint32_t before = f.a->attempt;
		lost(&f, f.a);
		hello(&f, f.a, (struct revision){1, 1}, digest_old);
		assert_int_equal(f.a->state, ROLLOUT_OFFERED);
		assert_true(f.a->attempt > before);
		assert_int_equal(f.a->failures, 0);
		rollout_release(&f.r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(activations_begin_within_the_window),
		cmocka_unit_test(canaries_obey_the_window_too),
		cmocka_unit_test(what_cannot_wait_goes_through_the_window),
		cmocka_unit_test(one_whose_own_certificate_is_over_does_not_wait),
		cmocka_unit_test(one_that_has_got_a_new_certificate_waits_again),
		cmocka_unit_test(windows_on_the_days_when_the_clock_is_changed),
		cmocka_unit_test(a_window_over_midnight),
		cmocka_unit_test(a_failed_activation_sends_everybody_back),
		cmocka_unit_test(nobody_goes_back_to_what_is_nearly_over_or_revoked),
		cmocka_unit_test(a_rollback_that_cannot_be_published_is_said_and_tried_again),
		cmocka_unit_test(a_service_that_breaks_later_sends_nobody_back),
		cmocka_unit_test(a_hub_that_ended_before_it_could_go_back_does_so),
		cmocka_unit_test(the_old_one_is_what_is_still_served),
		cmocka_unit_test(the_failed_content_published_in_the_middle_of_a_rollback_is_a_rollout_of_its_own),
		cmocka_unit_test(a_held_agent_is_let_alone_and_nobody_waits_for_it),
		cmocka_unit_test(what_a_held_agent_serves_is_judged_when_the_hold_ends),
		cmocka_unit_test(a_hold_does_not_outlast_a_clock_that_is_set_back),
		cmocka_unit_test(a_held_canary_is_waited_for),
		cmocka_unit_test(a_service_that_drifts_for_ever_is_reloaded_ever_more_rarely),
		cmocka_unit_test(a_port_that_is_new_and_not_right_yet_is_no_drift),
		cmocka_unit_test(of_two_ports_the_one_that_was_right_is_told),
		cmocka_unit_test(files_put_right_are_counted_once),
		cmocka_unit_test(one_that_lost_its_revision_gets_it_again),
		cmocka_unit_test(one_that_says_nothing_for_hours_is_asked),
		cmocka_unit_test(one_that_joins_is_waited_for_from_its_first_hello),
		cmocka_unit_test(one_that_was_lost_after_it_had_activated_is_found_verified),
		cmocka_unit_test(one_that_restarts_at_any_step_begins_anew),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
