/* Renewals beside a worker that lies and a store that refuses: each failure has its reason and its wait, and is known
 * after a restart, and an order that was begun at the authority is continued. */
#include "hub/daemon/acme/challenge.h"
#include "tests/unit/hub_scene.h"
#include "tests/unit/worker.h"

#include "hub/daemon/acme/account.h"
#include "hub/daemon/acme/account_key.h"
#include "hub/daemon/acme/authority.h"
#include "hub/daemon/acme/renewal.h"
#include "hub/daemon/revoked.h"
#include "lib/crypto/bundle.h"
#include "lib/wire/json.h"

struct play {
	struct hub_scene of;
	struct hub *hub;
	struct renewal *r;
	struct issued root;
	struct buf script;
};

/* Valid from a day ago; `to` is what it has left, 89 days if nothing is said. */
static struct issued from_now(struct wish w)
{
	int64_t now = clock_wall();
	w.from = now - ISSUE_DAY;
	w.to = now + (w.to ? w.to : 89 * ISSUE_DAY);
	return issue(w);
}

/* Nothing falls due by itself here; the test says when to order. */
static void open_all(struct play *p)
{
	fleet_open(p->hub);
	renewal_open(p->hub);
	p->r = renewal_find(p->hub, NAME);
}

static void close_all(struct play *p)
{
	renewal_close(p->hub);
	fleet_close(p->hub);
	history_close(p->hub);
}

static int setup(void **state)
{
	struct play *p = mem_alloc(sizeof(*p));
	struct error err;
	if (!hub_scene_begin(&p->of, "acme = {\"ca\", \"other\"} preflight = off next_key = true"))
		return -1;
	p->hub = &p->of.hub;
	if (spawner_begin(p->hub->workers, &err) < 0)
		return -1;
	p->script = BUF_INIT(WORKER_SCRIPT_MAX);
	p->root = from_now((struct wish){.subject = "root", .authority = true});
	struct chain chain = issued_chain(&p->root, NULL, 0);
	auto_buf struct buf pem = BUF_INIT(FILES_FILE_MAX);
	int written = chain_write_pem(&chain, CHAIN_LEAF, &pem, &err);
	chain_release(&chain);
	scratch_write(p->of.scratch, "anchors.pem", buf_text(&pem), 0600);
	auto_free char *anchors = scratch_path(p->of.scratch, "anchors.pem");
	p->hub->anchors = anchors_load(anchors, &err);
	p->hub->challenge = challenge_new(p->hub->base, "127.0.0.1:0", &err);
	open_all(p);
	*state = p;
	return written < 0 || !p->hub->anchors || !p->hub->challenge;
}

static int teardown(void **state)
{
	struct play *p = *state;
	close_all(p);
	challenge_free(p->hub->challenge);
	anchors_free(p->hub->anchors);
	issued_release(&p->root);
	buf_release(&p->script);
	hub_scene_end(&p->of);
	free(p);
	return 0;
}

static struct renewal_status status(const struct play *p)
{
	struct renewal_status s;
	renewal_status(p->r, &s);
	return s;
}

/* Orders with what the script says, and runs until it is over. `why` is part of the reason for which it must fail;
 * NULL: it must succeed. */
static void orders(struct play *p, bool force, const char *why)
{
	struct error err;
	worker_learns(&p->script);
	assert_int_equal(renewal_now(p->r, force, &err), 0);
	while (status(p).running)
		assert_int_equal(event_base_loop(p->hub->base, EVLOOP_ONCE), 0);
	if (why && !strstr(status(p).error, why))
		print_error("not \"%s\" but \"%s\"\n", why, status(p).error);
	assert_true(why ? strstr(status(p).error, why) != NULL : !status(p).error[0]);
}

