/* Accounts beside a worker that lies, dies or says nothing: a key that may be the account's is never lost, and what was
 * done is known. */
#include "tests/unit/hub_scene.h"
#include "tests/unit/worker.h"

#include "hub/daemon/acme/account.h"
#include "hub/daemon/acme/account_key.h"
#include "hub/common/jws.h"
#include "hub/daemon/revoked.h"

struct play {
	struct hub_scene of;
	struct hub *hub;
	const struct hub_acme *acme;
	struct buf script;
	struct error error;
	int done;
	struct order_key key; /* the key that the account has at first */
};

static int setup(void **state)
{
	struct play *p = mem_alloc(sizeof(*p));
	struct error err;
	if (!hub_scene_begin(&p->of, "acme = \"ca\""))
		return -1;
	p->hub = &p->of.hub;
	if (spawner_begin(p->hub->workers, &err) < 0)
		return -1;
	p->acme = p->hub->config->acmes;
	p->script = BUF_INIT(WORKER_SCRIPT_MAX);
	static const char record[] =
		"{\"url\":\"https://ca.domain.pl/account/1\",\"directory\":\"https://ca.domain.pl/dir\"}";
	*state = p;
	return account_key_make(p->hub->store, p->hub->keys, "acme", "ca", &p->key, &err) < 0 ||
		store_put(p->hub->store, "acme", "ca", "account.json", record, sizeof(record) - 1, &err) < 0;
}

static int teardown(void **state)
{
	struct play *p = *state;
	account_close(p->hub);
	hub_scene_end(&p->of);
	buf_release(&p->script);
	free(p);
	return 0;
}

static void on_done(const struct error *err, void *context)
{
	struct play *p = context;
	p->error = *err;
	p->done++;
}

/* Runs the loop until the account's job is done. `why` is part of the reason for which it must fail; NULL: it must
 * succeed. */
static void runs(struct play *p, const struct account *a, const char *why)
{
	int before = p->done;
	assert_non_null(a);
	assert_true(account_is_busy(p->hub, p->acme));
	while (p->done == before)
		assert_int_equal(event_base_loop(p->hub->base, EVLOOP_ONCE), 0);
	assert_false(account_is_busy(p->hub, p->acme));
	if (why && !strstr(p->error.message, why))
		print_error("not \"%s\" but \"%s\"\n", why, p->error.message);
	assert_true(why ? strstr(p->error.message, why) != NULL : p->error.kind == ERROR_NONE);
}

static struct account *rollover(struct play *p)
{
	struct error err;
	return account_rollover(p->hub, p->acme, on_done, p, &err);
}

/* Returns the id of the recorded key in hex, "" when none is recorded, after it has checked that certsync-keys holds
 * it. */
static char *kept(struct play *p, const char *kind, const char *file)
{
	struct error err;
	struct order_key key;
	char hex[CHAIN_HEX_MAX];
	if (order_key_load(p->hub->store, kind, "ca", file, &key, &err) != 1)
		return mem_strdup("");
	assert_int_equal(keys_find(p->hub->keys, KEYS_ACCOUNT, key.id, &err), 1);
	return mem_strdup(chain_hex(key.id, hex));
}

static bool is_held(struct play *p, const char *hex)
{
	struct error err;
	uint8_t id[KEYS_ID_SIZE];
	assert_int_equal(chain_unhex(hex, id), 0);
	return keys_find(p->hub->keys, KEYS_ACCOUNT, id, &err) == 1;
}

/* Checks that both keys are still there, since either may be the account's. */
static void both_are_kept(struct play *p, const char *next)
{
	struct account_facts facts;
	auto_free char *key = kept(p, "acme", "account.pub"), *other = kept(p, "acme-next", "account.pub");
	char hex[CHAIN_HEX_MAX], thumbprint[JWS_THUMBPRINT_MAX];
	struct error err;
	auto_pkey EVP_PKEY *public_key = NULL;
	assert_string_equal(key, chain_hex(p->key.id, hex));
	assert_string_equal(other, next);
	assert_int_equal(order_key_public(&p->key, &public_key, &err), 0);
	assert_int_equal(jws_thumbprint(public_key, thumbprint, &err), 0);
	account_facts(p->hub, p->acme, &facts);
	assert_true(facts.unsettled);
	assert_string_equal(facts.url, "https://ca.domain.pl/account/1");
	assert_string_equal(facts.thumbprint, thumbprint);
	assert_true(account_needs_upkeep(p->hub, p->acme));
}

