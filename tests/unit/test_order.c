/* An order beside a worker that lies: whatever `certsync-worker` says out of turn ends the order with a reason, and no
 * record of the store is lost by it. */
#include "tests/unit/issue.h"
#include "tests/unit/worker.h"

#include "hub/daemon/acme/account_key.h"
#include "hub/daemon/acme/order.h"
#include "hub/common/jws.h"
#include "tests/keys.h"

#define NAME "mail.domain.pl"
#define URL "https://ca.domain.pl/order/1"

/* ---- the daemon ---- */

struct play {
	struct event_base *base;
	struct workers *workers;
	struct keys *keys;
	struct store *store;
	struct challenge *challenge;
	struct hub_acme acme;
	struct hub_certificate certificate;
	struct buf script;
	struct error error;
	int64_t retry_after;
	enum authority_trouble trouble;
	struct order_key account, order;
	char heard[256]; /* the words that were handed on */
	int result;      /* what `issued` returns */
};

static char *names[] = {(char[]){NAME}, NULL};

static void hear(struct play *p, const char *word)
{
	size_t used = strlen(p->heard);
	snprintf(p->heard + used, sizeof(p->heard) - used, "%s;", word);
}

/* Puts a file where a directory of records should be, or takes it away. */
static void block(const char *kind, bool blocked)
{
	struct error err;
	auto_free char *path = mem_printf("%s/state/records/%s", fs_program_directory(), kind);
	if (!blocked) {
		assert_int_equal(unlink(path), 0);
		return;
	}
	(void)fs_remove_tree(AT_FDCWD, path, &err);
	auto_close int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(file >= 0);
}

static void on_progress(const char *certificate, const char *step, void *context)
{
	assert_string_equal(certificate, NAME);
	if (strcmp(step, "the disk fails") == 0)
		block("orders", true);
	hear(context, step);
}

static void on_warning(const char *certificate, const char *text, void *context)
{
	on_progress(certificate, text, context);
}

static int on_issued(const char *certificate, const struct chain *pairs, size_t count, void *context)
{
	struct play *p = context;
	(void)pairs;
	assert_string_equal(certificate, NAME);
	assert_int_equal(count, 1);
	hear(p, "issued");
	event_base_loopbreak(p->base);
	return p->result;
}

static void on_failed(const char *certificate, const struct error *err, int64_t retry_after,
	enum authority_trouble trouble, void *context)
{
	struct play *p = context;
	assert_string_equal(certificate, NAME);
	p->error = *err;
	p->retry_after = retry_after;
	p->trouble = trouble;
	event_base_loopbreak(p->base);
}

/* This test listens to no `invalid`. */
static const struct order_handler handler = {on_progress, on_issued, on_failed, on_warning, NULL};

static int setup(void **state)
{
	struct play *p = mem_alloc(sizeof(*p));
	struct error err;
	auto_free char *store = mem_printf("%s/state", fs_program_directory());
	p->base = event_base_new();
	p->store = store_open(store, &err);
	p->workers = workers_new(p->base);
	p->keys = keys_new(p->base, NULL, NULL);
	auto_free char *keys = mem_printf("%s/state-keys", fs_program_directory());
	if (keys_begin(p->keys, keys, &err) < 0)
		return -1;
	p->challenge = challenge_new(p->base, "127.0.0.1:0", &err);
	p->acme = (struct hub_acme){.name = (char[]){"pebble"}, .directory = (char[]){"https://ca.domain.pl/dir"}};
	p->acme.name = mem_strdup("pebble");
	p->acme.directory = mem_strdup("https://ca.domain.pl/dir");
	p->certificate = (struct hub_certificate){.acme = &p->acme, .names = names};
	p->certificate.name = mem_strdup(NAME);
	p->certificate.key_type = mem_strdup("ecdsa-p256");
	p->script = BUF_INIT(1024 * 1024);
	*state = p;
	return p->store && p->challenge && spawner_begin(p->workers, &err) > 0 ? 0 : -1;
}

static int teardown(void **state)
{
	struct play *p = *state;
	struct error err;
	auto_free char *store = mem_printf("%s/state", fs_program_directory());
	challenge_free(p->challenge);
	store_close(p->store);
	workers_free(p->workers);
	keys_free(p->keys);
	event_base_free(p->base);
	buf_release(&p->script);
	free(p->acme.name);
	free(p->acme.directory);
	free(p->certificate.name);
	free(p->certificate.key_type);
	free(p);
	auto_free char *keys = mem_printf("%s/state-keys", fs_program_directory());
	return fs_remove_tree(AT_FDCWD, keys, &err) < 0 ? -1 : fs_remove_tree(AT_FDCWD, store, &err);
}

