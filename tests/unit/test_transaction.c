/* The transaction, driven by hand on a node that is only a model. */
#include "tests/unit/node.h"

static void a_renewal_goes_through(void **state)
{
	(void)state;
	struct node *n = staged();
	order(n, MESSAGE_ACTIVATE, NEW, 5, 'n');
	pump(n);
	assert_string_equal(n->trace, "running probe activate test reload !installed probe commit look !verified");
	assert_int_equal(n->t.state, TRANSACTION_VERIFIED);
	assert_int_equal(n->told_probes, PORTS);
	assert_int_equal(n->told.attempt, 5);
	assert_int_equal(n->told.content.leaf[0], 'n');
	for (int i = 0; i < PORTS; i++)
		assert_true(n->t.view.probe[i].match);
	assert_int_equal(revision_compare(n->t.have.served.revision, NEW), 0);
}

static void the_root_half_s_deadline_lies_inside_the_hub_s(void **state)
{
	(void)state;
	struct node *n = staged();
	order(n, MESSAGE_ACTIVATE, NEW, 5, 'n');
	pump_to(n, "activate");
	assert_int_equal(n->asked.timeout, 105);
}

static void probes_wait_until_a_slow_reload_shows(void **state)
{
	(void)state;
	struct node *n = staged();
	order(n, MESSAGE_ACTIVATE, NEW, 5, 'n');
	pump_to(n, "!installed probe");
	n->rounds_until_reload = 4;
	pump(n);
	assert_string_equal(n->trace,
		"running probe activate test reload !installed probe probe probe probe "
		"probe commit look !verified");
}

static void what_fails_at_staging_changes_nothing(void **state)
{
	(void)state;
	static const struct {
		enum request_op op;
		const char *trace, *step;
		bool permanent;
	} cases[] = {
		{REQUEST_STAGE, "fetch stage look !failed", "verify", true},
		{REQUEST_TEST, "fetch stage look test look !failed", "test", false},
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct node *n = ready();
		n->fails = cases[i].op;
		order(n, MESSAGE_OFFER, NEW, 5, 'n');
		pump(n);
		assert_string_equal(n->trace, cases[i].trace);
		assert_string_equal(n->told.step, cases[i].step);
		assert_string_equal(n->told.text, "it failed");
		assert_string_equal(n->told.output, "printed by the hook\n");
		assert_int_equal(n->told.permanent, cases[i].permanent);
		assert_false(n->told.rolled_back);
		assert_int_equal(n->t.state, TRANSACTION_FAILED);
	}
}

static void a_bundle_of_another_revision_is_refused(void **state)
{
	(void)state;
	struct node *n = ready();
	order(n, MESSAGE_OFFER, NEW, 5, 'n');
	n->bundle = (struct revision){1, 9};
	pump(n);
	assert_string_equal(n->trace, "fetch stage look !failed");
	assert_string_equal(n->told.step, "fetch");
	assert_non_null(strstr(n->told.text, "1.9"));
}

static void what_fails_after_the_switch_is_put_back(void **state)
{
	(void)state;
	static const struct {
		enum request_op op;
		const char *trace, *step;
	} cases[] = {
		{REQUEST_ACTIVATE, "running probe activate undo look probe !failed", "activate"},
		{REQUEST_TEST, "running probe activate test undo look probe !failed", "test"},
		{REQUEST_RELOAD, "running probe activate test reload undo look probe !failed", "reload"},
		{REQUEST_COMMIT, "running probe activate test reload !installed probe commit undo look probe !failed",
			"commit"},
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct node *n = staged();
		n->fails = cases[i].op;
		order(n, MESSAGE_ACTIVATE, NEW, 5, 'n');
		pump(n);
		assert_string_equal(n->trace, cases[i].trace);
		assert_string_equal(n->told.step, cases[i].step);
		assert_string_equal(n->told.output, "printed by the hook\n");
		assert_true(n->told.rolled_back);
		assert_string_equal(transaction_state_name(&n->t), "rolled back");
		assert_int_equal(revision_compare(n->t.have.served.revision, OLD), 0);
	}
}

