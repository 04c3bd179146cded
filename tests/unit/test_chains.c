/* No chain is accepted that OpenSSL refuses. Names, paths and leaves, each of them sound or with one of the faults that
 * such things are known to have, are combined in all pairs (in all triples when CERTSYNC_LONG is in the environment),
 * and our verdict is held against OpenSSL's own for a TLS server of this name, and for a sample against `openssl
 * verify` of this machine. */
#include "lib/core/mem.h"
#include "lib/crypto/chain_order.h"
#include "lib/crypto/verify.h"
#include "tests/unit/issue.h"
#include "tests/unit/scratch.h"

#include <openssl/err.h>
#include <stdio.h>
#include <unistd.h>

enum { PRESENTED_MAX = 3, AUTHORITIES_MAX = 40, OLD = -400, SAMPLE = 40 };
static const char host[] = "mail.domain.pl";
static struct error err;

/* ---- names ---- */

static const struct names {
	const char *label, *common, *list; /* dNSNames, apart by '|'; "IP…", "URI…", "email…" as OpenSSL
					      writes them; NULL: none */
	const char *nul;                   /* one more dNSName, with a NUL for its '#' */
} names[] = {
	{"the name", "x", "mail.domain.pl", NULL},
	{"among others", "x", "www.domain.pl|mail.domain.pl", NULL},
	{"in capitals", "x", "MAIL.Domain.PL", NULL},
	{"a wildcard", "x", "*.domain.pl", NULL},
	{"a wildcard too high", "x", "*.pl", NULL},
	{"a wildcard of all", "x", "*", NULL},
	{"a wildcard too low", "x", "*.mail.domain.pl", NULL},
	{"a wildcard within", "x", "mail.*.pl", NULL},
	{"a wildcard's tail", "x", "*ail.domain.pl", NULL},
	{"a wildcard's head", "x", "m*.domain.pl", NULL},
	{"two wildcards", "x", "*.*.pl", NULL},
	{"a wildcard of an A-label", "x", "xn--*.domain.pl", NULL},
	{"another name", "x", "www.domain.pl", NULL},
	{"the parent", "x", "domain.pl", NULL},
	{"a longer one", "x", "xmail.domain.pl", NULL},
	{"a shorter one", "x", "ail.domain.pl", NULL},
	{"a foreign tail", "x", "mail.domain.pl.evil.example", NULL},
	{"a foreign head", "x", "evil.mail.domain.pl", NULL},
	{"a dot behind", "x", "mail.domain.pl.", NULL},
	{"a dot ahead", "x", ".domain.pl", NULL},
	{"a blank behind", "x", "mail.domain.pl ", NULL},
	{"a hyphen for a dot", "x", "mail-domain.pl", NULL},
	{"a digit for a letter", "x", "mai1.domain.pl", NULL},
	{"a Cyrillic letter", "x", "m\xd0\xb0il.domain.pl", NULL},
	{"its A-label", "x", "xn--mil-7cd.domain.pl", NULL},
	{"a NUL within", "x", NULL, "mail.domain.pl#.evil.example"},
	{"a NUL behind", "x", NULL, "mail.domain.pl#"},
	{"a NUL ahead", "x", NULL, "#mail.domain.pl"},
	{"an empty one", "x", "", NULL},
	{"as a URI", "x", "URI:https://mail.domain.pl", NULL},
	{"as an address of mail", "x", "email:mail.domain.pl", NULL},
	{"an address", "x", "IP:10.0.0.1", NULL},
	{"none", "x", NULL, NULL},
	{"in the subject alone", "mail.domain.pl", NULL, NULL},
	{"in the subject, another beside", "mail.domain.pl", "www.domain.pl", NULL},
	{"in the subject, an address beside", "mail.domain.pl", "IP:10.0.0.1", NULL},
};

/* ---- authorities, and the ways from them to a leaf ---- */

