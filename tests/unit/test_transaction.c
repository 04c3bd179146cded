/* The transaction, driven on a node that is only a model: a root half that keeps its books, two services with
 * three ports, a hub that listens, and a clock. Whatever the transaction does is one word of the trace.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/transaction.h"
#include "lib/mem.h"

#define NAME "mail.domain.pl"
#define OLD ((struct revision){1, 7})
#define NEW ((struct revision){1, 8})

enum { SMTP, IMAP, POP3, PORTS };

struct node {
	struct transaction t;
	int64_t now;
	char trace[1024];
	struct message told; /* the last, without its lists */
	size_t told_probes;

	/* what is outstanding */
	enum { NOTHING, A_BUNDLE, A_REPLY, PROBES, A_WAIT } waits;
	struct request asked;
	bool wanted[PORTS];
	int64_t wait_ms;

	/* the root half */
	struct inventory have;
	struct revision bundle; /* what the hub sends */
	uint8_t bundle_leaf;
	enum request_op fails; /* answered with a failure; 0: none */
	bool root_rolls_back;  /* … and has put the old files back by itself */
	bool undo_keeps;       /* an undo finds nothing that could be put back */
	const char *stopped;   /* a service */

	/* the ports: the first byte of the leaf that is served; 0: dead */
	uint8_t serves[PORTS];
	uint8_t serves_after_reload[PORTS];
	int rounds_until_reload; /* rounds of probes that still see the old leaf */
};

static void word(struct node *n, const char *text)
{
	size_t used = strlen(n->trace);
	snprintf(n->trace + used, sizeof(n->trace) - used, "%s%s", used ? " " : "", text);
}

static void on_tell(const struct message *m, void *context)
{
	struct node *n = context;
	auto_free char *text = mem_printf("!%s", message_type_name(m->type));
	word(n, text);
	n->told = *m;
	n->told_probes = m->probe_count;
	n->told.probes = NULL;
}

static void on_fetch(struct revision revision, uint32_t attempt, void *context)
{
	struct node *n = context;
	(void)attempt;
	assert_int_equal(revision_compare(revision, n->t.order.revision), 0);
	word(n, "fetch");
	n->waits = A_BUNDLE;
}

static void on_stage(const uint8_t *bundle, size_t len, void *context)
{
	struct node *n = context;
	(void)bundle;
	(void)len;
	word(n, "stage");
	n->asked = (struct request){.op = REQUEST_STAGE};
	n->waits = A_REPLY;
}

static void on_ask(enum request_op op, struct revision revision, uint32_t timeout, void *context)
{
	static const char *const names[] = {[REQUEST_INVENTORY] = "look",
		[REQUEST_TEST] = "test",
		[REQUEST_ACTIVATE] = "activate",
		[REQUEST_RELOAD] = "reload",
		[REQUEST_RUNNING] = "running",
		[REQUEST_COMMIT] = "commit",
		[REQUEST_UNDO] = "undo"};
	struct node *n = context;
	assert_int_equal(n->waits, NOTHING);
	word(n, names[op]);
	n->asked = (struct request){.op = op, .revision = revision, .timeout = timeout};
	n->waits = A_REPLY;
}

static void on_probe(const bool *wanted, void *context)
{
	struct node *n = context;
	assert_int_equal(n->waits, NOTHING);
	word(n, "probe");
	memcpy(n->wanted, wanted, sizeof(n->wanted));
	n->waits = PROBES;
}

static void on_wait(int64_t milliseconds, void *context)
{
	struct node *n = context;
	assert_in_range(milliseconds, 250, 2000);
	n->wait_ms = milliseconds;
	n->waits = A_WAIT;
}

static void on_cancel(void *context)
{
	struct node *n = context;
	word(n, "cancel");
	n->waits = NOTHING;
}

static const struct transaction_io io = {on_tell, on_fetch, on_stage, on_ask, on_probe, on_wait, on_cancel};

/* The root half's books. */