static void a_reload_that_exits_0_and_shows_nothing_is_put_back(void **state)
{
	(void)state;
	struct node *n = staged();
	n->serves_after_reload[IMAP] = 'o';
	order(n, MESSAGE_ACTIVATE, NEW, 5, 'n');
	int64_t before = n->now;
	pump(n);
	assert_non_null(strstr(n->trace, "undo look probe !failed"));
	assert_string_equal(n->told.step, "probe");
	assert_non_null(strstr(n->told.text, "127.0.0.1:993 (dovecot): serves another certificate"));
	assert_null(strstr(n->told.text, ":995"));
	assert_string_equal(n->told.output, "dovecot: so it says\n");
	assert_true(n->told.rolled_back);
	assert_uint_in_range(n->now - before, 30000, 40000);
}

static struct node *staged_two_pairs(void)
{
	struct node *n = staged();
	memset(n->have.second, 'p', CHAIN_SHA256_SIZE);
	memset(n->have.staged_second, 's', CHAIN_SHA256_SIZE);
	n->t.have = n->have;
	return n;
}

static void either_leaf_of_two_pairs_is_right(void **state)
{
	(void)state;
	struct node *n = staged_two_pairs();
	n->serves[IMAP] = 'p';
	n->serves_after_reload[IMAP] = 's';
	order(n, MESSAGE_ACTIVATE, NEW, 5, 'n');
	pump(n);
	assert_int_equal(n->t.state, TRANSACTION_VERIFIED);
	/* But a port that serves the other leaf of the revision before has not changed. */
	n = staged_two_pairs();
	n->serves_after_reload[IMAP] = 'p';
	order(n, MESSAGE_ACTIVATE, NEW, 5, 'n');
	pump(n);
	assert_string_equal(n->told.step, "probe");
	assert_true(n->told.rolled_back);
}

static void both_outputs_are_told_though_the_hooks_succeeded(void **state)
{
	(void)state;
	struct node *n = staged();
	n->serves_after_reload[IMAP] = 'o';
	n->undo_says = "dovecot: and again\n";
	order(n, MESSAGE_ACTIVATE, NEW, 5, 'n');
	pump(n);
	assert_string_equal(n->told.step, "probe");
	assert_non_null(strstr(n->told.output, "dovecot: so it says\n"));
	assert_non_null(strstr(n->told.output, "when the old files were put back:\ndovecot: and again\n"));
}

static void a_port_that_the_reload_killed_is_a_reason(void **state)
{
	(void)state;
	struct node *n = staged();
	n->serves_after_reload[SMTP] = 0;
	order(n, MESSAGE_ACTIVATE, NEW, 5, 'n');
	pump(n);
	assert_string_equal(n->told.step, "probe");
	assert_non_null(strstr(n->told.text, "127.0.0.1:25 (postfix): connection refused"));
	/* The model's undo does not revive the port, so both states are told. */
	assert_non_null(strstr(n->told.text, "after putting the old files back: 127.0.0.1:25"));
	assert_true(n->told.rolled_back);
}

static void a_port_that_was_dead_before_is_told_and_no_reason(void **state)
{
	(void)state;
	struct node *n = staged();
	n->serves[POP3] = n->serves_after_reload[POP3] = 0;
	order(n, MESSAGE_ACTIVATE, NEW, 5, 'n');
	pump(n);
	assert_string_equal(n->trace, "running probe activate test reload !installed probe commit look !verified");
	assert_false(n->t.view.probe[POP3].served);
	assert_string_equal(n->t.view.probe[POP3].text, "connection refused");
	assert_string_equal(transaction_state_name(&n->t), "unverified");
	assert_true(n->t.view.probe[SMTP].match);
}