static const struct authority {
	const char *label, *issuer; /* issuer NULL: itself */
	const char *subject;        /* NULL: the label */
	const char *key_of;         /* another's key */
	const char *constraints;    /* basicConstraints; NULL: sound */
	const char *usage;          /* keyUsage; NULL: sound */
	const char *purpose;        /* extendedKeyUsage; NULL: none */
	const char *limits;         /* nameConstraints */
	int from, to;               /* days from now; 0, 0: sound */
	const char *fault;          /* "critical", "weak", "v1", "sha1" */
} authorities[] = {
	{.label = "root"},
	{.label = "stranger"},
	{.label = "middle", .issuer = "root"},
	{.label = "lower", .issuer = "middle"},
	{.label = "expired", .issuer = "root", .from = OLD, .to = -1},
	{.label = "future", .issuer = "root", .from = 1, .to = 90},
	{.label = "no authority", .issuer = "root", .constraints = "critical,CA:FALSE"},
	{.label = "may not sign", .issuer = "root", .usage = "critical,digitalSignature"},
	{.label = "short", .issuer = "root", .constraints = "critical,CA:TRUE,pathlen:0"},
	{.label = "too far", .issuer = "short"},
	{.label = "for clients", .issuer = "root", .purpose = "clientAuth"},
	{.label = "for servers", .issuer = "root", .purpose = "serverAuth"},
	{.label = "permits it", .issuer = "root", .limits = "critical,permitted;DNS:domain.pl"},
	{.label = "permits others", .issuer = "root", .limits = "critical,permitted;DNS:example.org"},
	{.label = "excludes it", .issuer = "root", .limits = "critical,excluded;DNS:mail.domain.pl"},
	{.label = "excludes the domain", .issuer = "root", .limits = "critical,excluded;DNS:domain.pl"},
	{.label = "excludes others", .issuer = "root", .limits = "critical,excluded;DNS:example.org"},
	{.label = "permits addresses", .issuer = "root", .limits = "critical,permitted;IP:10.0.0.0/255.0.0.0"},
	{.label = "permits nothing of it", .issuer = "permits others"},
	{.label = "critical", .issuer = "root", .fault = "critical"},
	{.label = "weak", .issuer = "root", .fault = "weak"},
	{.label = "v1", .issuer = "root", .fault = "v1"},
	{.label = "sha1", .issuer = "root", .fault = "sha1"},
	{.label = "strange", .issuer = "stranger"},
	{.label = "twin", .issuer = "root", .subject = "middle"},
	{.label = "cross", .issuer = "stranger", .subject = "middle", .key_of = "middle"},
	{.label = "forged root", .subject = "root"},
	{.label = "of the forged", .issuer = "forged root"},
};
static struct issued made[AUTHORITIES_MAX];

static const struct path {
	const char *signer; /* NULL: the leaf itself */
	const char *presented[PRESENTED_MAX];
} paths[] = {
	{"middle", {"middle"}},
	{"root", {NULL}},
	{"lower", {"lower", "middle"}},
	{"middle", {"middle", "root"}},
	{"middle", {NULL}},
	{"lower", {"lower"}},
	{"lower", {"middle", "lower"}},
	{"lower", {"middle"}},
	{"middle", {"middle", "middle"}},
	{"expired", {"expired"}},
	{"future", {"future"}},
	{"no authority", {"no authority"}},
	{"may not sign", {"may not sign"}},
	{"short", {"short"}},
	{"too far", {"too far", "short"}},
	{"for clients", {"for clients"}},
	{"for servers", {"for servers"}},
	{"permits it", {"permits it"}},
	{"permits others", {"permits others"}},
	{"excludes it", {"excludes it"}},
	{"excludes the domain", {"excludes the domain"}},
	{"excludes others", {"excludes others"}},
	{"permits addresses", {"permits addresses"}},
	{"permits nothing of it", {"permits nothing of it", "permits others"}},
	{"critical", {"critical"}},
	{"weak", {"weak"}},
	{"v1", {"v1"}},
	{"sha1", {"sha1"}},
	{"strange", {"strange"}},
	{"strange", {"strange", "stranger"}},
	{"stranger", {NULL}},
	{"middle", {"twin"}},
	{"twin", {"middle"}},
	{"twin", {"twin"}},
	{"middle", {"middle", "cross"}},
	{"middle", {"cross", "middle"}},
	{"middle", {"cross"}},
	{"middle", {"cross", "stranger"}},
	{"middle", {"middle", "strange"}},
	{"middle", {"strange", "middle"}},
	{"of the forged", {"of the forged", "forged root"}},
	{"of the forged", {"of the forged", "root"}},
	{"forged root", {"root"}},
	{NULL, {NULL}},
};

/* ---- leaves ---- */