static const char *record(struct play *p, const char *kind, const char *name, const char *file, struct buf *out)
{
	struct error err;
	buf_reset(out);
	return store_get(p->store, kind, name, file, out, &err) == 1 ? buf_text(out) : NULL;
}

/* Runs one order with what the script says. `why` is part of the reason for which it must fail; NULL: it must be
 * issued. */
static void play(struct play *p, const char *why)
{
	struct error err;
	worker_learns(&p->script);
	p->error = (struct error){0};
	p->heard[0] = '\0';
	struct order *o =
		order_start(p->workers, p->store, p->keys, p->challenge, &p->certificate, NULL, &handler, p, &err);
	assert_non_null(o);
	assert_int_equal(event_base_dispatch(p->base), 0);
	if (!why) {
		assert_string_equal(p->error.message, "");
	} else if (!strstr(p->error.message, why)) {
		print_error("not \"%s\" but \"%s\"\n", why, p->error.message);
		fail();
	}
}

static void load(struct play *p, const char *kind, const char *name, const char *file, struct order_key *ret)
{
	struct error err;
	*ret = (struct order_key){.len = 0};
	assert_true(order_key_load(p->store, kind, name, file, ret, &err) >= 0);
}

/* Makes the order's key ahead, so that a worker which waits for no answer finds it there. */
static void make_ahead(struct play *p)
{
	struct error err;
	struct order_key next;
	auto_buf struct buf spki = BUF_INIT(KEYS_SPKI_MAX);
	auto_pkey EVP_PKEY *key = chain_make_key("ecdsa-p256", &err);
	auto_free char *keys = mem_printf("%s/state-keys", fs_program_directory());
	assert_int_equal(keys_put(keys, key, &err), 0);
	assert_int_equal(chain_write_spki(key, &spki, &err), 0);
	assert_int_equal(order_key_take(&next, &spki, &err), 0);
	assert_int_equal(order_key_store(p->store, ORDER_NEXT_KEYS, NAME, "key.pub", &next, &err), 0);
}

static void keep_one(struct play *p)
{
	make_ahead(p);
	p->certificate.next_key = true;
	worker_says(&p->script, "{\"event\":\"account-key\"}");
	worker_says(&p->script, "{\"event\":\"account\",\"url\":\"https://ca.domain.pl/account/1\"}");
	worker_says(&p->script, "{\"event\":\"key\",\"pair\":0}");
	worker_says(&p->script, "{\"event\":\"order\",\"pair\":0,\"url\":\"" URL "\"}");
	worker_says(&p->script, "{\"event\":\"progress\",\"step\":\"order\"}");
	play(p, "the worker ended without a word");
	p->certificate.next_key = false;
	assert_string_equal(p->heard, "order;");
	load(p, "acme", "pebble", "account.pub", &p->account);
	load(p, "orders", NAME, "key.pub", &p->order);
	assert_true(p->account.len && p->order.len);
}

/* Checks that what the promise N2 names, the account's key and the order's, is there as before. */
static void nothing_is_lost(struct play *p)
{
	auto_buf struct buf text = BUF_INIT(FILES_FILE_MAX);
	struct error err;
	struct order_key account, order;
	load(p, "acme", "pebble", "account.pub", &account);
	load(p, "orders", NAME, "key.pub", &order);
	assert_memory_equal(account.id, p->account.id, KEYS_ID_SIZE);
	assert_memory_equal(order.id, p->order.id, KEYS_ID_SIZE);
	assert_int_equal(keys_find(p->keys, KEYS_ACCOUNT, account.id, &err), 1);
	assert_int_equal(keys_find(p->keys, KEYS_LEAF, order.id, &err), 1);
	assert_non_null(strstr(record(p, "acme", "pebble", "account.json", &text), "account/1"));
	assert_non_null(strstr(record(p, "orders", NAME, "order.json", &text), URL));
}

