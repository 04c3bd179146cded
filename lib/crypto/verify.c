#include "lib/crypto/verify.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"
#include "lib/core/name.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct anchors {
	X509_STORE *store;
};

/* ---- trust anchors ---- */

/* OpenSSL takes any directory, and then trusts nothing if the files in it have names of their own. */
int anchors_check_directory(const char *path, struct error *err)
{
	DIR *directory = opendir(path);
	const struct dirent *entry;
	bool found = false;
	if (!directory)
		return error_errno(err, "anchors %s", path);
	while (!found && (entry = readdir(directory)))
		found = strspn(entry->d_name, "0123456789abcdef") == 8 && entry->d_name[8] == '.';
	closedir(directory);
	return found ? 0
		     : error_set(err, ERROR_PERMANENT,
			       "anchors %s: a directory without hashed names: run openssl rehash %s", path, path);
}

static int load_path(X509_STORE *store, const char *path, struct error *err)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return error_errno(err, "anchors %s", path);
	if (S_ISDIR(st.st_mode) && anchors_check_directory(path, err) < 0)
		return -1;
	if (S_ISDIR(st.st_mode) ? X509_STORE_load_path(store, path) == 1 : X509_STORE_load_file(store, path) == 1)
		return 0;
	return openssl_error(err, ERROR_PERMANENT, "anchors %s: not a PEM file of certificates", path);
}

struct anchors *anchors_load(const char *path, struct error *err)
{
	ERR_clear_error();
	struct anchors *a = mem_alloc(sizeof(*a));
	a->store = X509_STORE_new();
	bool system = !path || !*path;
	/* A file of the system's that is missing or damaged does not make the call fail. */
	if (!a->store || (system && X509_STORE_set_default_paths(a->store) != 1))
		mem_abort(__func__);
	if (system || load_path(a->store, path, err) == 0)
		return a;
	anchors_free(a);
	return NULL;
}

const char *anchors_system_file(void)
{
	const char *set = secure_getenv(X509_get_default_cert_file_env());
	return set ? set : X509_get_default_cert_file();
}

const char *anchors_system_directories(void)
{
	const char *set = secure_getenv(X509_get_default_cert_dir_env());
	return set ? set : X509_get_default_cert_dir();
}

struct anchors *anchors_none(void)
{
	struct anchors *a = mem_alloc(sizeof(*a));
	a->store = X509_STORE_new();
	if (!a->store)
		mem_abort(__func__);
	return a;
}

static int add_each(X509_STORE *store, const STACK_OF(X509_INFO) * found)
{
	int count = 0;
	for (int i = 0; i < sk_X509_INFO_num(found); i++) {
		X509 *certificate = sk_X509_INFO_value(found, i)->x509;
		if (certificate && X509_STORE_add_cert(store, certificate) == 1)
			count++;
	}
	return count;
}

int anchors_add(struct anchors *a, const void *pem, size_t len, struct error *err)
{
	ERR_clear_error();
	BIO *bio = len <= ANCHORS_PEM_MAX ? BIO_new_mem_buf(len ? pem : "", (int)len) : NULL;
	STACK_OF(X509_INFO) *found = bio ? PEM_X509_INFO_read_bio(bio, NULL, NULL, NULL) : NULL;
	int count = add_each(a->store, found);
	sk_X509_INFO_pop_free(found, X509_INFO_free);
	BIO_free_all(bio);
	if (!count)
		return openssl_error(err, ERROR_PERMANENT, "not a PEM file of certificates");
	ERR_clear_error();
	return 0;
}

/* Asks for whatever certificate may have issued this one. A store that was asked for a name once has everything of that
 * name already. */