static const struct leaf {
	const char *label, *constraints, *usage, *purpose, *key_type, *fault;
	int from, to;
} leaves[] = {
	{.label = "sound"},
	{.label = "no basicConstraints", .constraints = ""},
	{.label = "no keyUsage", .usage = ""},
	{.label = "no extendedKeyUsage", .purpose = ""},
	{.label = "for both", .purpose = "serverAuth,clientAuth"},
	{.label = "for clients", .purpose = "clientAuth"},
	{.label = "for mail", .purpose = "emailProtection"},
	{.label = "for code", .purpose = "codeSigning"},
	{.label = "for anything", .purpose = "anyExtendedKeyUsage"},
	{.label = "for time stamps", .purpose = "critical,timeStamping"},
	{.label = "an authority", .constraints = "critical,CA:TRUE", .usage = "critical,keyCertSign"},
	{.label = "an authority and a server", .constraints = "critical,CA:TRUE"},
	{.label = "may only encipher", .usage = "critical,keyEncipherment"},
	{.label = "may only agree", .usage = "critical,keyAgreement"},
	{.label = "may only sign lists", .usage = "critical,cRLSign"},
	{.label = "expired", .from = OLD, .to = -1},
	{.label = "future", .from = 1, .to = 90},
	{.label = "ends before it begins", .from = 2, .to = -2},
	{.label = "P-384", .key_type = "ecdsa-p384"},
	{.label = "RSA of 2048 bits", .key_type = "rsa-2048"},
	{.label = "RSA of 1024 bits", .key_type = "rsa-1024"},
	{.label = "Ed25519", .key_type = "ed25519"},
	{.label = "another's key", .fault = "key"},
	{.label = "a broken signature", .fault = "signature"},
	{.label = "signed with SHA-1", .fault = "sha1"},
	{.label = "an unknown critical extension", .fault = "critical"},
	{.label = "version 1", .fault = "v1"},
	{.label = "names in a critical extension twice", .fault = "twice"},
};

/* ---- the workshop ---- */

static EVP_PKEY *key_of_type(const char *type)
{
	static const char *known[8];
	static EVP_PKEY *keys[8];
	size_t i = 0;
	while (known[i] && strcmp(known[i], type) != 0)
		i++;
	if (!known[i]) {
		known[i] = type;
		keys[i] = issue_key(type);
	}
	return keys[i];
}

static bool is(const char *fault, const char *which)
{
	return fault && strcmp(fault, which) == 0;
}

static void extend(X509 *certificate, X509 *issuer, int nid, const char *value, const char *sound)
{
	const char *text = value ? value : sound;
	if (text && *text)
		issue_extension(certificate, issuer, nid, text);
}

static void add_unknown_critical(X509 *certificate)
{
	ASN1_OBJECT *object = OBJ_txt2obj("1.3.6.1.4.1.55555.1", 1);
	ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
	assert_int_equal(ASN1_OCTET_STRING_set(value, (const unsigned char *)"\x05", 2), 1);
	X509_EXTENSION *extension = X509_EXTENSION_create_by_OBJ(NULL, object, 1, value);
	assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
	X509_EXTENSION_free(extension);
	ASN1_OCTET_STRING_free(value);
	ASN1_OBJECT_free(object);
}

static void begin(X509 *c, const char *common, EVP_PKEY *key, int from, int to)
{
	static long serial = 1;
	bool sound = !from && !to;
	X509_set_version(c, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(c), serial++);
	ASN1_TIME_set(X509_getm_notBefore(c), ISSUE_NOW + (sound ? -1 : from) * ISSUE_DAY);
	ASN1_TIME_set(X509_getm_notAfter(c), ISSUE_NOW + (sound ? 90 : to) * ISSUE_DAY);
	X509_NAME_add_entry_by_txt(
		X509_get_subject_name(c), "CN", MBSTRING_UTF8, (const unsigned char *)common, -1, -1, 0);
	X509_set_pubkey(c, key);
}

static void sign(X509 *c, EVP_PKEY *key, const char *fault)
{
	const EVP_MD *md = is(fault, "sha1") ? EVP_sha1() : EVP_sha256();
	if (is(fault, "critical"))
		add_unknown_critical(c);
	while (is(fault, "v1") && X509_get_ext_count(c) > 0)
		X509_EXTENSION_free(X509_delete_ext(c, 0));
	if (is(fault, "v1"))
		X509_set_version(c, X509_VERSION_1);
	assert_true(X509_sign(c, key, EVP_PKEY_is_a(key, "ED25519") ? NULL : md) > 0);
}

static const struct issued *authority(const char *label)
{
	for (size_t i = 0; i < COUNT(authorities); i++)
		if (strcmp(authorities[i].label, label) == 0)
			return &made[i];
	fail_msg("no authority \"%s\"", label);
	return NULL;
}