static void words_that_are_none(void **state)
{
	static const struct {
		const char *says, *why;
	} words[] = {
		{"{", "JSON"},
		{"{\"step\":\"order\"}", "event"},
		{"{\"event\":\"dance\"}", "the worker said \"dance\""},
		{"{\"event\":\"done\"}", "the worker ended with 0 of 1 certificates"},
		{"{\"event\":\"progress\"}", "step"},
		{"{\"event\":\"warning\"}", "text"},
		{"{\"event\":\"account\"}", "url"},
		{"{\"event\":\"gone\"}", "reason"},
		{"{\"event\":\"gone\",\"reason\":\"expired\"}", "pair"},
		{"{\"event\":\"gone\",\"reason\":\"expired\",\"pair\":1}", "gave up an order that it has not"},
		{"{\"event\":\"key\"}", "pair"},
		{"{\"event\":\"key\",\"pair\":1}", "pair"},
		{"{\"event\":\"next\",\"pair\":7}", "pair"},
		{"{\"event\":\"csr\",\"pair\":-1}", "pair"},
		{"{\"event\":\"order\",\"pair\":0}", "url"},
		{"{\"event\":\"order\",\"url\":\"https://ca.domain.pl/2\"}", "pair"},
		{"{\"event\":\"order\",\"url\":\"https://ca.domain.pl/2\",\"pair\":1}", "pair"},
		{"{\"event\":\"sign\"}", "key"},
		{"{\"event\":\"sign\",\"key\":\"leaf\",\"input\":\"a.b\"}", "the worker has no key \"leaf\""},
		{"{\"event\":\"sign\",\"key\":\"account\"}", "input"},
		{"{\"event\":\"sign\",\"key\":\"account\",\"input\":\"a.b\"}",
			"what is to be signed is no request of ACME"},
		{"{\"event\":\"invalid\"}", "name"},
		{"{\"event\":\"invalid\",\"name\":\"other.domain.pl\"}", "which is no name of this order"},
		{"{\"event\":\"account\",\"url\":\"file:///etc/passwd\"}", "which is not a URL of https"},
		{"{\"event\":\"challenge\"}", "name"},
		{"{\"event\":\"challenge\",\"name\":\"other.domain.pl\"}", "which is no name of this order"},
		{"{\"event\":\"challenge\",\"name\":\"" NAME "\"}", "token"},
		{"{\"event\":\"challenge\",\"name\":\"" NAME "\",\"token\":\"abc\"}", "authorization"},
		{"{\"event\":\"dns\"}", "records"},
		{"{\"event\":\"failed\"}", "kind"},
		{"{\"event\":\"failed\",\"kind\":\"retry\"}", "text"},
		{"{\"event\":\"failed\",\"kind\":\"retry\",\"text\":\"no\"}", "retry_after"},
	};
	struct play *p = *state;
	keep_one(p);
	for (size_t i = 0; i < COUNT(words); i++) {
		worker_says(&p->script, words[i].says);
		play(p, words[i].why);
		assert_int_not_equal(p->error.kind, ERROR_NONE);
		nothing_is_lost(p);
	}
}

static void files_that_are_none(void **state)
{
	static const struct {
		const char *label, *file, *content, *why;
	} sent[] = {
		{"keys", "a", "b", "the worker sent files \"keys\""},
		{"order-2", "a", "b", "the worker sent files \"order-2\""}, /* this certificate has one pair only */
		{"account", "account.key", "b", "the worker sent files \"account\""},
		{"next", "privkey.pem", "b", "the worker sent files \"next\""},
		{"issued-2", "fullchain.pem", "b", "the worker sent files \"issued-2\""},
		{"issued", "a", "b", "the worker sent issued without fullchain.pem"},
		{"issued", "fullchain.pem", "b", "PEM"},
	};
	struct play *p = *state;
	keep_one(p);
	for (size_t i = 0; i < COUNT(sent); i++) {
		worker_sends(&p->script, sent[i].label, sent[i].file, sent[i].content, NULL);
		play(p, sent[i].why);
		nothing_is_lost(p);
	}
	assert_int_equal(frame_encode(&p->script, FRAME_FILES, "\xff", 1), 0);
	play(p, "files");
	nothing_is_lost(p);
}