static int want_issuer(struct anchors *a, X509 *certificate, const struct anchors_source *from, struct error *err)
{
	const X509_NAME *issuer = X509_get_issuer_name(certificate);
	STACK_OF(X509) *known = NULL;
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	if (!ctx || X509_STORE_CTX_init(ctx, a->store, NULL, NULL) != 1)
		mem_abort(__func__);
	known = X509_STORE_CTX_get1_certs(ctx, issuer);
	X509_STORE_CTX_free(ctx);
	ERR_clear_error();
	bool there = sk_X509_num(known) > 0;
	sk_X509_pop_free(known, X509_free);
	if (there)
		return 0;
	auto_buf struct buf pem = BUF_INIT(ANCHORS_PEM_MAX);
	struct error ignored;
	if (from->find(from->context, (uint32_t)X509_NAME_hash_ex(issuer, NULL, NULL, NULL), &pem, err) < 0)
		return -1;
	/* Something else in the directory under that name is not what was looked for. Then the chain does not build,
	 * and that is said. */
	if (pem.len)
		anchors_add(a, pem.data, pem.len, &ignored);
	return 0;
}

int anchors_find(struct anchors *a, const struct chain *c, const struct anchors_source *from, struct error *err)
{
	if (want_issuer(a, c->leaf, from, err) < 0)
		return -1;
	for (int i = 0; i < sk_X509_num(c->rest); i++)
		if (want_issuer(a, sk_X509_value(c->rest, i), from, err) < 0)
			return -1;
	/* An intermediate may be among the anchors, too. */
	for (int before = -1, now = 0; before < now;) {
		STACK_OF(X509) *all = X509_STORE_get1_all_certs(a->store);
		before = now;
		now = sk_X509_num(all);
		int failed = 0;
		for (int i = 0; !failed && before < now && i < now; i++)
			failed = want_issuer(a, sk_X509_value(all, i), from, err) < 0;
		sk_X509_pop_free(all, X509_free);
		if (failed)
			return -1;
	}
	return 0;
}

X509 *anchors_issuer(const struct anchors *a, X509 *certificate)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	X509 *issuer = NULL;
	if (!ctx || X509_STORE_CTX_init(ctx, a->store, certificate, NULL) != 1)
		mem_abort(__func__);
	if (X509_STORE_CTX_get1_issuer(&issuer, ctx, certificate) != 1)
		issuer = NULL;
	X509_STORE_CTX_free(ctx);
	if (issuer && X509_verify(certificate, X509_get0_pubkey(issuer)) != 1)
		chain_free_x509(&issuer);
	ERR_clear_error();
	return issuer;
}

bool anchors_build(const struct anchors *a, X509 *certificate, STACK_OF(X509) * others, int64_t now)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	if (!ctx || X509_STORE_CTX_init(ctx, a->store, certificate, others) != 1)
		mem_abort(__func__);
	X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(ctx), (time_t)now);
	bool built = X509_verify_cert(ctx) == 1;
	X509_STORE_CTX_free(ctx);
	ERR_clear_error();
	return built;
}

void anchors_free(struct anchors *a)
{
	if (!a)
		return;
	X509_STORE_free(a->store);
	free(a);
}

/* ---- key-type, key-match ---- */

static bool is_default_key_type(const char *type)
{
	if (strcmp(type, "ecdsa-p256") == 0 || strcmp(type, "ecdsa-p384") == 0)
		return true;
	if (strncmp(type, "rsa-", 4) != 0)
		return false;
	long bits = strtol(type + 4, NULL, 10);
	return bits >= 2048 && bits <= 4096;
}

static int check_key_type(const struct chain_facts *f, const char *const *allowed, struct error *err)
{
	char wanted[256] = "ecdsa-p256, ecdsa-p384 or rsa of 2048 to 4096 bits";
	if (!allowed && is_default_key_type(f->key_type))
		return 0;
	for (size_t i = 0, used = 0; allowed && allowed[i]; i++) {
		if (strcmp(allowed[i], f->key_type) == 0)
			return 0;
		if (used < sizeof(wanted))
			used += (size_t)snprintf(
				wanted + used, sizeof(wanted) - used, "%s%s", i ? ", " : "", allowed[i]);
	}
	return error_set(err, ERROR_UNTRUSTED,
		"key-type: the certificate's key is %s, allowed is %s: have one issued with such a key", f->key_type,
		wanted);
}