/* Scripts all that a worker says when this certificate has been issued. */
static void says_issued_as(struct play *p, struct wish w)
{
	struct error err;
	struct order_key key;
	auto_buf struct buf spki = BUF_INIT(KEYS_SPKI_MAX), fullchain = BUF_INIT(FILES_FILE_MAX);
	auto_free char *keys = scratch_path(p->of.scratch, "state-keys");
	w.subject = NAME;
	w.san = "DNS:" NAME;
	struct issued leaf = from_now(w);
	struct chain chain = issued_chain(&leaf, NULL, 0);
	/* The key was made ahead, so that a worker which waits for no answer finds it there. */
	assert_int_equal(keys_put(keys, chain.key, &err), 0);
	assert_int_equal(chain_write_spki(chain.key, &spki, &err), 0);
	assert_int_equal(order_key_take(&key, &spki, &err), 0);
	assert_int_equal(order_key_store(p->hub->store, ORDER_NEXT_KEYS, NAME, "key.pub", &key, &err), 0);
	assert_int_equal(chain_write_pem(&chain, CHAIN_LEAF, &fullchain, &err), 0);
	chain_release(&chain);
	issued_release(&leaf);
	worker_says(&p->script, "{\"event\":\"key\",\"pair\":0}");
	worker_says(&p->script, "{\"event\":\"order\",\"pair\":0,\"url\":\"https://ca.domain.pl/order/1\"}");
	worker_says(&p->script, "{\"event\":\"warning\",\"text\":\"no such chain is offered\"}");
	worker_sends(&p->script, "issued", "fullchain.pem", buf_text(&fullchain), NULL);
	worker_says(&p->script, "{\"event\":\"done\"}");
}

static void says_issued(struct play *p, const struct issued *issuer)
{
	says_issued_as(p, (struct wish){.issuer = issuer});
}

static void says_issued_for(struct play *p, int64_t days)
{
	says_issued_as(p, (struct wish){.issuer = &p->root, .to = days * ISSUE_DAY});
}

/* The caller releases it. */
static struct manifest current(struct play *p)
{
	struct error err;
	struct manifest m;
	assert_int_equal(store_current(p->hub->store, NAME, &m, &err), 1);
	return m;
}

static void revoke_current(struct play *p)
{
	struct error err;
	struct revoked how = {.reason = "superseded", .at = clock_wall()};
	auto_manifest struct manifest m = current(p);
	assert_int_equal(revoked_note(p->hub->store, NAME, m.content.leaf, &how, &err), 0);
}

static bool may_expire_sooner(struct play *p)
{
	auto_manifest struct manifest m = current(p);
	return m.flags & BUNDLE_MAY_EXPIRE_SOONER;
}

/* A shorter life is a mistake, unless what it replaces is of no use any more. */
static void a_shorter_life_replaces_what_was_revoked(void **state)
{
	struct play *p = *state;
	says_issued_for(p, 89);
	orders(p, false, NULL);
	says_issued_for(p, 40);
	orders(p, true, "sooner: the certificate expires at");
	revoke_current(p);
	says_issued_for(p, 40);
	orders(p, true, NULL);
	assert_true(may_expire_sooner(p));
	/* An agent that was away has the first one still. */
	says_issued_for(p, 60);
	orders(p, true, NULL);
	assert_true(may_expire_sooner(p));
	says_issued_for(p, 50);
	orders(p, true, "sooner: the certificate expires at");
	says_issued_for(p, 90);
	orders(p, true, NULL);
	assert_false(may_expire_sooner(p));
	says_issued_for(p, 91);
	orders(p, true, NULL);
	assert_false(may_expire_sooner(p));
}

static void a_shorter_life_is_what_a_profile_was_asked_for(void **state)
{
	struct play *p = *state;
	says_issued_for(p, 89);
	orders(p, false, NULL);
	p->hub->config->certificates[0].profile = mem_strdup("shortlived");
	close_all(p);
	open_all(p);
	says_issued_for(p, 6);
	orders(p, true, NULL);
	assert_true(may_expire_sooner(p));
	free(steal(p->hub->config->certificates[0].profile));
	close_all(p);
	open_all(p);
	says_issued_for(p, 5);
	orders(p, true, "sooner: the certificate expires at");
}

