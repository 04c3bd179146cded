#include "hub/daemon/publish/pairing.h"
#include "hub/common/key_cut.h"
#include "lib/core/mem.h"
#include "lib/core/name.h"
#include "lib/crypto/chain_order.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What one file has, and how good the pair is that it makes. */
struct part {
	const char *name;
	unsigned long path;
	EVP_PKEY *key;      /* the public half; NULL: no key in it */
	struct chain chain; /* of its certificates; the matching key, of this file or another, once found */
	bool key_is_used;
	bool covers, valid;
	int64_t not_before, not_after;
	char form[sizeof(((struct key_cut *)0)->form)];
};

/* What a pair is judged by. */
struct scope {
	const char *const *names; /* that it must have */
	const struct anchors *anchors;
	int64_t now;
};

void pairing_release(struct pairing *p)
{
	for (size_t i = 0; i < p->count; i++)
		chain_release(&p->pairs[i]);
	p->count = 0;
}

enum pairing_kind pairing_kind(const X509 *leaf)
{
	const EVP_PKEY *key = X509_get0_pubkey(leaf);
	if (key && EVP_PKEY_is_a(key, "EC"))
		return PAIRING_ECDSA;
	return key && EVP_PKEY_is_a(key, "RSA") ? PAIRING_RSA : PAIRING_OTHER;
}

/* ---- reading ---- */

static bool covers_all(const struct chain_facts *facts, const char *const *names)
{
	for (; *names; names++) {
		bool covered = false;
		for (size_t i = 0; i < facts->name_count && !covered; i++)
			covered = name_covers(facts->names[i], *names);
		if (!covered)
			return false;
	}
	return true;
}

static void judge_leaf(struct part *p, const struct scope *in)
{
	struct error err;
	struct chain_facts facts;
	if (chain_facts(p->chain.leaf, &facts, &err) < 0)
		return;
	p->not_before = facts.not_before;
	p->not_after = facts.not_after;
	p->valid = facts.not_before <= in->now && in->now < facts.not_after;
	p->covers = covers_all(&facts, in->names);
	chain_facts_release(&facts);
}

static const char *base_name(const char *name)
{
	const char *slash = strchr(name, '/');
	return slash ? slash + 1 : name;
}

static void note_damage(struct pairing *ret, const char *name, const char *why)
{
	if (!ret->damage[0])
		snprintf(ret->damage, sizeof(ret->damage), "%.255s: %.700s", base_name(name), why);
}

static void read_part(const struct files *files, size_t i, struct part *p, struct pairing *ret)
{
	struct error err;
	auto_key_cut struct key_cut cut = {.key = NULL};
	p->name = files->file[i].name;
	p->path = strtoul(p->name, NULL, 10);
	if (key_cut_decode(files->file[i].data, files->file[i].len, &cut, &err) < 0) {
		note_damage(ret, p->name, err.message);
		return;
	}
	if (cut.damage[0])
		note_damage(ret, p->name, cut.damage);
	snprintf(p->form, sizeof(p->form), "%s", cut.form);
	p->key = steal(cut.key);
	p->chain = cut.chain;
	cut.chain = (struct chain){0};
}

/* ---- pairing ---- */

/* A root does not count, since roots are not sent. */
static bool is_issuer(X509 *issuer, X509 *subject)
{
	EVP_PKEY *key = X509_get0_pubkey(issuer);
	return key && X509_check_issued(issuer, subject) == X509_V_OK && X509_verify(subject, key) == 1 &&
		X509_self_signed(issuer, 0) != 1;
}

static X509 *find_issuer(const struct part *parts, size_t count, X509 *subject)
{
	X509 *found = NULL;
	for (size_t i = 0; i < count && !found; i++) {
		const struct chain *c = &parts[i].chain;
		for (int k = -1; c->leaf && k < sk_X509_num(c->rest) && !found; k++) {
			X509 *candidate = k < 0 ? c->leaf : sk_X509_value(c->rest, k);
			found = is_issuer(candidate, subject) ? candidate : NULL;
		}
	}
	ERR_clear_error();
	return found;
}

static bool has_already(const struct chain *c, const X509 *certificate)
{
	bool found = X509_cmp(c->leaf, certificate) == 0;
	for (int i = 0; i < sk_X509_num(c->rest) && !found; i++)
		found = X509_cmp(sk_X509_value(c->rest, i), certificate) == 0;
	return found;
}

/* A leaf that stands alone gets its issuers from the other files. */
static void complete(const struct part *parts, size_t count, struct chain *c)
{
	X509 *last = c->leaf;
	if (sk_X509_num(c->rest) > 0)
		return;
	while (sk_X509_num(c->rest) + 1 < CHAIN_CERTIFICATES_MAX) {
		last = find_issuer(parts, count, last);
		if (!last || has_already(c, last))
			return;
		if (!X509_up_ref(last) || !sk_X509_push(c->rest, last))
			mem_abort(__func__);
	}
}

static void find_key_of(X509 *certificate, struct part *parts, size_t count, struct part *p)
{
	EVP_PKEY *wanted = X509_get0_pubkey(certificate);
	for (size_t i = 0; i < count && wanted; i++) {
		if (!parts[i].key || EVP_PKEY_eq(parts[i].key, wanted) != 1)
			continue;
		parts[i].key_is_used = true;
		if (p->chain.key)
			continue;
		if (!EVP_PKEY_up_ref(parts[i].key))
			mem_abort(__func__);
		p->chain.key = parts[i].key;
	}
	ERR_clear_error();
}