/* Returns whether the public halves agree and the private half makes signatures that the leaf's key accepts: a key file
 * can hold a public half that does not belong to its private one. */
static bool key_signs_for(EVP_PKEY *key, X509 *leaf, bool vouched)
{
	EVP_PKEY *public_key = X509_get0_pubkey(leaf);
	bool matches = public_key && X509_check_private_key(leaf, key) == 1;
	ERR_clear_error();
	return matches && (vouched || chain_key_is_sound(key, public_key));
}

static void public_key_text(EVP_PKEY *key, char text[CHAIN_HEX_MAX])
{
	uint8_t digest[CHAIN_SHA256_SIZE] = {0};
	unsigned char *der = NULL;
	int len = key ? i2d_PUBKEY(key, &der) : -1;
	if (len > 0 && EVP_Digest(der, (size_t)len, digest, NULL, EVP_sha256(), NULL) != 1)
		mem_abort(__func__);
	OPENSSL_free(der);
	chain_hex(digest, text);
}

static int check_key_match(const struct chain *c, bool vouched, struct error *err)
{
	char leaf[CHAIN_HEX_MAX], key[CHAIN_HEX_MAX];
	if (!c->key)
		return error_set(
			err, ERROR_UNTRUSTED, "key-match: there is no private key beside the certificate: give both");
	if (key_signs_for(c->key, c->leaf, vouched))
		return 0;
	public_key_text(X509_get0_pubkey(c->leaf), leaf);
	public_key_text(c->key, key);
	if (strcmp(leaf, key) == 0)
		return error_set(err, ERROR_UNTRUSTED,
			"key-match: the private key names the public key %.16s of the certificate, "
			"but its signatures are not that key's: the key file is damaged, give the right one",
			leaf);
	return error_set(err, ERROR_UNTRUSTED,
		"key-match: the certificate is for the public key %.16s, the private key belongs to %.16s: "
		"give the key that the certificate was requested with",
		leaf, key);
}

/* ---- validity, purpose ---- */

static int check_validity(const struct chain_facts *f, int64_t now, struct error *err)
{
	char limit[CLOCK_TEXT_MAX], today[CLOCK_TEXT_MAX];
	if (now < f->not_before)
		return error_set(err, ERROR_UNTRUSTED,
			"validity: the certificate is valid from %s, it is %s now: look at this machine's "
			"clock, or wait",
			clock_text(f->not_before, limit), clock_text(now, today));
	if (now >= f->not_after) /* as OpenSSL has it: the last second is over */
		return error_set(err, ERROR_UNTRUSTED,
			"validity: the certificate expired at %s, it is %s now: renew it, or look at this "
			"machine's clock",
			clock_text(f->not_after, limit), clock_text(now, today));
	return 0;
}

static void usage_text(X509 *leaf, char *text, size_t size)
{
	EXTENDED_KEY_USAGE *usages = X509_get_ext_d2i(leaf, NID_ext_key_usage, NULL, NULL);
	size_t used = 0;
	snprintf(text, size, "none that serves TLS");
	for (int i = 0; i < sk_ASN1_OBJECT_num(usages) && used < size; i++) {
		char name[80];
		OBJ_obj2txt(name, sizeof(name), sk_ASN1_OBJECT_value(usages, i), 0);
		used += (size_t)snprintf(text + used, size - used, "%s%s", i ? ", " : "", name);
	}
	EXTENDED_KEY_USAGE_free(usages);
}

static int check_purpose(X509 *leaf, struct error *err)
{
	char usage[256];
	if (X509_check_purpose(leaf, X509_PURPOSE_SSL_SERVER, 0) == 1)
		return 0;
	usage_text(leaf, usage, sizeof(usage));
	return error_set(err, ERROR_UNTRUSTED,
		"purpose: the certificate is for %s, wanted is TLS Web Server Authentication: "
		"have one issued with serverAuth",
		usage);
}

