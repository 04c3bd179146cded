/* Which of the files at a watched source belong together. */
#include "hub/daemon/publish/pairing.h"
#include "lib/core/mem.h"
#include "hub/keys/cut.h"
#include "tests/unit/issue.h"
#include "tests/unit/scratch.h"

#include <stdio.h>

static const char *const names[] = {"mail.domain.pl", NULL};
static struct issued root, middle, leaf, older, foreign, rsa;
static struct files files, left; /* what is watched, and what is left of it without its keys */
static struct buf cuts[FILES_MAX];
static struct vault *vault;
static void *scratch;
static struct buf texts[FILES_MAX];

static struct issued make_leaf(const char *san, const char *key_type, int64_t from_day, int64_t to_day)
{
	return issue((struct wish){.subject = "leaf",
		.issuer = &middle,
		.san = san,
		.key_type = key_type,
		.from = ISSUE_NOW + from_day * ISSUE_DAY,
		.to = ISSUE_NOW + to_day * ISSUE_DAY});
}

static int make_all(void **state)
{
	struct error err;
	(void)state;
	auto_free char *directory = scratch_setup(&scratch) == 0 ? scratch_path(scratch, "keys") : NULL;
	vault = directory ? vault_open(directory, &err) : NULL;
	if (!vault)
		return -1;
	root = issue((struct wish){.subject = "root", .authority = true});
	middle = issue((struct wish){.subject = "middle", .issuer = &root, .authority = true});
	leaf = make_leaf("DNS:mail.domain.pl,DNS:domain.pl", NULL, -1, 89);
	older = make_leaf("DNS:mail.domain.pl", NULL, -61, 200); /* it is valid for longer */
	foreign = make_leaf("DNS:www.domain.pl", NULL, 0, 90);
	rsa = make_leaf("DNS:*.domain.pl", "rsa-2048", -2, 88);
	return 0;
}

static int release_all(void **state)
{
	(void)state;
	struct issued *const all[] = {&root, &middle, &leaf, &older, &foreign, &rsa};
	for (size_t i = 0; i < COUNT(all); i++)
		issued_release(all[i]);
	vault_close(vault);
	return scratch_teardown(&scratch);
}

static int clear(void **state)
{
	(void)state;
	for (size_t i = 0; i < files.count; i++)
		buf_release(&texts[i]);
	for (size_t i = 0; i < left.count; i++)
		buf_release(&cuts[i]);
	files.count = left.count = 0;
	return 0;
}