/* What strict clients refuse is published, and stands in the manifest from then on. */
static void what_strict_clients_refuse_is_noted(void **state)
{
	struct play *p = *state;
	says_issued(p, &p->root);
	orders(p, false, NULL);
	struct manifest m = current(p);
	assert_string_equal(m.warning, "");
	manifest_release(&m);
	says_issued_as(p, (struct wish){.issuer = &p->root, .to = 90 * ISSUE_DAY, .bare = true});
	orders(p, true, NULL);
	m = current(p);
	assert_non_null(strstr(m.warning, "strict: Missing Authority Key Identifier at depth 0"));
	manifest_release(&m);
	says_issued_for(p, 91);
	orders(p, true, NULL);
	m = current(p);
	assert_string_equal(m.warning, "");
	manifest_release(&m);
}

/* What is published has every name that was configured then. */
static void a_name_that_was_added_is_ordered_at_once(void **state)
{
	struct play *p = *state;
	char *both[] = {NAME, "imap." NAME, NULL}, **before = p->hub->config->certificates[0].names;
	says_issued(p, &p->root);
	orders(p, false, NULL);
	assert_null(status(p).lacks);
	assert_true(status(p).due > clock_wall() + ISSUE_DAY);
	p->hub->config->certificates[0].names = both;
	close_all(p);
	open_all(p);
	assert_string_equal(status(p).lacks, "imap." NAME);
	assert_string_equal(status(p).basis, "names");
	assert_true(status(p).due <= clock_wall());
	/* Where it is not had, the next try waits as it does after any failure. */
	worker_says(&p->script, "{\"event\":\"failed\",\"kind\":\"retry\",\"text\":\"refused\",\"retry_after\":0}");
	orders(p, false, "refused");
	assert_true(status(p).due > clock_wall());
	p->hub->config->certificates[0].names = before;
	close_all(p);
	open_all(p);
	assert_null(status(p).lacks);
	assert_true(status(p).due > clock_wall() + ISSUE_DAY);
}

static void fails(struct play *p, const char *trouble)
{
	auto_free char *text = mem_printf("{\"event\":\"failed\",\"kind\":\"retry\",\"text\":\"not now\","
					  "\"retry_after\":0,\"trouble\":\"%s\"}",
		trouble);
	worker_says(&p->script, text);
	orders(p, false, "not now");
}

/* The next authority is asked at once, a restart forgets neither which nor why, and what it issues says whose it is. */
static void another_authority_issues_when_the_first_is_down(void **state)
{
	struct play *p = *state;
	says_issued(p, &p->root);
	orders(p, false, NULL);
	for (unsigned i = 1; i <= AUTHORITY_DOWN_TRIES; i++) {
		assert_string_equal(status(p).authority, "ca");
		assert_true(status(p).at_first && !status(p).instead[0]);
		fails(p, "down");
		assert_int_equal(status(p).failures, i);
	}
	close_all(p);
	open_all(p);
	assert_string_equal(status(p).authority, "other");
	assert_string_equal(status(p).instead, "other is asked in place of ca: not now");
	assert_true(!status(p).at_first && status(p).instead_since > 0);
	assert_int_equal(status(p).failures, AUTHORITY_DOWN_TRIES);
	says_issued(p, &p->root);
	orders(p, false, NULL);
	auto_manifest struct manifest m = current(p);
	assert_string_equal(m.reason, "other");
	/* The first one is asked again from here on. */
	assert_string_equal(status(p).authority, "ca");
	assert_true(status(p).at_first && status(p).instead[0] && status(p).failures == 0);
	says_issued_for(p, 91);
	orders(p, true, NULL);
	assert_string_equal(status(p).instead, "");
	assert_int_equal(status(p).instead_since, 0);
}