/* ---- chain ---- */

static int chain_refusal(X509_STORE_CTX *ctx, int64_t now, struct error *err)
{
	int code = X509_STORE_CTX_get_error(ctx), depth = X509_STORE_CTX_get_error_depth(ctx);
	X509 *at = X509_STORE_CTX_get_current_cert(ctx);
	char subject[256] = "?", issuer[256] = "?", today[CLOCK_TEXT_MAX];
	if (at) {
		X509_NAME_oneline(X509_get_subject_name(at), subject, sizeof(subject));
		X509_NAME_oneline(X509_get_issuer_name(at), issuer, sizeof(issuer));
	}
	const char *rule = code == X509_V_ERR_INVALID_PURPOSE                                  ? "purpose"
		: code == X509_V_ERR_CERT_HAS_EXPIRED || code == X509_V_ERR_CERT_NOT_YET_VALID ? "validity"
											       : "chain";
	return error_set(err, ERROR_UNTRUSTED,
		"%s: %s at depth %d, %s issued by %s, at %s: give every intermediate certificate, "
		"or name the root in anchors",
		rule, X509_verify_cert_error_string(code), depth, subject, issuer, clock_text(now, today));
}

static int strict_refusal(X509_STORE_CTX *ctx, struct error *err)
{
	int code = X509_STORE_CTX_get_error(ctx), depth = X509_STORE_CTX_get_error_depth(ctx);
	X509 *at = X509_STORE_CTX_get_current_cert(ctx);
	char subject[200] = "?";
	if (at)
		X509_NAME_oneline(X509_get_subject_name(at), subject, sizeof(subject));
	return error_set(err, ERROR_UNTRUSTED,
		"strict: %s at depth %d, %s: clients that hold to RFC 5280 refuse it, Python from 3.13 on is one: "
		"have one issued without that fault",
		X509_verify_cert_error_string(code), depth, subject);
}

static int check_builds(
	X509 *leaf, STACK_OF(X509) * rest, const struct anchors *anchors, int64_t now, bool strict, struct error *err)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	if (!ctx || X509_STORE_CTX_init(ctx, anchors->store, leaf, rest) != 1 ||
		X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER) != 1)
		mem_abort(__func__);
	X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
	X509_VERIFY_PARAM_set_time(param, (time_t)now);
	/* Level 2 is 112 bits, which Debian's OpenSSL asks of a chain before it serves or accepts it. */
	X509_VERIFY_PARAM_set_auth_level(param, 2);
	if (strict)
		X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT);
	int result = X509_verify_cert(ctx) == 1 ? 0 : strict ? strict_refusal(ctx, err) : chain_refusal(ctx, now, err);
	X509_STORE_CTX_free(ctx);
	ERR_clear_error();
	return result;
}

/* A client may be strict about what the server sends, so each certificate must have issued the one before it. */
static int check_order(const struct chain *c, struct error *err)
{
	X509 *subject = c->leaf;
	for (int i = 0; i < sk_X509_num(c->rest); i++) {
		X509 *issuer = sk_X509_value(c->rest, i);
		char subject_text[256], issuer_text[256];
		if (X509_check_issued(issuer, subject) != X509_V_OK) {
			X509_NAME_oneline(X509_get_subject_name(subject), subject_text, sizeof(subject_text));
			X509_NAME_oneline(X509_get_subject_name(issuer), issuer_text, sizeof(issuer_text));
			return error_set(err, ERROR_UNTRUSTED,
				"chain: %s stands behind %s and has not issued it: put the leaf first, "
				"then each issuer behind what it issued",
				issuer_text, subject_text);
		}
		subject = issuer;
	}
	return 0;
}

/* ---- names, allow ---- */