static void make_authority(size_t i)
{
	const struct authority *a = &authorities[i];
	EVP_PKEY *key =
		a->key_of ? authority(a->key_of)->key : issue_key(is(a->fault, "weak") ? "rsa-1024" : "ecdsa-p256");
	if (a->key_of)
		EVP_PKEY_up_ref(key);
	made[i] = (struct issued){.certificate = X509_new(), .key = key};
	X509 *c = made[i].certificate, *issuer = a->issuer ? authority(a->issuer)->certificate : c;
	begin(c, a->subject ? a->subject : a->label, key, a->from, a->to);
	X509_set_issuer_name(c, X509_get_subject_name(issuer));
	extend(c, issuer, NID_basic_constraints, a->constraints, "critical,CA:TRUE");
	extend(c, issuer, NID_key_usage, a->usage, "critical,keyCertSign,cRLSign");
	extend(c, issuer, NID_ext_key_usage, a->purpose, NULL);
	extend(c, issuer, NID_name_constraints, a->limits, NULL);
	sign(c, a->issuer ? authority(a->issuer)->key : key, a->fault);
}

static void add_dns(GENERAL_NAMES *all, const char *text, size_t len, bool nul)
{
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_IA5STRING *value = ASN1_IA5STRING_new();
	auto_free char *bytes = mem_strndup(text, len);
	for (size_t i = 0; nul && i < len; i++)
		bytes[i] = bytes[i] == '#' ? '\0' : bytes[i];
	ASN1_STRING_set(value, bytes, (int)len);
	GENERAL_NAME_set0_value(name, GEN_DNS, value);
	sk_GENERAL_NAME_push(all, name);
}

static void add_names(X509 *c, const struct names *n)
{
	if (n->list &&
		(strncmp(n->list, "IP:", 3) == 0 || strncmp(n->list, "URI:", 4) == 0 ||
			strncmp(n->list, "email:", 6) == 0)) {
		issue_extension(c, c, NID_subject_alt_name, n->list);
		return;
	}
	GENERAL_NAMES *all = sk_GENERAL_NAME_new_null();
	for (const char *at = n->list; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
		add_dns(all, at, strcspn(at, "|"), false);
	if (n->nul)
		add_dns(all, n->nul, strlen(n->nul), true);
	if (sk_GENERAL_NAME_num(all) > 0)
		assert_int_equal(X509_add1_ext_i2d(c, NID_subject_alt_name, all, 0, X509V3_ADD_APPEND), 1);
	sk_GENERAL_NAME_pop_free(all, GENERAL_NAME_free);
}

static X509 *make_leaf(const struct names *n, const struct path *p, const struct leaf *l)
{
	EVP_PKEY *key = key_of_type(l->key_type ? l->key_type : "ecdsa-p256");
	X509 *c = X509_new(), *issuer = p->signer ? authority(p->signer)->certificate : c;
	begin(c, n->common, key, l->from, l->to);
	X509_set_issuer_name(c, X509_get_subject_name(issuer));
	extend(c, issuer, NID_basic_constraints, l->constraints, "critical,CA:FALSE");
	extend(c, issuer, NID_key_usage, l->usage, "critical,digitalSignature");
	extend(c, issuer, NID_ext_key_usage, l->purpose, "serverAuth");
	add_names(c, n);
	if (is(l->fault, "twice"))
		add_names(c, &names[0]);
	sign(c, p->signer ? authority(p->signer)->key : key, l->fault);
	return c;
}

/* ---- verdicts ---- */

static struct anchors *anchors;
static X509_STORE *store;
static struct {
	unsigned chains, both, mended, neither, stricter, sampled;
} seen;

/* Does with the chain what is done with one that arrives: it is read from text, put in order and verified. `ret` is what
 * would be served. */
static bool ours(const struct chain *c, struct chain *ret)
{
	static const char *const required[] = {host, NULL};
	const struct verify_policy policy = {.anchors = anchors, .now = ISSUE_NOW, .required = required};
	auto_buf struct buf text = BUF_INIT(CHAIN_PEM_MAX);
	if (chain_write_pem(c, CHAIN_KEY | CHAIN_LEAF | CHAIN_REST, &text, &err) < 0)
		return false;
	return chain_parse_pem(text.data, text.len, text.data, text.len, ret, &err) == 0 &&
		chain_order(ret, anchors, policy.now, &err) == 0 && verify_chain(ret, &policy, &err) == 0;
}

static bool openssls(const struct chain *c)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	assert_int_equal(X509_STORE_CTX_init(ctx, store, c->leaf, c->rest), 1);
	X509_STORE_CTX_set_default(ctx, "default");
	X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER);
	X509_VERIFY_PARAM_set1_host(X509_STORE_CTX_get0_param(ctx), host, 0);
	X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(ctx), ISSUE_NOW);
	bool accepted = X509_verify_cert(ctx) == 1;
	X509_STORE_CTX_free(ctx);
	ERR_clear_error();
	return accepted;
}