static void fail_reply(struct node *n, struct reply *r)
{
	r->ok = false;
	r->rolled_back = n->root_rolls_back;
	r->permanent = r->op == REQUEST_STAGE;
	snprintf(r->step, sizeof(r->step), "%s", r->op == REQUEST_STAGE ? "verify" : "");
	snprintf(r->text, sizeof(r->text), "it failed");
	snprintf(r->output, sizeof(r->output), "printed by the hook\n");
	if (n->root_rolls_back) {
		n->have.pending = (struct revision){0};
		memset(n->have.fingerprint, 'o', CHAIN_SHA256_SIZE);
	}
}

static void keep_pending(struct node *n)
{
	n->have.served = n->have.pending;
	n->have.pending = n->have.staged = (struct revision){0};
	memcpy(n->have.digest, n->have.staged_digest, CHAIN_SHA256_SIZE);
}

static void do_request(struct node *n, struct reply *r)
{
	switch (r->op) {
	case REQUEST_STAGE:
		r->revision = n->bundle;
		n->have.staged = n->have.high_water = n->bundle;
		memset(n->have.staged_fingerprint, n->bundle_leaf, CHAIN_SHA256_SIZE);
		memset(n->have.staged_digest, n->bundle_leaf, CHAIN_SHA256_SIZE);
		break;
	case REQUEST_ACTIVATE:
		assert_int_equal(revision_compare(n->asked.revision, n->have.staged), 0);
		n->have.pending = n->asked.revision;
		memcpy(n->have.fingerprint, n->have.staged_fingerprint, CHAIN_SHA256_SIZE);
		break;
	case REQUEST_RELOAD:
		memcpy(n->serves, n->serves_after_reload, sizeof(n->serves));
		break;
	case REQUEST_COMMIT:
		assert_int_equal(revision_compare(n->asked.revision, n->have.pending), 0);
		keep_pending(n);
		break;
	case REQUEST_UNDO:
		if (n->undo_keeps) {
			keep_pending(n);
			fail_reply(n, r);
			break;
		}
		n->have.pending = (struct revision){0};
		memset(n->have.fingerprint, 'o', CHAIN_SHA256_SIZE);
		for (int i = 0; i < PORTS; i++)
			n->serves[i] = n->serves[i] ? 'o' : 0;
		break;
	default:
		break;
	}
}

static void answer(struct node *n)
{
	struct reply *r = mem_alloc(sizeof(*r));
	r->op = n->asked.op;
	r->ok = true;
	r->revision = n->asked.revision;
	if (r->op == n->fails) {
		fail_reply(n, r);
	} else {
		do_request(n, r);
	}
	if (n->stopped && (r->op == REQUEST_RUNNING || r->op == REQUEST_RELOAD || r->op == REQUEST_UNDO))
		snprintf(r->stopped[r->stopped_count++], NAME_SERVICE_MAX, "%s", n->stopped);
	r->inventory = &n->have;
	r->inventory_count = 1;
	transaction_reply(&n->t, r, n->now);
	mem_free_cleanup(&r);
}

static void show_ports(struct node *n)
{
	struct message_probe seen[PORTS] = {0};
	for (int i = 0; i < PORTS; i++) {
		uint8_t leaf[CHAIN_SHA256_SIZE];
		memset(leaf, n->rounds_until_reload && n->serves[i] ? 'o' : n->serves[i], sizeof(leaf));
		seen[i].served = n->serves[i] != 0;
		if (seen[i].served)
			chain_hex(leaf, seen[i].fingerprint);
		else
			snprintf(seen[i].text, sizeof(seen[i].text), "connection refused");
	}
	if (n->rounds_until_reload)
		n->rounds_until_reload--;
	n->now += 20;
	transaction_probed(&n->t, seen, n->now);
}

/* One answer of whatever is waited for. */
static void pump_once(struct node *n)
{
	int waits = (int)n->waits;
	n->waits = NOTHING;
	n->now += 10;
	switch (waits) {
	case A_BUNDLE:
		transaction_fetched(&n->t, (const uint8_t *)"bundle", 6);
		break;
	case A_REPLY:
		answer(n);
		break;
	case PROBES:
		show_ports(n);
		break;
	default:
		n->now += n->wait_ms;
		transaction_waited(&n->t);
		break;
	}
}