static void a_key_whose_fate_is_not_known_is_kept(void **state)
{
	struct play *p = *state;
	worker_learns(&p->script);
	runs(p, rollover(p), "account ca: rollover: the worker ended without a word");
	auto_free char *next = kept(p, "acme-next", "account.pub");
	assert_string_not_equal(next, "");
	both_are_kept(p, next);
	buf_addf(&p->script, "dies");
	worker_learns(&p->script);
	runs(p, rollover(p), "the worker was killed by signal 9");
	both_are_kept(p, next); /* the job asked for no third key */
	worker_says(&p->script, "{\"event\":\"failed\",\"text\":\"the authority said 500\"}");
	worker_learns(&p->script);
	runs(p, rollover(p), "the authority said 500");
	both_are_kept(p, next);
	worker_says(&p->script, "{\"event\":\"done\",\"key\":\"next\"}");
	worker_learns(&p->script);
	runs(p, rollover(p), NULL);
	auto_free char *key = kept(p, "acme", "account.pub"), *gone = kept(p, "acme-next", "account.pub");
	char hex[CHAIN_HEX_MAX];
	assert_string_equal(key, next);
	assert_string_equal(gone, "");
	assert_true(is_held(p, next));
	assert_false(is_held(p, chain_hex(p->key.id, hex)));
}

static void a_key_that_was_not_taken_goes(void **state)
{
	struct play *p = *state;
	worker_says(&p->script, "{\"event\":\"done\",\"key\":\"old\"}");
	worker_learns(&p->script);
	runs(p, rollover(p), NULL);
	auto_free char *key = kept(p, "acme", "account.pub"), *next = kept(p, "acme-next", "account.pub");
	char hex[CHAIN_HEX_MAX];
	assert_string_equal(key, chain_hex(p->key.id, hex));
	assert_string_equal(next, "");
}

static void one_thing_at_a_time_and_none_without_an_account(void **state)
{
	struct play *p = *state;
	struct error err;
	worker_says(&p->script, "{\"event\":\"done\"}");
	worker_learns(&p->script);
	const struct account *first = rollover(p);
	assert_null(account_upkeep(p->hub, p->acme, on_done, p, &err));
	assert_non_null(strstr(err.message, "account ca: rollover is under way"));
	runs(p, first, NULL);
	assert_non_null(rollover(p));
	account_close(p->hub);
	assert_non_null(strstr(p->error.message, "interrupted: nothing is lost, ask again"));

	/* An account with the same name that was made at another directory does not count as this one. */
	static const char elsewhere[] = "{\"url\":\"u\",\"directory\":\"d\"}";
	assert_int_equal(store_put(p->hub->store, "acme", "ca", "account.json", elsewhere, strlen(elsewhere), &err), 0);
	assert_false(account_needs_upkeep(p->hub, p->acme));
	assert_null(rollover(p));
	assert_null(account_deactivate(p->hub, p->acme, on_done, p, &err));
	assert_int_equal(err.kind, ERROR_USAGE);
	assert_non_null(strstr(err.message, "there is no account at https://ca.domain.pl/dir yet"));
}

static void the_contact_is_told_once(void **state)
{
	struct play *p = *state;
	struct error err;
	struct account_facts facts;
	assert_true(account_needs_upkeep(p->hub, p->acme));
	worker_says(&p->script, "{\"event\":\"done\"}");
	worker_learns(&p->script);
	runs(p, account_upkeep(p->hub, p->acme, on_done, p, &err), NULL);
	assert_false(account_needs_upkeep(p->hub, p->acme));
	account_facts(p->hub, p->acme, &facts);
	assert_string_equal(facts.contact, "mailto:a@domain.pl");
	runs(p, account_deactivate(p->hub, p->acme, on_done, p, &err), NULL);
	auto_free char *key = kept(p, "acme", "account.pub");
	char hex[CHAIN_HEX_MAX];
	assert_string_equal(key, "");
	assert_false(is_held(p, chain_hex(p->key.id, hex)));
}

static void a_revocation_is_noted_with_its_first_reason(void **state)
{
	struct play *p = *state;
	struct error err;
	struct revoked how;
	const struct hub_certificate *certificate = p->hub->config->certificates;
	struct revision revision = hub_scene_store(&p->of);
	auto_manifest struct manifest m = {0};
	assert_int_equal(store_current(p->hub->store, NAME, &m, &err), 1);
	worker_learns(&p->script);
	runs(p, account_revoke(p->hub, certificate, revision, "superseded", on_done, p, &err), "without a word");
	assert_false(revoked_find(p->hub->store, NAME, m.content.leaf, &how));
	worker_says(&p->script, "{\"event\":\"done\"}");
	worker_learns(&p->script);
	runs(p, account_revoke(p->hub, certificate, revision, "superseded", on_done, p, &err), NULL);
	runs(p, account_revoke(p->hub, certificate, revision, "keyCompromise", on_done, p, &err), NULL);
	assert_true(revoked_find(p->hub->store, NAME, m.content.leaf, &how));
	assert_string_equal(how.reason, "superseded");
	revision.number++;
	assert_null(account_revoke(p->hub, certificate, revision, "superseded", on_done, p, &err));
	assert_non_null(strstr(err.message, "1.2"));
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_key_whose_fate_is_not_known_is_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(a_key_that_was_not_taken_goes, setup, teardown),
		cmocka_unit_test_setup_teardown(one_thing_at_a_time_and_none_without_an_account, setup, teardown),
		cmocka_unit_test_setup_teardown(the_contact_is_told_once, setup, teardown),
		cmocka_unit_test_setup_teardown(a_revocation_is_noted_with_its_first_reason, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
	return worker_beside(argc, argv, run);
}
