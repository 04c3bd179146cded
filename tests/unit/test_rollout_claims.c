/* Agents that claim what is not so: a claim counts for the agent alone, and one that cannot be true is named and moves
 * nothing forward. */
#include "tests/unit/three.h"
#include "hub/daemon/rollout/progress.h"

static bool says(struct fleet_of_three *f, struct rollout_agent *a, enum message_type type, struct revision revision,
	uint32_t attempt)
{
	struct rollout_actions actions = {0};
	const struct message m = {.type = type, .content.revision = revision, .attempt = attempt};
	bool taken = rollout_answer(&f->r, a, &m, f->now, &actions);
	count(f, &actions);
	return taken;
}

static void claims(struct fleet_of_three *f, struct rollout_agent *a, struct revision served,
	struct revision high_water, const char *digest)
{
	struct rollout_actions actions = {0};
	struct message m = {.type = MESSAGE_INVENTORY,
		.content.revision = served,
		.high_water = high_water,
		.stopped = true,
		.held = true};
	assert_int_equal(chain_unhex(digest, m.content.digest), 0);
	lost(f, a);
	rollout_hello(&f->r, a, &m, f->now, &actions);
	count(f, &actions);
}

/* Checks that a and b stay where they are, whatever c says. */
static void expect_closed(struct fleet_of_three *f)
{
	assert_false(f->r.open);
	assert_int_equal(f->activations, 0);
	assert_int_equal(f->a->state, ROLLOUT_STAGED);
	assert_int_equal(rollout_waits_for(&f->r, f->a, f->now), BARRIER_OTHERS);
	assert_int_not_equal(f->b->state, ROLLOUT_ACTIVATING);
}

static void who_claims_the_revision_at_hello_opens_the_barrier_for_nobody(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	answer(&f, f.a, MESSAGE_STAGED);
	claims(&f, f.c, (struct revision){1, 2}, (struct revision){1, 2}, digest_new);
	expect_closed(&f);
	assert_int_equal(f.c->contradictions, 1);
	assert_string_equal(f.c->contradiction, "it says that it has revision 1.2, which it was not told to activate");
	assert_false(f.c->passed);
	assert_int_equal(f.offers, 1); /* it is offered the revision like any other agent */
	assert_int_equal(f.c->state, ROLLOUT_OFFERED);
	/* The barrier opens only when b has staged, and c itself. */
	answer(&f, f.b, MESSAGE_STAGED);
	assert_int_equal(f.activations, 0);
	answer(&f, f.c, MESSAGE_STAGED);
	assert_int_equal(f.activations, 3);
	rollout_release(&f.r);
}

static void a_claim_that_a_restarted_hub_cannot_judge_counts_for_itself_alone(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	const struct rollout_content content = content_of(2, digest_new);
	rollout_resume(&f.r, &content, START, false, false);
	answer(&f, f.a, MESSAGE_STAGED);
	claims(&f, f.c, (struct revision){1, 2}, (struct revision){1, 2}, digest_new);
	assert_int_equal(f.c->state, ROLLOUT_UNVERIFIED);
	assert_true(f.c->passed);
	assert_int_equal(f.c->contradictions, 0);
	expect_closed(&f);
	/* The agent c loses the revision, is offered it again and passes alone; the others do not. */
	probed(&f, f.c, true, true);
	hello(&f, f.c, (struct revision){1, 1}, digest_old);
	expect_closed(&f);
	answer(&f, f.c, MESSAGE_STAGED);
	assert_int_equal(f.activations, 1);
	assert_int_equal(f.c->state, ROLLOUT_ACTIVATING);
	assert_int_equal(f.a->state, ROLLOUT_STAGED);
	assert_false(f.r.open);
	/* When the last one has staged, the barrier opens for all. */
	answer(&f, f.c, MESSAGE_VERIFIED);
	answer(&f, f.b, MESSAGE_STAGED);
	assert_int_equal(f.activations, 2);
	rollout_release(&f.r);
}

static void other_revisions_than_the_desired_one_open_nothing(void **state)
{
	(void)state;
	static const struct {
		struct revision served, high_water;
		enum rollout_state becomes;
	} cases[] = {
		{{1, 9}, {1, 9}, ROLLOUT_AHEAD}, /* a revision that is still to come */
		{{7, 1}, {7, 1}, ROLLOUT_AHEAD}, /* a revision of another epoch */
		/* the desired revision, with a high-water mark far ahead of it */
		{{1, 2}, {7, 2147483647}, ROLLOUT_AHEAD}, {{0, 0}, {0, 0}, ROLLOUT_OFFERED}, /* no revision at all */
		{{1, 1}, {1, 2}, ROLLOUT_OFFERED}, /* the desired revision staged, as it says */
		{{0, 2}, {0, 2}, ROLLOUT_OFFERED}, /* a revision of an epoch that is over */
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct fleet_of_three f;
		begin(&f, ROLLOUT_TOGETHER);
		answer(&f, f.a, MESSAGE_STAGED);
		claims(&f, f.c, cases[i].served, cases[i].high_water, digest_new);
		expect_closed(&f);
		assert_int_equal(f.c->state, cases[i].becomes);
		rollout_release(&f.r);
	}
}