static void a_certificate_comes_once_after_its_order_and_for_its_key(void **state)
{
	struct play *p = *state;
	struct error err;
	struct issued root = issue((struct wish){.subject = "root", .authority = true});
	struct issued leaf = issue((struct wish){.subject = NAME, .issuer = &root, .san = "DNS:" NAME});
	struct issued other = issue((struct wish){.subject = NAME, .issuer = &root, .san = "DNS:" NAME});
	auto_buf struct buf fullchain = BUF_INIT(FILES_FILE_MAX), foreign = BUF_INIT(FILES_FILE_MAX),
			    spki = BUF_INIT(KEYS_SPKI_MAX);
	struct chain chain = issued_chain(&leaf, (const struct issued *const[]){&root}, 1);
	struct chain stranger = issued_chain(&other, NULL, 0);
	struct order_key key;
	auto_free char *keys = mem_printf("%s/state-keys", fs_program_directory());
	assert_int_equal(chain_write_pem(&chain, CHAIN_LEAF | CHAIN_REST, &fullchain, &err), 0);
	assert_int_equal(chain_write_pem(&stranger, CHAIN_LEAF, &foreign, &err), 0);
	assert_int_equal(chain_write_spki(chain.key, &spki, &err), 0);
	assert_int_equal(order_key_take(&key, &spki, &err), 0);
	assert_int_equal(keys_put(keys, chain.key, &err), 0);

	worker_sends(&p->script, "issued", "fullchain.pem", buf_text(&fullchain), NULL);
	play(p, "a certificate of an order without a key");

	/* Now the store has an order that this key belongs to. */
	keep_one(p);
	assert_int_equal(order_key_store(p->store, "orders", NAME, ORDER_KEY, &key, &err), 0);
	worker_sends(&p->script, "issued", "fullchain.pem", buf_text(&foreign), NULL);
	play(p, "key-match: the certificate is not for the stored key");
	assert_int_equal(p->error.kind, ERROR_UNTRUSTED);

	worker_sends(&p->script, "issued", "fullchain.pem", buf_text(&fullchain), NULL);
	worker_sends(&p->script, "issued", "fullchain.pem", buf_text(&fullchain), NULL);
	play(p, "the worker sent issued out of turn");

	/* An order that was not published stays, for a person to look at; one that was published goes. */
	for (p->result = -1; p->result <= 0; p->result++) {
		worker_sends(&p->script, "issued", "fullchain.pem", buf_text(&fullchain), NULL);
		worker_says(&p->script, "{\"event\":\"warning\",\"text\":\"slow\"}");
		worker_says(&p->script, "{\"event\":\"invalid\",\"name\":\"" NAME "\"}");
		worker_says(&p->script, "{\"event\":\"done\"}");
		play(p, NULL);
		assert_string_equal(p->heard, "slow;issued;");
		struct order_key left;
		load(p, "orders", NAME, ORDER_KEY, &left);
		assert_true(p->result ? memcmp(left.id, key.id, sizeof(key.id)) == 0 : !left.len);
		assert_int_equal(keys_find(p->keys, KEYS_LEAF, key.id, &err), 1); /* a revision uses it now */
	}
	chain_release(&chain);
	chain_release(&stranger);
	issued_release(&leaf);
	issued_release(&other);
	issued_release(&root);
}

static void an_account_has_one_key_for_ever(void **state)
{
	struct play *p = *state;
	keep_one(p);
	for (int i = 0; i < 2; i++) {
		worker_says(&p->script, "{\"event\":\"account-key\"}");
		play(p, "without a word");
		nothing_is_lost(p);
	}
}

/* Has the worker make an account. Returns the thumbprint of its key, with which challenges are answered. */
static void make_account(struct play *p, char thumbprint[JWS_THUMBPRINT_MAX])
{
	struct error err;
	auto_pkey EVP_PKEY *key = NULL;
	struct order_key account;
	worker_says(&p->script, "{\"event\":\"account-key\"}");
	play(p, "without a word");
	load(p, "acme", "pebble", ACCOUNT_KEY, &account);
	assert_int_equal(order_key_public(&account, &key, &err), 0);
	assert_int_equal(jws_thumbprint(key, thumbprint, &err), 0);
}

static void ask_challenge(struct play *p, const char *token, const char *thumbprint)
{
	auto_free char *text = mem_printf("{\"event\":\"challenge\",\"name\":\"" NAME
					  "\",\"token\":\"%s\",\"authorization\":\"%s.%s\"}",
		token, token, thumbprint);
	worker_says(&p->script, text);
}

static void challenges_have_a_limit(void **state)
{
	struct play *p = *state;
	char thumbprint[JWS_THUMBPRINT_MAX];
	make_account(p, thumbprint);
	for (int i = 0; i < 300; i++) {
		auto_free char *token = mem_printf("t%d", i);
		ask_challenge(p, token, thumbprint);
	}
	play(p, "the server wants more than ");
	/* None of the tokens is served any more, so there is room again. */
	struct error err;
	assert_int_equal(challenge_add(p->challenge, "t0", "t0.a", &err), 0);
	challenge_remove(p->challenge, "t0");
}