static void both_are_asked_in_turn_when_neither_issues(void **state)
{
	struct play *p = *state;
	fails(p, "refuses");
	assert_string_equal(status(p).authority, "other");
	assert_true(status(p).due <= clock_wall());
	fails(p, "refuses");
	assert_string_equal(status(p).authority, "ca");
	assert_true(status(p).due > clock_wall());
	assert_int_equal(status(p).failures, 2);
}

/* What another would meet, too, does not cost its limits. */
static void a_fault_of_ours_stays_with_the_first(void **state)
{
	struct play *p = *state;
	for (int i = 0; i < 5; i++) {
		fails(p, "failed");
		assert_string_equal(status(p).authority, "ca");
	}
	assert_string_equal(status(p).instead, "");
}

static void a_failure_is_known_after_a_restart(void **state)
{
	struct play *p = *state;
	struct error err;
	buf_addf(&p->script, "dies");
	orders(p, false, "was killed by signal 9");
	assert_int_equal(status(p).failures, 1);
	worker_says(
		&p->script, "{\"event\":\"failed\",\"kind\":\"retry\",\"text\":\"rateLimited\",\"retry_after\":7200}");
	orders(p, false, "rateLimited");
	assert_true(status(p).due > clock_wall() + 3600);
	close_all(p);
	open_all(p);
	assert_int_equal(status(p).failures, 2);
	assert_string_equal(status(p).error, "rateLimited");
	assert_true(status(p).due > clock_wall() + 3600);
	/* The authority has asked to be left alone, and only --force orders before that time is over. */
	assert_int_equal(renewal_now(p->r, false, &err), -1);
	assert_non_null(strstr(err.message, "asked to be left alone until "));
	assert_false(status(p).running);
	says_issued(p, &p->root);
	orders(p, true, NULL);
	assert_int_equal(status(p).failures, 0);
	auto_manifest struct manifest m = {0};
	assert_int_equal(store_current(p->hub->store, NAME, &m, &err), 1);
}

static void what_is_refused_is_not_ordered_twice(void **state)
{
	struct play *p = *state;
	struct error err;
	auto_buf struct buf order = BUF_INIT(FILES_FILE_MAX);
	struct issued stranger = from_now((struct wish){.subject = "stranger", .authority = true});
	says_issued(p, &stranger);
	orders(p, false, "issued, but not published: ");
	issued_release(&stranger);
	auto_manifest struct manifest m = {0};
	assert_int_equal(store_current(p->hub->store, NAME, &m, &err), 0);
	/* The order is kept, so that the next try judges it again when the missing anchor is there. */
	assert_int_equal(store_get(p->hub->store, "orders", NAME, "order.json", &order, &err), 1);
	/* When an operator asks for it, a new order is begun instead. */
	worker_learns(&p->script);
	assert_int_equal(renewal_now(p->r, true, &err), 0);
	assert_int_equal(store_get(p->hub->store, "orders", NAME, "order.json", &order, &err), 0);
}

static void a_damaged_record_holds_nobody_up(void **state)
{
	static const char *const records[] = {"{", "{}", "{\"error\":\"x\"}", "{\"error\":\"x\",\"failures\":-1}",
		"{\"error\":\"x\",\"failures\":9,\"last_failure\":1}", "{\"error\":7,\"failures\":9}"};
	struct play *p = *state;
	struct error err;
	for (size_t i = 0; i < COUNT(records); i++) {
		close_all(p);
		assert_int_equal(
			store_put(p->hub->store, "renewals", NAME, "state.json", records[i], strlen(records[i]), &err),
			0);
		open_all(p);
		assert_int_equal(status(p).failures, 0);
		assert_true(status(p).due <= clock_wall());
	}
	says_issued(p, &p->root);
	orders(p, false, NULL);
}