static void answers_out_of_turn_are_named_and_no_progress(void **state)
{
	(void)state;
	static const enum message_type types[] = {MESSAGE_INSTALLED, MESSAGE_VERIFIED};
	for (size_t i = 0; i < COUNT(types); i++) {
		struct fleet_of_three f;
		begin(&f, ROLLOUT_TOGETHER);
		answer(&f, f.a, MESSAGE_STAGED);
		assert_false(answer(&f, f.c, types[i])); /* it has not even staged */
		expect_closed(&f);
		assert_int_equal(f.c->state, ROLLOUT_OFFERED);
		assert_int_equal(f.c->contradictions, 1);
		assert_true(answer(&f, f.c, MESSAGE_STAGED));
		assert_false(answer(&f, f.c, types[i])); /* it was not told to activate */
		expect_closed(&f);
		assert_int_equal(f.c->state, ROLLOUT_STAGED);
		assert_int_equal(f.c->contradictions, 2);
		assert_non_null(strstr(f.c->contradiction, message_type_name(types[i])));
		/* An answer of another attempt or revision is stale, which an honest agent's may be, too. */
		assert_false(says(&f, f.c, types[i], f.r.desired.revision, f.c->attempt + 1));
		assert_false(says(&f, f.c, types[i], (struct revision){1, 3}, f.c->attempt));
		assert_false(says(&f, f.c, types[i], (struct revision){2, 1}, f.c->attempt));
		expect_closed(&f);
		assert_int_equal(f.c->contradictions, 2);
		rollout_release(&f.r);
	}
}

static void probes_of_what_it_was_not_told_to_activate_are_named(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	answer(&f, f.a, MESSAGE_STAGED);
	probed(&f, f.c, true, true);
	assert_int_equal(f.c->contradictions, 1);
	expect_closed(&f);
	says(&f, f.c, MESSAGE_PROBED, (struct revision){1, 9}, 0);
	expect_closed(&f);
	rollout_release(&f.r);
}

/* Its failure stops the others until it was seen verified; that it claims the revision is not enough. */
static void who_failed_goes_on_stopping_the_others_though_it_claims_the_revision(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	lost(&f, f.b);
	answer(&f, f.a, MESSAGE_STAGED);
	answer(&f, f.c, MESSAGE_STAGED);
	tick(&f, 600); /* it goes on without b, which was away */
	assert_int_equal(f.activations, 2);
	answer(&f, f.a, MESSAGE_VERIFIED);
	answer(&f, f.c, MESSAGE_FAILED);
	hello(&f, f.b, (struct revision){1, 1}, digest_old);
	answer(&f, f.b, MESSAGE_STAGED);
	assert_int_equal(f.activations, 0);
	claims(&f, f.c, (struct revision){1, 2}, (struct revision){1, 2}, digest_new);
	assert_int_equal(f.activations, 0);
	assert_int_equal(rollout_waits_for(&f.r, f.b, f.now), BARRIER_FAILED);
	probed(&f, f.c, true, true);
	assert_int_equal(f.activations, 1);
	rollout_release(&f.r);
}

static void a_canary_that_was_not_told_to_activate_is_no_verified_canary(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	f.c->canary = true;
	f.r.soak = 100;
	answer(&f, f.a, MESSAGE_STAGED);
	answer(&f, f.b, MESSAGE_STAGED);
	claims(&f, f.c, (struct revision){1, 2}, (struct revision){1, 2}, digest_new);
	probed(&f, f.c, true, true);
	tick(&f, 101);
	assert_int_equal(f.activations, 0);
	assert_int_not_equal(f.c->state, ROLLOUT_VERIFIED);
	rollout_release(&f.r);
}

/* This must go on working: when the hub was restored from a backup that is older than the revision, an agent that truly
 * has it has staged it at once. */
static void who_truly_has_it_converges(void **state)
{
	(void)state;
	struct fleet_of_three f;
	begin(&f, ROLLOUT_TOGETHER);
	claims(&f, f.c, (struct revision){1, 2}, (struct revision){1, 2}, digest_new);
	for (struct rollout_agent *a = f.r.agents; a < f.r.agents + f.r.agent_count; a++)
		assert_true(answer(&f, a, MESSAGE_STAGED));
	for (struct rollout_agent *a = f.r.agents; a < f.r.agents + f.r.agent_count; a++)
		assert_true(answer(&f, a, MESSAGE_VERIFIED));
	assert_true(rollout_converged(&f.r));
	/* It was told once to activate the revision, so it is believed that it has it. */
	claims(&f, f.c, (struct revision){1, 2}, (struct revision){1, 2}, digest_new);
	assert_int_equal(f.c->contradictions, 1);
	assert_int_equal(f.probes, 1);
	rollout_release(&f.r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_claims_the_revision_at_hello_opens_the_barrier_for_nobody),
		cmocka_unit_test(a_claim_that_a_restarted_hub_cannot_judge_counts_for_itself_alone),
		cmocka_unit_test(other_revisions_than_the_desired_one_open_nothing),
		cmocka_unit_test(answers_out_of_turn_are_named_and_no_progress),
		cmocka_unit_test(probes_of_what_it_was_not_told_to_activate_are_named),
		cmocka_unit_test(who_failed_goes_on_stopping_the_others_though_it_claims_the_revision),
		cmocka_unit_test(a_canary_that_was_not_told_to_activate_is_no_verified_canary),
		cmocka_unit_test(who_truly_has_it_converges),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
