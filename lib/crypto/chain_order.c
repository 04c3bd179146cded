#include "lib/crypto/chain_order.h"
#include "lib/core/mem.h"
#include "lib/crypto/verify.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdbool.h>

static const char *subject_text(const X509 *certificate, char *text, size_t size)
{
	X509_NAME_oneline(X509_get_subject_name(certificate), text, (int)size);
	return text;
}

static bool is_self_signed(X509 *certificate)
{
	bool self_signed = X509_self_signed(certificate, 1) == 1;
	ERR_clear_error();
	return self_signed;
}

/* Returns whether `issuer` has issued `subject`, by name and extensions first and then by the signature, since two
 * authorities may have one name. */
static bool has_issued(X509 *issuer, X509 *subject)
{
	EVP_PKEY *key = X509_get0_pubkey(issuer);
	bool issued = X509_check_issued(issuer, subject) == X509_V_OK && key && X509_verify(subject, key) == 1;
	ERR_clear_error();
	return issued;
}

static void push(STACK_OF(X509) * stack, X509 *certificate)
{
	if (!sk_X509_push(stack, certificate))
		mem_abort(__func__);
}

/* ---- the leaf ---- */

static bool is_for(X509 *certificate, const EVP_PKEY *key)
{
	EVP_PKEY *own = X509_get0_pubkey(certificate);
	bool same = own && EVP_PKEY_eq(own, key) == 1;
	ERR_clear_error();
	return same;
}

/* Where no certificate is the key's, the first stays the leaf, and lib/crypto/verify.h says that they do not match. */
static void find_leaf(struct chain *c)
{
	if (!c->key || is_for(c->leaf, c->key))
		return;
	for (int i = 0; i < sk_X509_num(c->rest); i++) {
		X509 *certificate = sk_X509_value(c->rest, i);
		if (!is_for(certificate, c->key))
			continue;
		(void)sk_X509_set(c->rest, i, c->leaf);
		c->leaf = certificate;
		return;
	}
}

static void drop_duplicates(struct chain *c)
{
	for (int i = sk_X509_num(c->rest) - 1; i >= 0; i--) {
		X509 *certificate = sk_X509_value(c->rest, i);
		bool again = X509_cmp(certificate, c->leaf) == 0;
		for (int k = 0; k < i && !again; k++)
			again = X509_cmp(certificate, sk_X509_value(c->rest, k)) == 0;
		if (again)
			X509_free(sk_X509_delete(c->rest, i));
	}
}

/* ---- its issuers ---- */

/* How good an issuer is beside others of the same subject and key. Older clients need the longer chain, so a root comes last. */
static int rank(X509 *issuer, STACK_OF(X509) * rest, const struct anchors *anchors, int64_t now)
{
	if (is_self_signed(issuer))
		return 1;
	return anchors && anchors_build(anchors, issuer, rest, now) ? 3 : 2;
}

/* Takes out of `rest` the certificate that has issued `subject`, the best of several. */
static X509 *take_issuer(STACK_OF(X509) * rest, X509 *subject, const struct anchors *anchors, int64_t now)
{
	int found = -1, best = 0;
	for (int i = 0; i < sk_X509_num(rest); i++) {
		X509 *candidate = sk_X509_value(rest, i);
		int as_good = has_issued(candidate, subject) ? rank(candidate, rest, anchors, now) : 0;
		if (as_good <= best)
			continue;
		best = as_good;
		found = i;
	}
	return found < 0 ? NULL : sk_X509_delete(rest, found);
}

/* ---- what is left over ---- */

static bool is_another_of(const X509 *certificate, const X509 *other)
{
	EVP_PKEY *key = X509_get0_pubkey(certificate);
	return key && X509_NAME_cmp(X509_get_subject_name(certificate), X509_get_subject_name(other)) == 0 &&
		is_for((X509 *)other, key);
}

/* Returns whether it is another way to an anchor: the same authority as one that is kept, or the issuer of one that was
 * found to belong. */
static bool belongs(X509 *certificate, const struct chain *c, const STACK_OF(X509) * kept)
{
	bool found = has_issued(certificate, c->leaf);
	for (int i = 0; i < sk_X509_num(kept) && !found; i++)
		found = is_another_of(certificate, sk_X509_value(kept, i)) ||
			has_issued(certificate, sk_X509_value(kept, i));
	return found;
}

/* Drops other ways to an anchor, such as a cross-signed form of what is kept, with its issuers, and a root. */
static void drop_other_ways(struct chain *c, const STACK_OF(X509) * ordered)
{
	STACK_OF(X509) *ways = sk_X509_dup(ordered);
	if (!ways)
		mem_abort(__func__);
	for (int i = 0; i < sk_X509_num(c->rest);) {
		X509 *certificate = sk_X509_value(c->rest, i);
		if (!belongs(certificate, c, ways)) {
			i++;
			continue;
		}
		push(ways, certificate);
		(void)sk_X509_delete(c->rest, i);
		i = 0; /* its own issuer may stand before it */
	}
	for (int i = sk_X509_num(ordered); i < sk_X509_num(ways); i++)
		X509_free(sk_X509_value(ways, i));
	sk_X509_free(ways);
}

static int check_left_over(const struct chain *c, const STACK_OF(X509) * ordered, struct error *err)
{
	char stranger[256], last[256];
	int count = sk_X509_num(ordered);
	if (!sk_X509_num(c->rest))
		return 0;
	subject_text(count ? sk_X509_value(ordered, count - 1) : c->leaf, last, sizeof(last));
	return error_set(err, ERROR_UNTRUSTED,
		"chain: %s issued none of the others (the chain ends with %s): give the leaf and its own issuers",
		subject_text(sk_X509_value(c->rest, 0), stranger, sizeof(stranger)), last);
}

int chain_order(struct chain *c, const struct anchors *anchors, int64_t now, struct error *err)
{
	STACK_OF(X509) *ordered = sk_X509_new_null();
	if (!ordered)
		mem_abort(__func__);
	find_leaf(c);
	drop_duplicates(c);
	X509 *last = c->leaf, *issuer, *root = NULL;
	while (!is_self_signed(last) && (issuer = take_issuer(c->rest, last, anchors, now))) {
		push(ordered, issuer);
		last = issuer;
	}
	drop_other_ways(c, ordered);
	if (last != c->leaf && is_self_signed(last))
		root = sk_X509_pop(ordered);
	int result = check_left_over(c, ordered, err);
	X509_free(root);
	sk_X509_pop_free(c->rest, X509_free);
	c->rest = ordered;
	return result;
}