/* Adds a file with these parts, CHAIN_…; CHAIN_REST stands for the intermediate. */
static void put(const char *name, const struct issued *of, unsigned parts)
{
	struct error err;
	const struct issued *const rest[] = {&middle};
	auto_chain struct chain c = issued_chain(of, rest, 1);
	struct buf *text = &texts[files.count];
	*text = BUF_INIT(FILES_FILE_MAX);
	if (chain_write_pem(&c, parts, text, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(files_add(&files, name, text->data, text->len), 0);
}

static void cut(size_t bytes)
{
	files.file[files.count - 1].len -= bytes;
}

static void find(struct pairing *ret)
{
	static const uint8_t begin[] = "PRIVATE KEY";
	cut_files(vault, &files, &left, cuts);
	for (size_t i = 0; i < left.count; i++)
		assert_null(memmem(left.file[i].data, left.file[i].len, begin, sizeof(begin) - 1));
	pairing_find(&left, names, NULL, ISSUE_NOW, ret);
}

static void expect(const char *file, const struct issued *first, const struct issued *second)
{
	auto_pairing struct pairing p;
	find(&p);
	assert_int_equal(p.count, second ? 2 : 1);
	assert_string_equal(p.file, file);
	assert_int_equal(X509_cmp(p.pairs[0].leaf, first->certificate), 0);
	if (second)
		assert_int_equal(X509_cmp(p.pairs[1].leaf, second->certificate), 0);
	for (size_t i = 0; i < p.count; i++) {
		assert_int_equal(EVP_PKEY_eq(p.pairs[i].key, X509_get0_pubkey(p.pairs[i].leaf)), 1);
		assert_int_equal(sk_X509_num(p.pairs[i].rest), 1);
		assert_int_equal(X509_cmp(sk_X509_value(p.pairs[i].rest, 0), middle.certificate), 0);
	}
}

static void certbot_live(void **state)
{
	(void)state;
	put("0/cert.pem", &leaf, CHAIN_LEAF);
	put("0/chain.pem", &leaf, CHAIN_REST);
	put("0/fullchain.pem", &leaf, CHAIN_LEAF | CHAIN_REST);
	put("0/privkey.pem", &leaf, CHAIN_KEY);
	expect("0/cert.pem", &leaf, NULL);
}

static void an_archive_gives_what_was_issued_last(void **state)
{
	(void)state;
	put("0/fullchain1.pem", &older, CHAIN_LEAF | CHAIN_REST);
	put("0/fullchain2.pem", &leaf, CHAIN_LEAF | CHAIN_REST);
	put("0/privkey1.pem", &older, CHAIN_KEY);
	put("0/privkey2.pem", &leaf, CHAIN_KEY);
	expect("0/fullchain2.pem", &leaf, NULL);
}

static void a_directory_of_many_domains_gives_the_one_with_the_names(void **state)
{
	(void)state;
	put("0/mail.domain.pl.crt", &older, CHAIN_LEAF | CHAIN_REST);
	put("0/mail.domain.pl.issuer.crt", &older, CHAIN_REST);
	put("0/mail.domain.pl.key", &older, CHAIN_KEY);
	put("0/www.domain.pl.crt", &foreign, CHAIN_LEAF | CHAIN_REST);
	put("0/www.domain.pl.key", &foreign, CHAIN_KEY);
	expect("0/mail.domain.pl.crt", &older, NULL);
}

/* The texts are joined: the issuer first, the leaf behind it. */
static void the_leaf_may_stand_behind_its_issuer(void **state)
{
	(void)state;
	put("0/bundle.pem", &leaf, CHAIN_REST);
	struct buf *text = &texts[files.count - 1];
	const struct issued *const rest[] = {&middle};
	auto_chain struct chain c = issued_chain(&leaf, rest, 1);
	struct error err;
	assert_int_equal(chain_write_pem(&c, CHAIN_LEAF, text, &err), 0);
	files.file[files.count - 1].data = text->data;
	files.file[files.count - 1].len = text->len;
	put("0/privkey.pem", &leaf, CHAIN_KEY);
	expect("0/bundle.pem", &leaf, NULL);
}

static void the_key_may_be_elsewhere(void **state)
{
	(void)state;
	put("0/cert.pem", &leaf, CHAIN_LEAF | CHAIN_REST);
	put("1/key.pem", &leaf, CHAIN_KEY);
	expect("0/cert.pem", &leaf, NULL);
}

static void all_may_be_in_one_file(void **state)
{
	(void)state;
	put("0/all.pem", &leaf, CHAIN_KEY | CHAIN_LEAF | CHAIN_REST);
	expect("0/all.pem", &leaf, NULL);
}

static void a_leaf_alone_gets_its_issuer_and_no_root(void **state)
{
	(void)state;
	put("0/ca.crt", &root, CHAIN_LEAF);
	put("0/mail.crt", &leaf, CHAIN_LEAF);
	put("0/mail.key", &leaf, CHAIN_KEY);
	put("1/mail.ca-bundle", &leaf, CHAIN_REST);
	expect("0/mail.crt", &leaf, NULL);
}

static void one_that_has_expired_is_no_match_for_one_that_has_not(void **state)
{
	(void)state;
	struct issued expired = make_leaf("DNS:mail.domain.pl", NULL, -1, 0);
	put("0/a.pem", &older, CHAIN_KEY | CHAIN_LEAF | CHAIN_REST);
	put("0/b.pem", &expired, CHAIN_KEY | CHAIN_LEAF | CHAIN_REST);
	expect("0/a.pem", &older, NULL);
	issued_release(&expired);
}

static void one_for_other_names_is_left_to_the_gate_to_refuse(void **state)
{
	(void)state;
	put("0/a.pem", &foreign, CHAIN_KEY | CHAIN_LEAF | CHAIN_REST);
	expect("0/a.pem", &foreign, NULL);
}

static void two_paths_of_both_kinds_are_two_pairs(void **state)
{
	(void)state;
	put("0/rsa.pem", &rsa, CHAIN_KEY | CHAIN_LEAF | CHAIN_REST);
	put("1/ecdsa.pem", &leaf, CHAIN_KEY | CHAIN_LEAF | CHAIN_REST);
	expect("1/ecdsa.pem", &leaf, &rsa);
}

static void two_paths_of_one_kind_are_one_pair(void **state)
{
	(void)state;
	put("0/a.pem", &leaf, CHAIN_KEY | CHAIN_LEAF | CHAIN_REST);
	put("1/b.pem", &older, CHAIN_KEY | CHAIN_LEAF | CHAIN_REST);
	expect("0/a.pem", &leaf, NULL);
}

static void one_path_of_both_kinds_gives_what_was_issued_last(void **state)
{
	(void)state;
	put("0/a.pem", &leaf, CHAIN_KEY | CHAIN_LEAF | CHAIN_REST);
	put("0/b.pem", &rsa, CHAIN_KEY | CHAIN_LEAF | CHAIN_REST);
	expect("0/a.pem", &leaf, NULL);
}

static void what_is_half_way_is_told_by_kind(void **state)
{
	(void)state;
	auto_pairing struct pairing p;
	put("0/a.pem", &leaf, CHAIN_KEY | CHAIN_LEAF | CHAIN_REST);
	put("1/fullchain.pem", &rsa, CHAIN_LEAF | CHAIN_REST);
	find(&p);
	assert_int_equal(p.count, 1);
	assert_true(p.half_way[PAIRING_RSA]);
	assert_false(p.half_way[PAIRING_ECDSA]);
	assert_string_equal(p.damage, "");
}

static void a_key_alone_is_half_way(void **state)
{
	(void)state;
	auto_pairing struct pairing p;
	put("0/privkey.pem", &leaf, CHAIN_KEY);
	put("0/fullchain.pem", &older, CHAIN_LEAF | CHAIN_REST);
	find(&p);
	assert_int_equal(p.count, 0);
	assert_true(p.half_way[PAIRING_ECDSA]);
	assert_false(p.half_way[PAIRING_RSA]);
}

static void a_file_cut_short_is_named(void **state)
{
	(void)state;
	auto_pairing struct pairing p;
	put("0/privkey.pem", &leaf, CHAIN_KEY);
	put("0/fullchain.pem", &leaf, CHAIN_LEAF);
	cut(30);
	find(&p);
	assert_int_equal(p.count, 0);
	assert_non_null(strstr(p.damage, "fullchain.pem: certificates: the PEM text is damaged or cut short"));
	assert_true(p.half_way[PAIRING_RSA]);
}

static void a_chain_with_a_stranger_is_named(void **state)
{
	(void)state;
	struct error err;
	auto_pairing struct pairing p;
	const struct issued *const rest[] = {&middle, &foreign};
	auto_chain struct chain c = issued_chain(&leaf, rest, 2);
	put("0/privkey.pem", &leaf, CHAIN_KEY);
	texts[1] = BUF_INIT(FILES_FILE_MAX);
	assert_int_equal(chain_write_pem(&c, CHAIN_LEAF | CHAIN_REST, &texts[1], &err), 0);
	assert_int_equal(files_add(&files, "0/fullchain.pem", texts[1].data, texts[1].len), 0);
	find(&p);
	assert_int_equal(p.count, 0);
	assert_non_null(strstr(p.damage, "fullchain.pem: chain: "));
}

#define TEST(f) cmocka_unit_test_teardown(f, clear)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(certbot_live),
		TEST(an_archive_gives_what_was_issued_last),
		TEST(a_directory_of_many_domains_gives_the_one_with_the_names),
		TEST(the_leaf_may_stand_behind_its_issuer),
		TEST(the_key_may_be_elsewhere),
		TEST(all_may_be_in_one_file),
		TEST(a_leaf_alone_gets_its_issuer_and_no_root),
		TEST(one_that_has_expired_is_no_match_for_one_that_has_not),
		TEST(one_for_other_names_is_left_to_the_gate_to_refuse),
		TEST(two_paths_of_both_kinds_are_two_pairs),
		TEST(two_paths_of_one_kind_are_one_pair),
		TEST(one_path_of_both_kinds_gives_what_was_issued_last),
		TEST(what_is_half_way_is_told_by_kind),
		TEST(a_key_alone_is_half_way),
		TEST(a_file_cut_short_is_named),
		TEST(a_chain_with_a_stranger_is_named),
	};
	return cmocka_run_group_tests(tests, make_all, release_all);
}