static void a_stopped_service_gets_its_files_and_is_not_probed(void **state)
{
	(void)state;
	struct node *n = staged();
	n->stopped = "dovecot";
	n->serves[IMAP] = n->serves[POP3] = n->serves_after_reload[IMAP] = n->serves_after_reload[POP3] = 0;
	order(n, MESSAGE_ACTIVATE, NEW, 5, 'n');
	pump_to(n, "running probe");
	assert_true(n->wanted[SMTP]);
	assert_false(n->wanted[IMAP]);
	pump(n);
	assert_int_equal(n->t.state, TRANSACTION_VERIFIED);
	assert_true(n->told.stopped);
	assert_true(n->t.view.probe[IMAP].stopped);
	assert_string_equal(transaction_state_name(&n->t), "installed (stopped)");

	/* The service is started with the new files, and the next look finds it. */
	n->stopped = NULL;
	n->serves[IMAP] = n->serves[POP3] = 'n';
	n->trace[0] = '\0';
	assert_true(transaction_inspect(&n->t, 0, n->now));
	pump(n);
	assert_string_equal(n->trace, "running probe !probed");
	assert_true(n->t.view.probe[IMAP].match);
	assert_false(n->told.stopped);
	assert_string_equal(transaction_state_name(&n->t), "verified");
}

static void all_services_stopped_needs_no_probe(void **state)
{
	(void)state;
	struct node *n = ready();
	n->t.view.count = 1;
	n->stopped = "postfix";
	n->serves[SMTP] = 0;
	stage_new(n);
	order(n, MESSAGE_ACTIVATE, NEW, 5, 'n');
	pump(n);
	assert_string_equal(n->trace, "running activate test reload !installed commit look !verified");
	assert_true(n->told.stopped);
}

static void a_root_half_that_undid_it_is_not_asked_to(void **state)
{
	(void)state;
	struct node *n = staged();
	n->fails = REQUEST_COMMIT;
	n->root_rolls_back = true;
	order(n, MESSAGE_ACTIVATE, NEW, 5, 'n');
	pump_to(n, "commit");
	memset(n->serves, 'o', PORTS);
	pump(n);
	assert_null(strstr(n->trace, "undo"));
	assert_string_equal(n->told.step, "commit");
	assert_true(n->told.rolled_back);
}

static void an_undo_that_fails_too_tells_both_outputs(void **state)
{
	(void)state;
	struct node *n = staged();
	order(n, MESSAGE_ACTIVATE, NEW, 5, 'n');
	n->fails = REQUEST_RELOAD;
	pump_to(n, "reload");
	pump_once(n);
	n->fails = REQUEST_UNDO;
	pump(n);
	assert_non_null(strstr(n->told.text, "it failed; putting the old files back failed: it failed"));
	assert_non_null(
		strstr(n->told.output, "printed by the hook\n\nputting the old files back failed:\nprinted by"));
	assert_false(n->told.rolled_back);
	assert_string_equal(transaction_state_name(&n->t), "failed");
}

static void old_files_whose_reload_fails_are_told_as_back(void **state)
{
	(void)state;
	struct node *n = staged();
	order(n, MESSAGE_ACTIVATE, NEW, 5, 'n');
	n->fails = REQUEST_RELOAD;
	pump_to(n, "undo");
	n->fails = REQUEST_UNDO;
	n->root_rolls_back = true;
	pump(n);
	assert_non_null(strstr(n->told.text, "it failed; the old files are back, but: it failed"));
	assert_true(n->told.rolled_back);
}

static void a_first_activation_that_fails_keeps_the_new_files(void **state)
{
	(void)state;
	struct node *n = staged();
	n->undo_keeps = true;
	n->serves_after_reload[SMTP] = 0;
	order(n, MESSAGE_ACTIVATE, NEW, 5, 'n');
	pump(n);
	assert_string_equal(n->told.step, "probe");
	assert_false(n->told.rolled_back);
	assert_int_equal(revision_compare(n->t.have.served.revision, NEW), 0);
}