static void pump(struct node *n)
{
	for (int i = 0; n->waits != NOTHING && i < 200; i++)
		pump_once(n);
	assert_true(transaction_rests(&n->t));
}

/* Until the given word is the newest of the trace and its answer is outstanding. */
static void pump_to(struct node *n, const char *last)
{
	for (int i = 0; i < 200; i++) {
		size_t used = strlen(n->trace), len = strlen(last);
		if (used >= len && strcmp(n->trace + used - len, last) == 0)
			return;
		assert_int_not_equal(n->waits, NOTHING);
		pump_once(n);
	}
	fail_msg("never came to %s: %s", last, n->trace);
}

/* Orders. */

static void order(
	struct node *n, enum message_type type, struct revision revision, uint32_t attempt, uint8_t leaf)
{
	struct message m = {
		.type = type, .certificate = NAME, .revision = revision, .attempt = attempt, .timeout = 120};
	uint8_t digest[CHAIN_SHA256_SIZE];
	memset(digest, leaf, sizeof(digest));
	if (type == MESSAGE_OFFER)
		chain_hex(digest, m.digest);
	n->trace[0] = '\0';
	n->bundle = revision;
	n->bundle_leaf = leaf;
	assert_true(transaction_take(&n->t, &m, n->now));
}

static bool offer_is_taken(struct node *n, uint32_t attempt)
{
	struct message m = {.type = MESSAGE_OFFER, .certificate = NAME, .revision = NEW, .attempt = attempt};
	return transaction_take(&n->t, &m, n->now);
}

static void stage_new(struct node *n)
{
	order(n, MESSAGE_OFFER, NEW, 5, 'n');
	pump(n);
	assert_string_equal(n->trace, "fetch stage look test !staged");
	assert_int_equal(n->t.state, TRANSACTION_STAGED);
}

static void set_up(struct node *n)
{
	memset(n, 0, sizeof(*n));
	n->now = 1000000;
	n->have.served = n->have.high_water = OLD;
	snprintf(n->have.certificate, sizeof(n->have.certificate), NAME);
	memset(n->have.fingerprint, 'o', CHAIN_SHA256_SIZE);
	memset(n->have.digest, 'o', CHAIN_SHA256_SIZE);
	memset(n->serves, 'o', PORTS);
	memset(n->serves_after_reload, 'n', PORTS);
	transaction_init(&n->t, NAME, &io, n);
	view_add(&n->t.view, "127.0.0.1:25", "postfix");
	view_add(&n->t.view, "127.0.0.1:993", "dovecot");
	view_add(&n->t.view, "127.0.0.1:995", "dovecot");
}

static struct node *ready(void)
{
	static struct node node;
	set_up(&node);
	transaction_start(&node.t, &node.have, node.now);
	assert_true(transaction_rests(&node.t));
	return &node;
}

static struct node *staged(void)
{
	struct node *n = ready();
	stage_new(n);
	return n;
}

/* Stories. */