static void write_part(const struct chain *c, unsigned part, const char *path)
{
	auto_buf struct buf text = BUF_INIT(CHAIN_PEM_MAX);
	assert_int_equal(chain_write_pem(c, part, &text, &err), 0);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	if (text.len) /* a leaf that stands alone has no rest */
		assert_int_equal(fwrite(text.data, 1, text.len, f), text.len);
	assert_int_equal(fclose(f), 0);
}

/* Checks that the program `openssl verify` comes to the verdict that OpenSSL's library gave here. */
static void sample(const struct chain *c, bool accepted, const char *what)
{
	write_part(c, CHAIN_LEAF, "leaf.pem");
	write_part(c, CHAIN_REST, "rest.pem");
	char command[300];
	snprintf(command, sizeof(command),
		"openssl verify -purpose sslserver -verify_hostname %s -attime %lld -no-CApath -no-CAstore "
		"-CAfile root.pem %s leaf.pem >said 2>&1",
		host, (long long)ISSUE_NOW, sk_X509_num(c->rest) ? "-untrusted rest.pem" : "");
	int status = system(command);
	if ((status == 0) != accepted)
		fail_msg("%s: openssl verify exits %d, the library %s", what, status, accepted ? "accepts" : "refuses");
	seen.sampled++;
}

static void judge(const struct names *n, const struct path *p, const struct leaf *l)
{
	X509 *certificate = make_leaf(n, p, l);
	EVP_PKEY *key = key_of_type(is(l->fault, "key") ? "rsa-3072" : l->key_type ? l->key_type : "ecdsa-p256");
	const struct issued leaf = {.certificate = certificate, .key = key};
	const struct issued *rest[PRESENTED_MAX];
	size_t count = 0;
	char what[300];
	while (count < PRESENTED_MAX && p->presented[count]) {
		rest[count] = authority(p->presented[count]);
		count++;
	}
	struct chain c = issued_chain(&leaf, rest, count);
	if (is(l->fault, "signature")) {
		const ASN1_BIT_STRING *signature;
		X509_get0_signature(&signature, NULL, certificate);
		signature->data[signature->length - 1] ^= 1;
	}
	snprintf(what, sizeof(what), "names %s, by %s behind %s (%zu), leaf %s", n->label,
		p->signer ? p->signer : "itself", count ? p->presented[0] : "nothing", count, l->label);
	auto_chain struct chain served = {0};
	bool we = ours(&c, &served), they = openssls(&c);
	if (we && !openssls(&served))
		fail_msg("%s: accepted, and OpenSSL refuses what would be served", what);
	seen.chains++;
	/* OpenSSL takes the first of two issuers, we take the one that leads to the anchor. */
	*(we ? they ? &seen.both : &seen.mended : they ? &seen.stricter : &seen.neither) += 1;
	if (seen.chains % SAMPLE == 0)
		sample(&c, they, what);
	chain_release(&c);
	X509_free(certificate);
}

static void none_is_accepted_that_openssl_refuses(void **state)
{
	(void)state;
	bool all = getenv("CERTSYNC_LONG") != NULL;
	judge(&names[0], &paths[0], &leaves[0]);
	assert_int_equal(seen.both, 1);
	for (size_t i = 0; i < COUNT(names); i++)
		for (size_t j = 0; j < COUNT(paths); j++)
			for (size_t k = 0; k < COUNT(leaves); k++)
				if (all || !i || !j || !k)
					judge(&names[i], &paths[j], &leaves[k]);
	printf("%u chains: %u accepted by OpenSSL and by us, %u by us once in order, %u by OpenSSL alone, %u by "
	       "neither; %u beside openssl verify\n",
		seen.chains, seen.both, seen.mended, seen.stricter, seen.neither, seen.sampled);
	assert_true(seen.chains >= 1000 && seen.both >= 100);
}

static int make_world(void **state)
{
	if (scratch_setup(state) < 0 || fchdir(((struct scratch *)*state)->fd) < 0)
		return -1;
	for (size_t i = 0; i < COUNT(authorities); i++)
		make_authority(i);
	const struct chain root = {.leaf = authority("root")->certificate};
	write_part(&root, CHAIN_LEAF, "root.pem");
	anchors = anchors_load("root.pem", &err);
	store = X509_STORE_new();
	return anchors && X509_STORE_add_cert(store, authority("root")->certificate) == 1 ? 0 : -1;
}

static int free_world(void **state)
{
	anchors_free(anchors);
	X509_STORE_free(store);
	for (size_t i = 0; i < COUNT(authorities); i++)
		issued_release(&made[i]);
	return chdir("/") < 0 ? -1 : scratch_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(none_is_accepted_that_openssl_refuses)};
	return cmocka_run_group_tests(tests, make_world, free_world);
}