static void the_same_content_is_only_renumbered(void **state)
{
	(void)state;
	struct node *n = ready();
	n->fails = REQUEST_RELOAD; /* a service that is broken already must not be asked */
	order(n, MESSAGE_OFFER, NEW, 5, 'o');
	pump(n);
	assert_string_equal(n->trace, "fetch stage look !staged");
	order(n, MESSAGE_ACTIVATE, NEW, 5, 'o');
	pump(n);
	assert_string_equal(n->trace, "activate !installed commit look running probe !verified");
	assert_int_equal(revision_compare(n->t.have.served.revision, NEW), 0);
}

static void force_runs_the_hooks_of_what_is_served(void **state)
{
	(void)state;
	struct node *n = ready();
	order(n, MESSAGE_OFFER, OLD, 5, 'o');
	pump(n);
	assert_string_equal(n->trace, "!staged");
	memset(n->serves_after_reload, 'o', PORTS);
	struct message m = {
		.type = MESSAGE_ACTIVATE, .content.revision = OLD, .attempt = 5, .force = true, .timeout = 60};
	n->trace[0] = '\0';
	assert_true(transaction_take(&n->t, &m, n->now));
	pump(n);
	assert_string_equal(n->trace, "running probe test reload !installed probe !verified");
}

static void what_is_served_is_confirmed_without_a_hook(void **state)
{
	(void)state;
	struct node *n = ready();
	order(n, MESSAGE_ACTIVATE, OLD, 5, 'o');
	pump(n);
	assert_string_equal(n->trace, "running probe !verified");
}

static void a_service_that_kept_the_old_leaf_in_memory_is_reloaded(void **state)
{
	(void)state;
	struct node *n = ready();
	n->serves[IMAP] = 'x';
	memset(n->serves_after_reload, 'o', PORTS);
	order(n, MESSAGE_ACTIVATE, OLD, 5, 'o');
	pump(n);
	assert_string_equal(n->trace, "running probe running probe test reload !installed probe !verified");
}

static void an_activate_without_staging_is_refused(void **state)
{
	(void)state;
	struct node *n = ready();
	order(n, MESSAGE_ACTIVATE, NEW, 5, 'n');
	pump(n);
	assert_string_equal(n->trace, "look !failed");
	assert_string_equal(n->told.step, "activate");
	assert_false(n->told.rolled_back);
}

static void what_is_staged_already_is_not_fetched_again(void **state)
{
	(void)state;
	struct node *n = staged();
	order(n, MESSAGE_OFFER, NEW, 6, 'n');
	pump(n);
	assert_string_equal(n->trace, "test !staged");
}

static void stale_and_repeated_orders_are_dropped(void **state)
{
	(void)state;
	struct node *n = staged();
	assert_false(offer_is_taken(n, 4));
	assert_false(offer_is_taken(n, 5));
	order(n, MESSAGE_ACTIVATE, NEW, 5, 'n');
	struct message again = {.type = MESSAGE_ACTIVATE, .content.revision = NEW, .attempt = 5};
	assert_false(transaction_take(&n->t, &again, n->now));
	assert_false(offer_is_taken(n, 5));
	pump(n);
	assert_int_equal(n->t.state, TRANSACTION_VERIFIED);
	/* A new connection numbers its attempts anew. */
	transaction_lost(&n->t);
	assert_true(offer_is_taken(n, 1));
}

static void a_newer_offer_takes_the_place_of_a_fetch(void **state)
{
	(void)state;
	struct node *n = ready();
	order(n, MESSAGE_OFFER, NEW, 5, 'n');
	order(n, MESSAGE_OFFER, (struct revision){1, 9}, 6, 'm');
	pump(n);
	assert_string_equal(n->trace, "cancel fetch stage look test !staged");
	assert_int_equal(n->told.attempt, 6);
	assert_int_equal(n->told.content.revision.number, 9);
}