static void a_store_that_refuses_stops_no_order(void **state)
{
	static const char *const blocked[] = {"renewals", "limits"};
	struct play *p = *state;
	for (size_t i = 0; i < COUNT(blocked); i++) {
		struct error err;
		auto_free char *name = mem_printf("state/records/%s", blocked[i]),
			       *path = scratch_path(p->of.scratch, name);
		(void)fs_remove_tree(AT_FDCWD, path, &err);
		scratch_write(p->of.scratch, name, "", 0600); /* a file stands where a directory should be */
	}
	worker_says(&p->script, "{\"event\":\"invalid\",\"name\":\"" NAME "\"}");
	worker_says(&p->script, "{\"event\":\"failed\",\"kind\":\"retry\",\"text\":\"refused\",\"retry_after\":0}");
	orders(p, false, "refused");
	assert_true(store_trouble(p->hub->store)[0]);
	says_issued(p, &p->root);
	orders(p, false, NULL);
}

static void on_done(const struct error *err, void *context)
{
	(void)err;
	++*(int *)context;
}

/* While the account is busy its key may be about to change, so that an order waits for it. */
static void an_order_waits_for_its_account(void **state)
{
	static const char record[] =
		"{\"url\":\"https://ca.domain.pl/account/1\",\"directory\":\"https://ca.domain.pl/dir\"}";
	struct play *p = *state;
	struct error err;
	int done = 0;
	struct order_key account;
	assert_int_equal(account_key_make(p->hub->store, p->hub->keys, "acme", "ca", &account, &err), 0);
	assert_int_equal(store_put(p->hub->store, "acme", "ca", "account.json", record, strlen(record), &err), 0);
	worker_learns(&p->script);
	assert_non_null(account_rollover(p->hub, p->hub->config->acmes, on_done, &done, &err));
	assert_int_equal(renewal_now(p->r, false, &err), 0);
	assert_string_equal(status(p).step, "waits for its account");
	while (!done)
		assert_int_equal(event_base_loop(p->hub->base, EVLOOP_ONCE), 0);
	assert_true(status(p).running);
	/* The same worker now serves the order, and has told the account only that its job is done. */
	says_issued(p, &p->root);
	worker_learns(&p->script);
	while (status(p).running)
		assert_int_equal(event_base_loop(p->hub->base, EVLOOP_ONCE), 0);
	assert_string_equal(status(p).error, "");
	/* An account also knows that an order uses it. */
	worker_learns(&p->script);
	assert_int_equal(store_drop(p->hub->store, "acme", "ca", &err), 0);
	assert_int_equal(renewal_now(p->r, true, &err), 0);
	assert_int_equal(renewal_check_idle(p->hub, p->hub->config->acmes, &err), -1);
	assert_non_null(strstr(err.message, "the order of " NAME " is under way with it"));
	/* The certificate is to get a new key, so that what was begun with the old one is dropped. */
	renewal_replace(p->r, true);
	assert_true(status(p).running);
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_failure_is_known_after_a_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(another_authority_issues_when_the_first_is_down, setup, teardown),
		cmocka_unit_test_setup_teardown(both_are_asked_in_turn_when_neither_issues, setup, teardown),
		cmocka_unit_test_setup_teardown(a_fault_of_ours_stays_with_the_first, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_refused_is_not_ordered_twice, setup, teardown),
		cmocka_unit_test_setup_teardown(a_shorter_life_replaces_what_was_revoked, setup, teardown),
		cmocka_unit_test_setup_teardown(a_shorter_life_is_what_a_profile_was_asked_for, setup, teardown),
		cmocka_unit_test_setup_teardown(what_strict_clients_refuse_is_noted, setup, teardown),
		cmocka_unit_test_setup_teardown(a_name_that_was_added_is_ordered_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(a_damaged_record_holds_nobody_up, setup, teardown),
		cmocka_unit_test_setup_teardown(a_store_that_refuses_stops_no_order, setup, teardown),
		cmocka_unit_test_setup_teardown(an_order_waits_for_its_account, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
	return worker_beside(argc, argv, run);
}