/* With the thumbprint of somebody else's account, our names would be proven to that account. */
static void only_the_own_account_is_answered_for(void **state)
{
	struct play *p = *state;
	char thumbprint[JWS_THUMBPRINT_MAX], other[JWS_THUMBPRINT_MAX];
	ask_challenge(p, "abc", "LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ");
	play(p, "the token \"abc\" answered for another account");
	make_account(p, thumbprint);
	snprintf(other, sizeof(other), "%s", thumbprint);
	other[0] = other[0] == 'A' ? 'B' : 'A';
	ask_challenge(p, "abc", thumbprint);
	play(p, "the worker ended without a word");
	ask_challenge(p, "../abc", thumbprint);
	play(p, "the challenge's token \"../abc\" is not base64url");
	ask_challenge(p, "abc", other);
	play(p, "the token \"abc\" answered for another account");
	ask_challenge(p, "abc", "");
	play(p, "the token \"abc\" answered for another account");
	p->certificate.dns_hook = (char[]){"/hook"};
	ask_challenge(p, "abc", thumbprint);
	play(p, "and the order is by dns-01");
	p->certificate.dns_hook = NULL;
}

#define DIGEST "LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ"
#define RECORD(name, value, target, hook) \
	"{\"name\":\"" name "\",\"value\":\"" value "\",\"target\":\"" target "\",\"hook\":\"" hook "\"}"
#define OWN RECORD("_acme-challenge." NAME ".", DIGEST, "_acme-challenge." NAME ".", "/hook")

static void keep_records(struct play *p, const char *records, const char *why)
{
	auto_free char *text = mem_printf("{\"event\":\"dns\",\"records\":[%s]}", records);
	worker_says(&p->script, text);
	play(p, why);
}

/* A later worker will run the hook that a record names, on the name that the record has, so both are checked. */
static void only_records_of_the_order_are_kept(void **state)
{
	static const struct {
		const char *record, *why;
	} refused[] = {
		{RECORD("_acme-challenge.other.domain.pl.", DIGEST, "_acme-challenge." NAME ".", "/hook"),
			"which no name of this order needs"},
		{RECORD(NAME ".", DIGEST, "_acme-challenge." NAME ".", "/hook"), "which no name of this order needs"},
		{RECORD("_acme-challenge." NAME, DIGEST, "_acme-challenge." NAME ".", "/hook"),
			"which no name of this order needs"},
		{RECORD("_acme-challenge." NAME ".", DIGEST, "_acme-challenge." NAME ".", "/bin/sh"),
			"of another hook"},
		{RECORD("_acme-challenge." NAME ".", DIGEST, "_acme-challenge." NAME ".",
			 "/hook\",\"config\":\"/etc/shadow"),
			"of another hook"},
		{RECORD("_acme-challenge." NAME ".", "v=spf1 -all", "_acme-challenge." NAME ".", "/hook"),
			"none of dns-01"},
		{RECORD("_acme-challenge." NAME ".", DIGEST, "a\\nupdate delete b.", "/hook"), "none of dns-01"},
		{RECORD("_acme-challenge." NAME ".", DIGEST, "_acme-challenge." NAME, "/hook"), "none of dns-01"},
		{RECORD("_acme-challenge." NAME ".", DIGEST, "a.", "/hook\",\"more\":1,\"x\":\""), "none of dns-01"},
		{"7", "which no name of this order needs"},
	};
	struct play *p = *state;
	auto_buf struct buf text = BUF_INIT(FILES_FILE_MAX);
	keep_records(p, OWN, "of another hook"); /* an order by http-01 keeps no such record */
	p->certificate.dns_hook = (char[]){"/hook"};
	for (size_t i = 0; i < COUNT(refused); i++) {
		auto_free char *both = mem_printf("%s,%s", OWN, refused[i].record);
		keep_records(p, both, refused[i].why);
		assert_null(record(p, "dns", NAME, "records.json", &text));
	}
	keep_records(p, OWN, "the worker ended without a word");
	assert_non_null(strstr(record(p, "dns", NAME, "records.json", &text), DIGEST));
	/* A record that is left over belongs to the hook that wrote it, whatever is configured since. */
	p->certificate.dns_hook = (char[]){"/other"};
	keep_records(p, OWN, "the worker ended without a word");
	p->certificate.dns_hook = NULL;
	keep_records(p, "", "the worker ended without a word");
	assert_null(record(p, "dns", NAME, "records.json", &text));
}