static void an_offer_in_the_middle_waits_for_the_end(void **state)
{
	(void)state;
	struct node *n = staged();
	order(n, MESSAGE_ACTIVATE, NEW, 5, 'n');
	pump_to(n, "reload");
	struct message m = {.type = MESSAGE_OFFER, .content.revision = {1, 9}, .attempt = 6};
	memset(m.content.digest, 'a', sizeof(m.content.digest));
	assert_true(transaction_take(&n->t, &m, n->now));
	pump_to(n, "!verified fetch");
	n->bundle = m.content.revision;
	pump(n);
	assert_int_equal(n->t.state, TRANSACTION_STAGED);
	assert_int_equal(n->t.order.attempt, 6);
}

static void the_hub_s_loss_does_not_stop_what_is_switched(void **state)
{
	(void)state;
	struct node *n = staged();
	order(n, MESSAGE_ACTIVATE, NEW, 5, 'n');
	pump_to(n, "reload");
	assert_true(transaction_is_switched(&n->t));
	transaction_lost(&n->t);
	pump(n);
	assert_int_equal(n->t.state, TRANSACTION_VERIFIED);
	assert_int_equal(n->told.attempt, 0); /* no attempt asked for it; the next inventory tells the hub */
	assert_false(transaction_is_switched(&n->t));
	assert_int_equal(revision_compare(n->t.have.served.revision, NEW), 0);
}

static void the_hub_s_loss_ends_a_fetch(void **state)
{
	(void)state;
	struct node *n = ready();
	order(n, MESSAGE_OFFER, NEW, 5, 'n');
	transaction_lost(&n->t);
	assert_true(transaction_rests(&n->t));
	assert_int_equal(n->t.state, TRANSACTION_INSTALLED);
	transaction_fetched(&n->t, (const uint8_t *)"late", 4);
	assert_string_equal(n->trace, "fetch");
}

static struct node *interrupted(void)
{
	static struct node node;
	set_up(&node);
	node.have.staged.revision = node.have.pending = node.have.high_water = NEW;
	node.have.pending_seconds = 60;
	memset(node.have.live, 'n', CHAIN_SHA256_SIZE);
	memset(node.have.staged.leaf, 'n', CHAIN_SHA256_SIZE);
	memset(node.have.staged.digest, 'n', CHAIN_SHA256_SIZE);
	transaction_start(&node.t, &node.have, node.now);
	assert_true(transaction_is_switched(&node.t));
	return &node;
}

static void a_restarted_agent_finishes_what_is_pending(void **state)
{
	(void)state;
	struct node *n = interrupted();
	pump(n);
	assert_string_equal(n->trace, "running probe test reload !installed probe commit look !verified");
	assert_int_equal(n->told.attempt, 0);
	assert_int_equal(revision_compare(n->t.have.served.revision, NEW), 0);
}

static void a_restarted_agent_undoes_what_it_cannot_finish(void **state)
{
	(void)state;
	struct node *n = interrupted();
	n->serves_after_reload[SMTP] = 0;
	pump(n);
	assert_non_null(strstr(n->trace, "undo look probe"));
	assert_string_equal(transaction_state_name(&n->t), "rolled back");
}

static void a_restarted_agent_does_not_wait_for_ports_that_are_dead(void **state)
{
	(void)state;
	struct node *n = interrupted();
	n->serves[POP3] = n->serves_after_reload[POP3] = 0;
	pump(n);
	assert_string_equal(n->trace, "running probe test reload !installed probe commit look !verified");
	assert_string_equal(transaction_state_name(&n->t), "unverified");
	assert_int_equal(revision_compare(n->t.have.served.revision, NEW), 0);
}

static void a_restarted_agent_that_finds_all_ports_dead_waits_for_them(void **state)
{
	(void)state;
	struct node *n = interrupted();
	memset(n->serves, 0, PORTS);
	n->serves_after_reload[POP3] = 0;
	pump(n);
	assert_non_null(strstr(n->trace, "undo look"));
	assert_string_equal(n->t.failure.step, "probe");
}