/* Some tools write the leaf behind its issuers. An authority's own key, which may lie there too, makes no leaf. */
static void find_key(struct part *parts, size_t count, struct part *p)
{
	find_key_of(p->chain.leaf, parts, count, p);
	for (int i = 0; i < sk_X509_num(p->chain.rest) && !p->chain.key; i++) {
		X509 *certificate = sk_X509_value(p->chain.rest, i);
		if (X509_check_ca(certificate) == 0)
			find_key_of(certificate, parts, count, p);
	}
}

static void match(struct part *parts, size_t count, const struct scope *in, struct pairing *ret)
{
	for (size_t i = 0; i < count; i++) {
		struct error err;
		if (!parts[i].chain.leaf)
			continue;
		find_key(parts, count, &parts[i]);
		if (parts[i].chain.key && chain_order(&parts[i].chain, in->anchors, in->now, &err) < 0) {
			note_damage(ret, parts[i].name, err.message);
			chain_free_pkey(&parts[i].chain.key);
		}
		judge_leaf(&parts[i], in);
	}
	/* This comes once all are in order, since they lend each other issuers. */
	for (size_t i = 0; i < count; i++)
		if (parts[i].chain.key)
			complete(parts, count, &parts[i].chain);
}

/* ---- choosing ---- */

static bool is_better(const struct part *a, const struct part *b)
{
	if (!b)
		return true;
	if (a->covers != b->covers)
		return a->covers;
	if (a->valid != b->valid)
		return a->valid;
	if (a->not_before != b->not_before)
		return a->not_before > b->not_before;
	if (a->not_after != b->not_after)
		return a->not_after > b->not_after;
	return sk_X509_num(a->chain.rest) > sk_X509_num(b->chain.rest);
}

/* Returns the best pair of `path` alone. */
static struct part *best_of(struct part *parts, size_t count, unsigned long path)
{
	struct part *best = NULL;
	for (size_t i = 0; i < count; i++)
		if (parts[i].chain.key && parts[i].path == path && is_better(&parts[i], best))
			best = &parts[i];
	return best;
}

static void take(struct part *p, struct pairing *ret)
{
	if (!ret->count)
		ret->file = p->name;
	ret->pairs[ret->count++] = p->chain;
	p->chain = (struct chain){0};
}

static void choose(struct part *parts, size_t count, struct pairing *ret)
{
	struct part *best = NULL, *of_kind[PAIRING_KINDS] = {0};
	for (size_t i = 0; i < count; i++) {
		struct part *p = parts[i].chain.key ? best_of(parts, count, parts[i].path) : NULL;
		if (!p)
			continue;
		enum pairing_kind kind = pairing_kind(p->chain.leaf);
		best = is_better(p, best) ? p : best;
		of_kind[kind] = p->covers && p->valid && is_better(p, of_kind[kind]) ? p : of_kind[kind];
	}
	if (!best)
		return;
	if (of_kind[PAIRING_ECDSA] && of_kind[PAIRING_RSA]) {
		take(of_kind[PAIRING_ECDSA], ret);
		take(of_kind[PAIRING_RSA], ret);
	} else {
		take(best, ret);
	}
}

static void note_half_way(const struct part *parts, size_t count, struct pairing *ret)
{
	for (size_t i = 0; i < count; i++) {
		const struct part *p = &parts[i];
		if (p->key && !p->key_is_used)
			ret->half_way[EVP_PKEY_is_a(p->key, "RSA") ? PAIRING_RSA : PAIRING_ECDSA] = true;
		if (p->chain.leaf && !p->chain.key && p->covers && p->valid)
			ret->half_way[pairing_kind(p->chain.leaf)] = true;
	}
	for (size_t i = 0; ret->damage[0] && i < PAIRING_KINDS; i++)
		ret->half_way[i] = true;
}

/* ---- what is told where nothing belongs together ---- */

static void leaf_text(const struct part *p, char *text, size_t size)
{
	struct error ignored;
	struct chain_facts facts = {0};
	if (chain_facts(p->chain.leaf, &facts, &ignored) < 0 || !facts.name_count)
		snprintf(text, size, "a certificate without names of hosts");
	else
		snprintf(text, size, "a certificate for %.100s%s, whose key is in none of them", facts.names[0],
			facts.name_count > 1 ? " and others" : "");
	chain_facts_release(&facts);
}

static void note_found(const struct part *parts, size_t count, struct pairing *ret)
{
	size_t used = 0;
	for (size_t i = 0; i < count && used < sizeof(ret->found); i++) {
		char text[256] = "";
		const struct part *p = &parts[i];
		if (p->chain.leaf)
			leaf_text(p, text, sizeof(text));
		else if (p->key && !p->key_is_used)
			snprintf(text, sizeof(text), "a private key whose certificate is in none of them");
		else
			snprintf(text, sizeof(text), "%s", p->form);
		if (text[0])
			used += (size_t)snprintf(ret->found + used, sizeof(ret->found) - used, "%s%.100s: %s",
				used ? "; " : "", base_name(p->name), text);
	}
}

void pairing_find(const struct files *files, const char *const *names, const struct anchors *anchors, int64_t now,
	struct pairing *ret)
{
	struct part parts[FILES_MAX] = {0};
	const struct scope in = {names, anchors, now};
	*ret = (struct pairing){0};
	for (size_t i = 0; i < files->count; i++)
		read_part(files, i, &parts[i], ret);
	match(parts, files->count, &in, ret);
	note_half_way(parts, files->count, ret);
	choose(parts, files->count, ret);
	if (!ret->count)
		note_found(parts, files->count, ret);
	for (size_t i = 0; i < files->count; i++) {
		chain_release(&parts[i].chain);
		chain_free_pkey(&parts[i].key);
	}
}