static void a_failure_is_of_the_kind_that_was_said_or_of_none(void **state)
{
	static const struct {
		const char *says;
		enum error_kind kind;
	} kinds[] = {{"usage", ERROR_USAGE}, {"untrusted", ERROR_UNTRUSTED}, {"permanent", ERROR_PERMANENT},
		{"retry", ERROR_RETRY}, {"whim", ERROR_RETRY}};
	struct play *p = *state;
	for (size_t i = 0; i < COUNT(kinds); i++) {
		auto_free char *text =
			mem_printf("{\"event\":\"failed\",\"kind\":\"%s\",\"text\":\"refused\",\"retry_after\":7,"
				   "\"trouble\":\"limits\"}",
				kinds[i].says);
		worker_says(&p->script, text);
		play(p, "refused");
		assert_int_equal(p->error.kind, kinds[i].kind);
		assert_int_equal(p->retry_after, 7);
		assert_int_equal(p->trouble, AUTHORITY_LIMITS);
	}
}

static void a_worker_that_dies_or_babbles(void **state)
{
	struct play *p = *state;
	buf_addf(&p->script, "dies");
	play(p, "the worker was killed by signal 9");
	assert_int_equal(p->error.kind, ERROR_RETRY);
	assert_int_equal(frame_encode(&p->script, FRAME_RECORD, "x", 1), 0);
	play(p, "frame-type");
	buf_add(&p->script, "\0\0\0\5\1{", 6);
	play(p, "inside a frame");
}

/* When the disk refuses, the worker is not told that it may go on, and the order fails with the reason. */
static void what_cannot_be_kept_is_not_said_to_be(void **state)
{
	static const char *const read[] = {"acme", "orders", "orders-2", "nextkeys"};
	struct play *p = *state;
	struct error err;
	p->certificate.next_key = true;
	for (size_t i = 0; i < COUNT(read); i++) {
		block(read[i], true);
		assert_null(order_start(
			p->workers, p->store, p->keys, p->challenge, &p->certificate, NULL, &handler, p, &err));
		assert_non_null(strstr(err.message, "order of " NAME));
		assert_non_null(strstr(err.message, read[i]));
		block(read[i], false);
	}
	make_ahead(p);
	worker_says(&p->script, "{\"event\":\"key\",\"pair\":0}");
	worker_says(&p->script, "{\"event\":\"progress\",\"step\":\"the disk fails\"}");
	worker_says(&p->script, "{\"event\":\"order\",\"pair\":0,\"url\":\"" URL "\"}");
	play(p, "record orders/" NAME);
	block("orders", false);
}

static void what_does_not_fit_into_a_job_is_said_at_once(void **state)
{
	struct play *p = *state;
	struct error err;
	auto_free char *many = mem_alloc(FRAME_MESSAGE_MAX);
	memset(many, 'a', FRAME_MESSAGE_MAX - 1);
	p->acme.contact = (char *[]){many, NULL};
	assert_null(order_start(p->workers, p->store, p->keys, p->challenge, &p->certificate, NULL, &handler, p, &err));
	assert_non_null(strstr(err.message, "too long for one order"));
	p->acme.contact = NULL;

	auto_free char *hmac = mem_printf("%s/hmac", fs_program_directory());
	p->acme.eab_hmac = hmac;
	assert_null(order_start(p->workers, p->store, p->keys, p->challenge, &p->certificate, NULL, &handler, p, &err));
	assert_non_null(strstr(err.message, "eab_hmac"));
	p->acme.eab_hmac = NULL;
}

/* ---- */

static int run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(words_that_are_none, setup, teardown),
		cmocka_unit_test_setup_teardown(files_that_are_none, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_certificate_comes_once_after_its_order_and_for_its_key, setup, teardown),
		cmocka_unit_test_setup_teardown(an_account_has_one_key_for_ever, setup, teardown),
		cmocka_unit_test_setup_teardown(challenges_have_a_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(only_the_own_account_is_answered_for, setup, teardown),
		cmocka_unit_test_setup_teardown(only_records_of_the_order_are_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(a_failure_is_of_the_kind_that_was_said_or_of_none, setup, teardown),
		cmocka_unit_test_setup_teardown(a_worker_that_dies_or_babbles, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_kept_is_not_said_to_be, setup, teardown),
		cmocka_unit_test_setup_teardown(what_does_not_fit_into_a_job_is_said_at_once, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
	return worker_beside(argc, argv, run);
}