static void a_renewal_goes_through(void **state)
{
	(void)state;
	struct node *n = staged();
	order(n, MESSAGE_ACTIVATE, NEW, 5, 'n');
	pump(n);
	assert_string_equal(
		n->trace, "running probe activate test reload !installed probe commit look !verified");
	assert_int_equal(n->t.state, TRANSACTION_VERIFIED);
	assert_int_equal(n->told_probes, PORTS);
	assert_int_equal(n->told.attempt, 5);
	assert_int_equal(n->told.fingerprint[0], '6'); /* 'n' is 0x6e */
	for (int i = 0; i < PORTS; i++)
		assert_true(n->t.view.probe[i].match);
	assert_int_equal(revision_compare(n->t.have.served, NEW), 0);
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
	assert_string_equal(n->trace, "running probe activate test reload !installed probe probe probe probe "
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
		{REQUEST_COMMIT,
			"running probe activate test reload !installed probe commit undo look probe !failed",
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
		assert_int_equal(revision_compare(n->t.have.served, OLD), 0);
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
	assert_true(n->told.rolled_back);
	assert_in_range(n->now - before, 30000, 40000);
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
	/* The model's undo does not revive it: both states are told. */
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
	assert_string_equal(
		n->trace, "running probe activate test reload !installed probe commit look !verified");
	assert_false(n->t.view.probe[POP3].served);
	assert_string_equal(n->t.view.probe[POP3].text, "connection refused");
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

	/* It is started, with the new files: the next look finds it. */
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
	assert_non_null(strstr(
		n->told.output, "printed by the hook\n\nputting the old files back failed:\nprinted by"));
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
	assert_int_equal(revision_compare(n->t.have.served, NEW), 0);
}

static void the_same_content_is_only_renumbered(void **state)
{
	(void)state;
	struct node *n = ready();
	n->fails = REQUEST_RELOAD; /* a broken service must not be asked */
	order(n, MESSAGE_OFFER, NEW, 5, 'o');
	pump(n);
	assert_string_equal(n->trace, "fetch stage look !staged");
	order(n, MESSAGE_ACTIVATE, NEW, 5, 'o');
	pump(n);
	assert_string_equal(n->trace, "activate !installed commit look running probe !verified");
	assert_int_equal(revision_compare(n->t.have.served, NEW), 0);
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
		.type = MESSAGE_ACTIVATE, .revision = OLD, .attempt = 5, .force = true, .timeout = 60};
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
	struct message again = {.type = MESSAGE_ACTIVATE, .revision = NEW, .attempt = 5};
	assert_false(transaction_take(&n->t, &again, n->now));
	assert_false(offer_is_taken(n, 5));
	pump(n);
	assert_int_equal(n->t.state, TRANSACTION_VERIFIED);
	/* Another connection numbers anew. */
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
	assert_int_equal(n->told.revision.number, 9);
}

static void an_offer_in_the_middle_waits_for_the_end(void **state)
{
	(void)state;
	struct node *n = staged();
	order(n, MESSAGE_ACTIVATE, NEW, 5, 'n');
	pump_to(n, "reload");
	struct message m = {.type = MESSAGE_OFFER, .revision = {1, 9}, .attempt = 6};
	memset(m.digest, 'a', sizeof(m.digest) - 1);
	assert_true(transaction_take(&n->t, &m, n->now));
	pump_to(n, "!verified fetch");
	n->bundle = m.revision;
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
	assert_int_equal(n->told.attempt, 0); /* nobody's: the next inventory tells it */
	assert_false(transaction_is_switched(&n->t));
	assert_int_equal(revision_compare(n->t.have.served, NEW), 0);
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
	node.have.staged = node.have.pending = node.have.high_water = NEW;
	node.have.pending_seconds = 60;
	memset(node.have.fingerprint, 'n', CHAIN_SHA256_SIZE);
	memset(node.have.staged_fingerprint, 'n', CHAIN_SHA256_SIZE);
	memset(node.have.staged_digest, 'n', CHAIN_SHA256_SIZE);
	transaction_start(&node.t, &node.have, node.now);
	assert_true(transaction_is_switched(&node.t));
	return &node;
}

static void a_restarted_agent_finishes_what_is_pending(void **state)
{
	(void)state;
	struct node *n = interrupted();
	pump(n);
	assert_string_equal(n->trace, "running test reload !installed probe commit look !verified");
	assert_int_equal(n->told.attempt, 0);
	assert_int_equal(revision_compare(n->t.have.served, NEW), 0);
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

static void a_resumed_switch_ends_before_the_root_half_s_deadline(void **state)
{
	(void)state;
	struct node *n = interrupted();
	transaction_init(&n->t, NAME, &io, n);
	view_add(&n->t.view, "127.0.0.1:25", "postfix");
	n->have.pending_seconds = 12;
	n->serves_after_reload[SMTP] = 'o';
	n->waits = NOTHING;
	int64_t before = n->now;
	transaction_start(&n->t, &n->have, n->now);
	pump_to(n, "undo");
	assert_in_range(n->now - before, 7000, 12000);
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
	assert_int_equal(revision_compare(n->told.revision, OLD), 0);
	assert_true(n->t.view.probe[SMTP].match);
	assert_false(n->t.view.probe[POP3].match);
	assert_int_equal(n->t.state, TRANSACTION_INSTALLED); /* not seen served everywhere: not verified */
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
		cmocka_unit_test(a_look_tells_what_is_served),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