static void names_text(const struct chain_facts *f, char *text, size_t size)
{
	size_t used = 0;
	snprintf(text, size, "none");
	for (size_t i = 0; i < f->name_count && used < size; i++)
		used += (size_t)snprintf(text + used, size - used, "%s%s", i ? ", " : "", f->names[i]);
}

/* Writes an address in its canonical form, or "" when the text is not an address. */
static const char *address_text(const char *text, char *canonical, size_t size)
{
	unsigned char bytes[16];
	int family = inet_pton(AF_INET, text, bytes) == 1 ? AF_INET : AF_INET6;
	canonical[0] = '\0';
	if (family == AF_INET || inet_pton(AF_INET6, text, bytes) == 1)
		inet_ntop(family, bytes, canonical, (socklen_t)size);
	return canonical;
}

/* An address equals an address; no wildcard covers one. */
static bool pattern_covers(const char *pattern, const char *name)
{
	char pattern_address[INET6_ADDRSTRLEN], name_address[INET6_ADDRSTRLEN];
	address_text(pattern, pattern_address, sizeof(pattern_address));
	address_text(name, name_address, sizeof(name_address));
	if (*pattern_address || *name_address)
		return strcmp(pattern_address, name_address) == 0;
	return name_covers(pattern, name);
}

const char *verify_names(char *const *names, size_t count, const char *const *wanted)
{
	for (; wanted && *wanted; wanted++) {
		bool covered = false;
		for (size_t i = 0; i < count && !covered; i++)
			covered = pattern_covers(names[i], *wanted);
		if (!covered)
			return *wanted;
	}
	return NULL;
}

static int check_names(const struct chain_facts *f, const char *const *required, struct error *err)
{
	char names[400];
	names_text(f, names, sizeof(names));
	if (!f->name_count)
		return error_set(err, ERROR_UNTRUSTED,
			"names: the certificate has no subject alternative name, and clients look at nothing "
			"else: "
			"have one issued with its names there");
	const char *missing = verify_names(f->names, f->name_count, required);
	return !missing ? 0
			: error_set(err, ERROR_UNTRUSTED,
				  "names: %s is required, the certificate is for %s: "
				  "have one issued for all names, or correct the configuration",
				  missing, names);
}

static int allow_refusal(const char *name, const char *const *allow, struct error *err)
{
	char patterns[400] = "nothing";
	size_t used = 0;
	for (size_t i = 0; allow[i] && used < sizeof(patterns); i++)
		used += (size_t)snprintf(patterns + used, sizeof(patterns) - used, "%s%s", i ? ", " : "", allow[i]);
	return error_set(err, ERROR_UNTRUSTED,
		"allow: the certificate is for %s too, allowed is %s: add it to allow if this node may "
		"present it",
		name, patterns);
}

/* Names that no TLS client looks at (addresses of mail, URIs, otherName of a directory) give nobody anything that `allow`
 * could keep, so they are passed over (RFC 6125 section 6.4: dNSName and iPAddress are what is matched). */
static int check_allow(const struct chain_facts *f, const char *const *allow, struct error *err)
{
	if (!allow)
		return 0;
	for (size_t i = 0; i < f->name_count; i++) {
		bool allowed = false;
		for (size_t k = 0; allow[k] && !allowed; k++)
			allowed = pattern_covers(allow[k], f->names[i]);
		if (!allowed)
			return allow_refusal(f->names[i], allow, err);
	}
	return 0;
}

/* ---- sooner ---- */

static int check_sooner(const struct chain_facts *f, const struct verify_policy *p, struct error *err)
{
	char fresh[CLOCK_TEXT_MAX], old[CLOCK_TEXT_MAX];
	if (!p->replaces_not_after || p->may_expire_sooner || f->not_after >= p->replaces_not_after)
		return 0;
	return error_set(err, ERROR_UNTRUSTED,
		"sooner: the certificate expires at %s, the one it would replace at %s: "
		"renew it, or say at the hub that it may expire sooner",
		clock_text(f->not_after, fresh), clock_text(p->replaces_not_after, old));
}

