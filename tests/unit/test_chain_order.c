/* A chain in whatever order becomes the one that a server sends. */
#include "lib/crypto/chain_order.h"
#include "lib/core/mem.h"
#include "lib/crypto/verify.h"
#include "tests/unit/issue.h"

static struct error err;
static struct issued root, middle, leaf;

static int make_chain(void **state)
{
	(void)state;
	root = issue((struct wish){.subject = "Root", .authority = true});
	middle = issue((struct wish){.subject = "Middle", .issuer = &root, .authority = true});
	leaf = issue((struct wish){.subject = "mail.domain.pl", .issuer = &middle, .san = "DNS:mail.domain.pl"});
	return 0;
}

static int free_chain(void **state)
{
	(void)state;
	issued_release(&root);
	issued_release(&middle);
	issued_release(&leaf);
	return 0;
}

static void assert_order(struct chain *c, X509 *const *want, int count)
{
	if (chain_order(c, NULL, ISSUE_NOW, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(sk_X509_num(c->rest), count);
	for (int i = 0; i < count; i++)
		assert_int_equal(X509_cmp(sk_X509_value(c->rest, i), want[i]), 0);
}

static void issuers_in_any_order_come_into_theirs(void **state)
{
	(void)state;
	struct issued lower = issue((struct wish){.subject = "Lower", .issuer = &middle, .authority = true});
	struct issued low_leaf = issue((struct wish){.subject = "x", .issuer = &lower, .san = "DNS:x.pl"});
	const struct issued *rest[] = {&root, &middle, &lower, &middle, &low_leaf, &lower};
	auto_chain struct chain c = issued_chain(&low_leaf, rest, 6);
	X509 *want[] = {lower.certificate, middle.certificate};
	assert_order(&c, want, 2);
	assert_order(&c, want, 2);
	issued_release(&lower);
	issued_release(&low_leaf);
}

static void a_root_at_the_end_is_not_sent(void **state)
{
	(void)state;
	const struct issued *rest[] = {&middle, &root};
	auto_chain struct chain c = issued_chain(&leaf, rest, 2);
	assert_order(&c, &middle.certificate, 1);
}

static void a_stranger_in_the_chain_is_refused(void **state)
{
	(void)state;
	struct issued stranger = issue((struct wish){.subject = "Stranger", .issuer = &root, .authority = true});
	struct issued other_root = issue((struct wish){.subject = "Other root", .authority = true});
	const struct issued *strangers[] = {&stranger, &other_root};
	for (size_t i = 0; i < COUNT(strangers); i++) {
		const struct issued *rest[] = {&middle, strangers[i]};
		auto_chain struct chain c = issued_chain(&leaf, rest, 2);
		assert_int_equal(chain_order(&c, NULL, ISSUE_NOW, &err), -1);
		assert_int_equal(err.kind, ERROR_UNTRUSTED);
		assert_non_null(strstr(err.message, i ? "/CN=Other root" : "/CN=Stranger"));
		assert_non_null(strstr(err.message, "/CN=Middle"));
		assert_non_null(c.rest);
	}
	issued_release(&stranger);
	issued_release(&other_root);
}

static void an_issuer_by_name_alone_is_refused(void **state)
{
	(void)state;
	for (int bare = 0; bare < 2; bare++) {
		struct wish w = {.subject = "Issuer", .issuer = &root, .authority = true, .bare = bare};
		struct issued issuer = issue(w), impostor = issue(w);
		struct issued end = issue((struct wish){.subject = "x", .issuer = &issuer, .bare = bare});
		const struct issued *rest[] = {&impostor};
		auto_chain struct chain c = issued_chain(&end, rest, 1);
		assert_int_equal(chain_order(&c, NULL, ISSUE_NOW, &err), -1);
		assert_non_null(strstr(err.message, "/CN=Issuer issued none"));
		issued_release(&issuer);
		issued_release(&impostor);
		issued_release(&end);
	}
}

static void a_gap_in_the_chain_is_refused(void **state)
{
	(void)state;
	struct issued lower = issue((struct wish){.subject = "Lower", .issuer = &middle, .authority = true});
	struct issued low_leaf = issue((struct wish){.subject = "x", .issuer = &lower, .san = "DNS:x.pl"});
	const struct issued *rest[] = {&middle};
	auto_chain struct chain c = issued_chain(&low_leaf, rest, 1);
	assert_int_equal(chain_order(&c, NULL, ISSUE_NOW, &err), -1);
	assert_non_null(strstr(err.message, "/CN=Middle"));
	issued_release(&lower);
	issued_release(&low_leaf);
}

static void a_cross_signed_root_is_kept_and_its_self_signed_form_dropped(void **state)
{
	(void)state;
	struct issued old_root = issue((struct wish){.subject = "Old root", .authority = true});
	struct issued cross =
		issue((struct wish){.subject = "Root", .key = root.key, .issuer = &old_root, .authority = true});
	const struct issued *rest[] = {&root, &cross, &middle, &old_root};
	auto_chain struct chain c = issued_chain(&leaf, rest, 4);
	X509 *want[] = {middle.certificate, cross.certificate};
	assert_order(&c, want, 2);
	issued_release(&old_root);
	issued_release(&cross);
}

static void the_leaf_is_found_by_its_key_wherever_it_stands(void **state)
{
	(void)state;
	const struct issued *rest[] = {&root, &leaf};
	auto_chain struct chain c = issued_chain(&middle, rest, 2);
	chain_free_pkey(&c.key);
	EVP_PKEY_up_ref(leaf.key);
	c.key = leaf.key;
	assert_order(&c, &middle.certificate, 1);
	assert_int_equal(X509_cmp(c.leaf, leaf.certificate), 0);
}

/* Two roots have signed one issuing authority, and a file has both forms, with what stands above them. */
static void of_two_cross_signed_issuers_the_one_that_leads_to_an_anchor_stays(void **state)
{
	(void)state;
	struct issued roots[2], above[2], forms[2];
	EVP_PKEY *key = issue_key("ecdsa-p256");
	for (int i = 0; i < 2; i++) {
		roots[i] = issue((struct wish){.subject = i ? "Root B" : "Root A", .authority = true});
		above[i] = issue(
			(struct wish){.subject = i ? "Above B" : "Above A", .issuer = &roots[i], .authority = true});
		forms[i] =
			issue((struct wish){.subject = "Issuing", .key = key, .issuer = &above[i], .authority = true});
	}
	struct issued end = issue((struct wish){.subject = "x", .issuer = &forms[0], .san = "DNS:x.pl"});
	const struct issued *rest[] = {&above[1], &forms[0], &forms[1], &above[0], &roots[1]};
	for (int trusted = 0; trusted < 2; trusted++) {
		struct anchors *anchors = anchors_none();
		auto_buf struct buf pem = BUF_INIT(CHAIN_PEM_MAX);
		auto_chain struct chain of_root = issued_chain(&roots[trusted], NULL, 0),
					c = issued_chain(&end, rest, 5);
		X509 *want[] = {forms[trusted].certificate, above[trusted].certificate};
		assert_int_equal(chain_write_pem(&of_root, CHAIN_LEAF, &pem, &err), 0);
		assert_int_equal(anchors_add(anchors, pem.data, pem.len, &err), 0);
		if (chain_order(&c, anchors, ISSUE_NOW, &err) < 0)
			fail_msg("%s", err.message);
		assert_int_equal(sk_X509_num(c.rest), 2);
		for (int i = 0; i < 2; i++)
			assert_int_equal(X509_cmp(sk_X509_value(c.rest, i), want[i]), 0);
		anchors_free(anchors);
	}
	auto_chain struct chain unknown = issued_chain(&end, rest, 5);
	X509 *first[] = {forms[0].certificate, above[0].certificate};
	assert_order(&unknown, first, 2);
	for (int i = 0; i < 2; i++) {
		issued_release(&roots[i]);
		issued_release(&above[i]);
		issued_release(&forms[i]);
	}
	issued_release(&end);
	EVP_PKEY_free(key);
}

static void two_authorities_that_sign_each_other_come_to_an_end(void **state)
{
	(void)state;
	struct issued first = issue((struct wish){.subject = "First", .authority = true});
	struct issued second = issue((struct wish){.subject = "Second", .issuer = &first, .authority = true});
	struct issued back =
		issue((struct wish){.subject = "First", .key = first.key, .issuer = &second, .authority = true});
	struct issued end = issue((struct wish){.subject = "x", .issuer = &second, .san = "DNS:x.pl"});
	const struct issued *rest[] = {&back, &second};
	auto_chain struct chain c = issued_chain(&end, rest, 2);
	X509 *want[] = {second.certificate, back.certificate};
	assert_order(&c, want, 2);
	issued_release(&first);
	issued_release(&second);
	issued_release(&back);
	issued_release(&end);
}

static void a_self_signed_leaf_stands_alone(void **state)
{
	(void)state;
	struct issued alone = issue((struct wish){.subject = "alone", .san = "DNS:alone.pl"});
	const struct issued *rest[] = {&alone};
	auto_chain struct chain c = issued_chain(&alone, rest, 1);
	assert_order(&c, NULL, 0);
	issued_release(&alone);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(issuers_in_any_order_come_into_theirs),
		cmocka_unit_test(a_root_at_the_end_is_not_sent),
		cmocka_unit_test(a_stranger_in_the_chain_is_refused),
		cmocka_unit_test(an_issuer_by_name_alone_is_refused),
		cmocka_unit_test(a_gap_in_the_chain_is_refused),
		cmocka_unit_test(a_cross_signed_root_is_kept_and_its_self_signed_form_dropped),
		cmocka_unit_test(the_leaf_is_found_by_its_key_wherever_it_stands),
		cmocka_unit_test(of_two_cross_signed_issuers_the_one_that_leads_to_an_anchor_stays),
		cmocka_unit_test(two_authorities_that_sign_each_other_come_to_an_end),
		cmocka_unit_test(a_self_signed_leaf_stands_alone),
	};
	return cmocka_run_group_tests(tests, make_chain, free_chain);
}