static void a_resumed_switch_ends_before_the_root_half_s_deadline(void **state)
{
	(void)state;
	struct node *n = interrupted();
	transaction_init(&n->t, NAME, &io, n);
	probed_add(&n->t.view, "127.0.0.1:25", "postfix");
	n->have.pending_seconds = 12;
	n->serves_after_reload[SMTP] = 'o';
	n->waits = NOTHING;
	int64_t before = n->now;
	transaction_start(&n->t, &n->have, n->now);
	pump_to(n, "undo");
	assert_uint_in_range(n->now - before, 7000, 12000);
}

static void an_order_interrupts_a_look(void **state)
{
	(void)state;
	struct node *n = ready();
	assert_true(transaction_inspect(&n->t, 0, n->now));
	pump_to(n, "running probe");
	assert_false(transaction_inspect(&n->t, 0, n->now));
	order(n, MESSAGE_OFFER, NEW, 5, 'n');
	pump(n);
	assert_string_equal(n->trace, "cancel fetch stage look test !staged");
}

static void a_look_tells_what_is_served(void **state)
{
	(void)state;
	struct node *n = ready();
	n->serves[POP3] = 'x';
	assert_true(transaction_inspect(&n->t, 9, n->now));
	pump(n);
	assert_string_equal(n->trace, "running probe !probed");
	assert_int_equal(n->told.attempt, 9);
	assert_int_equal(revision_compare(n->told.content.revision, OLD), 0);
	assert_true(n->t.view.probe[SMTP].match);
	assert_false(n->t.view.probe[POP3].match);
	assert_string_equal(transaction_state_name(&n->t), "unverified");
}

static void what_is_no_longer_served_is_no_longer_verified(void **state)
{
	(void)state;
	char text[MESSAGE_TEXT_MAX];
	struct node *n = staged();
	order(n, MESSAGE_ACTIVATE, NEW, 5, 'n');
	pump(n);
	assert_string_equal(transaction_state_name(&n->t), "verified");
	n->serves[IMAP] = 'o';
	n->serves[SMTP] = 0;
	assert_true(transaction_inspect(&n->t, 0, n->now));
	pump(n);
	assert_string_equal(transaction_state_name(&n->t), "unverified");
	probed_describe_unserved(&n->t.view, text, sizeof(text));
	assert_non_null(strstr(text, "127.0.0.1:25 (postfix): connection refused"));
	assert_non_null(strstr(text, "127.0.0.1:993 (dovecot): serves another certificate"));
	assert_null(strstr(text, ":995"));
	memset(n->serves, 'n', PORTS);
	assert_true(transaction_inspect(&n->t, 0, n->now));
	pump(n);
	assert_string_equal(transaction_state_name(&n->t), "verified");
}

static void a_probe_is_always_answered(void **state)
{
	(void)state;
	struct node *n = ready();
	/* The agent is in the middle of its own look, and that look's answer serves. */
	assert_true(transaction_inspect(&n->t, 0, n->now));
	assert_true(transaction_inspect(&n->t, 7, n->now));
	pump(n);
	assert_string_equal(n->trace, "running probe !probed");
	assert_int_equal(n->told.attempt, 7);
	/* The agent is in the middle of an order, and answers after it. */
	order(n, MESSAGE_OFFER, NEW, 8, 'n');
	pump_to(n, "stage");
	assert_true(transaction_inspect(&n->t, 9, n->now));
	assert_false(transaction_inspect(&n->t, 0, n->now));
	pump(n);
	assert_string_equal(n->trace, "fetch stage look test !staged running probe !probed");
	assert_int_equal(n->told.attempt, 9);
	/* An order interrupts the look, and the answer comes after it. */
	assert_true(transaction_inspect(&n->t, 10, n->now));
	pump_to(n, "running probe");
	order(n, MESSAGE_ACTIVATE, NEW, 11, 'n');
	pump(n);
	assert_non_null(strstr(n->trace, "look !verified running probe !probed"));
	assert_int_equal(n->told.attempt, 10);
	/* The hub is gone, and nobody waits for the answer any more. */
	order(n, MESSAGE_OFFER, (struct revision){1, 9}, 12, 'm');
	assert_true(transaction_inspect(&n->t, 13, n->now));
	transaction_lost(&n->t);
	assert_true(transaction_rests(&n->t));
	assert_null(strstr(n->trace, "!probed"));
}