/* ---- all rules ---- */

/* What is served elsewhere may have more names; what is published has to fit into records and messages. */
static int check_name_count(const struct chain_facts *f, struct error *err)
{
	if (chain_names_fitting(f) == f->name_count)
		return 0;
	return error_set(err, ERROR_UNTRUSTED,
		"names: the certificate has %zu names; up to %d names of %d bytes together are taken: divide it",
		f->name_count, CHAIN_NAMES_MAX, CHAIN_NAMES_TEXT_MAX);
}

static int verify_facts(
	const struct chain *c, const struct chain_facts *f, const struct verify_policy *p, struct error *err)
{
	if (check_key_type(f, p->key_types, err) < 0 || check_key_match(c, p->key_is_vouched, err) < 0 ||
		check_validity(f, p->now, err) < 0 || check_purpose(c->leaf, err) < 0 || check_name_count(f, err) < 0 ||
		check_names(f, p->required, err) < 0 || check_allow(f, p->allow, err) < 0 || check_order(c, err) < 0 ||
		check_builds(c->leaf, c->rest, p->anchors, p->now, false, err) < 0)
		return -1;
	return check_sooner(f, p, err);
}

int verify_chain(const struct chain *c, const struct verify_policy *policy, struct error *err)
{
	struct chain_facts f;
	if (chain_facts(c->leaf, &f, err) < 0)
		return -1;
	int result = verify_facts(c, &f, policy, err);
	chain_facts_release(&f);
	return result;
}

int verify_served(X509 *leaf, STACK_OF(X509) * rest, const char *name, const struct anchors *anchors, int64_t now,
	struct error *err)
{
	struct chain_facts f;
	const char *const required[] = {name, NULL};
	if (chain_facts(leaf, &f, err) < 0)
		return -1;
	int failed = check_validity(&f, now, err) < 0 || check_purpose(leaf, err) < 0 ||
		check_names(&f, required, err) < 0 || check_builds(leaf, rest, anchors, now, false, err) < 0;
	chain_facts_release(&f);
	return failed ? -1 : 0;
}

int verify_strict(X509 *leaf, STACK_OF(X509) * rest, const struct anchors *anchors, int64_t now, struct error *err)
{
	return check_builds(leaf, rest, anchors, now, true, err);
}

/* ---- forward only ---- */

int verify_revision(struct revision offered, const uint8_t offered_digest[CHAIN_SHA256_SIZE],
	struct revision high_water, const uint8_t high_water_digest[CHAIN_SHA256_SIZE], struct error *err)
{
	char offered_text[REVISION_TEXT_MAX], high_text[REVISION_TEXT_MAX];
	char offered_hex[CHAIN_HEX_MAX], high_hex[CHAIN_HEX_MAX];
	int order = revision_compare(offered, high_water);
	revision_text(offered, offered_text);
	revision_text(high_water, high_text);
	if (revision_is_placeholder(offered))
		return error_set(err, ERROR_UNTRUSTED,
			"revision: %s is the placeholder's and never sent, this node has %s: look at the "
			"hub's history",
			offered_text, high_text);
	if (order > 0)
		return 0;
	if (order < 0)
		return error_set(err, ERROR_UNTRUSTED,
			"revision: %s is offered, this node has seen %s: revisions only go forward; "
			"if the hub was restored from a backup, recover it",
			offered_text, high_text);
	if (memcmp(offered_digest, high_water_digest, CHAIN_SHA256_SIZE) == 0)
		return 0;
	return error_set(err, ERROR_UNTRUSTED,
		"digest: revision %s is offered with content %.16s, this node has seen it with %.16s: "
		"publish it at the hub again, which makes a new revision",
		offered_text, chain_hex(offered_digest, offered_hex), chain_hex(high_water_digest, high_hex));
}