static void a_probe_of_what_has_no_endpoint_is_answered(void **state)
{
	(void)state;
	struct node *n = ready();
	n->t.view.count = 0;
	assert_true(transaction_inspect(&n->t, 3, n->now));
	pump(n);
	assert_string_equal(n->trace, "running !probed");
	assert_int_equal(n->told_probes, 0);
	assert_int_equal(n->told.attempt, 3);
	assert_string_equal(transaction_state_name(&n->t), "unprobed");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_renewal_goes_through),
		cmocka_unit_test(the_root_half_s_deadline_lies_inside_the_hub_s),
		cmocka_unit_test(probes_wait_until_a_slow_reload_shows),
		cmocka_unit_test(what_fails_at_staging_changes_nothing),
		cmocka_unit_test(a_bundle_of_another_revision_is_refused),
		cmocka_unit_test(what_fails_after_the_switch_is_put_back),
		cmocka_unit_test(a_reload_that_exits_0_and_shows_nothing_is_put_back),
		cmocka_unit_test(either_leaf_of_two_pairs_is_right),
		cmocka_unit_test(both_outputs_are_told_though_the_hooks_succeeded),
		cmocka_unit_test(a_port_that_the_reload_killed_is_a_reason),
		cmocka_unit_test(a_port_that_was_dead_before_is_told_and_no_reason),
		cmocka_unit_test(a_stopped_service_gets_its_files_and_is_not_probed),
		cmocka_unit_test(all_services_stopped_needs_no_probe),
		cmocka_unit_test(a_root_half_that_undid_it_is_not_asked_to),
		cmocka_unit_test(an_undo_that_fails_too_tells_both_outputs),
		cmocka_unit_test(old_files_whose_reload_fails_are_told_as_back),
		cmocka_unit_test(a_first_activation_that_fails_keeps_the_new_files),
		cmocka_unit_test(the_same_content_is_only_renumbered),
		cmocka_unit_test(force_runs_the_hooks_of_what_is_served),
		cmocka_unit_test(what_is_served_is_confirmed_without_a_hook),
		cmocka_unit_test(a_service_that_kept_the_old_leaf_in_memory_is_reloaded),
		cmocka_unit_test(an_activate_without_staging_is_refused),
		cmocka_unit_test(what_is_staged_already_is_not_fetched_again),
		cmocka_unit_test(stale_and_repeated_orders_are_dropped),
		cmocka_unit_test(a_newer_offer_takes_the_place_of_a_fetch),
		cmocka_unit_test(an_offer_in_the_middle_waits_for_the_end),
		cmocka_unit_test(the_hub_s_loss_does_not_stop_what_is_switched),
		cmocka_unit_test(the_hub_s_loss_ends_a_fetch),
		cmocka_unit_test(a_restarted_agent_finishes_what_is_pending),
		cmocka_unit_test(a_restarted_agent_undoes_what_it_cannot_finish),
		cmocka_unit_test(a_resumed_switch_ends_before_the_root_half_s_deadline),
		cmocka_unit_test(an_order_interrupts_a_look),
		cmocka_unit_test(a_restarted_agent_does_not_wait_for_ports_that_are_dead),
		cmocka_unit_test(a_restarted_agent_that_finds_all_ports_dead_waits_for_them),
		cmocka_unit_test(what_is_no_longer_served_is_no_longer_verified),
		cmocka_unit_test(a_probe_is_always_answered),
		cmocka_unit_test(a_probe_of_what_has_no_endpoint_is_answered),
		cmocka_unit_test(a_look_tells_what_is_served),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
