/* Each rule by which a chain is verified: what it accepts, and the name and the reason with which it refuses. */
#include "lib/core/mem.h"
#include "lib/crypto/chain_order.h"
#include "lib/crypto/verify.h"
#include "tests/unit/issue.h"

#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static struct error err;
static struct issued root, middle, leaf;
static char directory[] = P_tmpdir "/certsync-test-XXXXXX", root_file[64];
static struct anchors *anchors;

static void write_pem(const char *path, const struct issued *which)
{
	auto_chain struct chain c = issued_chain(which, NULL, 0);
	auto_buf struct buf b = BUF_INIT(CHAIN_PEM_MAX);
	assert_int_equal(chain_write_pem(&c, CHAIN_LEAF, &b, &err), 0);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(b.data, 1, b.len, f), b.len);
	assert_int_equal(fclose(f), 0);
}

static int make_world(void **state)
{
	(void)state;
	root = issue((struct wish){.subject = "Root", .authority = true});
	middle = issue((struct wish){.subject = "Middle", .issuer = &root, .authority = true});
	leaf = issue((struct wish){.subject = "x", .issuer = &middle, .san = "DNS:mail.domain.pl,DNS:smtp.domain.pl"});
	assert_non_null(mkdtemp(directory));
	snprintf(root_file, sizeof(root_file), "%s/root.pem", directory);
	write_pem(root_file, &root);
	anchors = anchors_load(root_file, &err);
	return anchors ? 0 : -1;
}

static int free_world(void **state)
{
	(void)state;
	anchors_free(anchors);
	issued_release(&root);
	issued_release(&middle);
	issued_release(&leaf);
	unlink(root_file);
	return rmdir(directory);
}

static struct verify_policy policy(void)
{
	return (struct verify_policy){.anchors = anchors, .now = ISSUE_NOW};
}

/* Returns a chain of the leaf with the usual intermediate behind it. */
static struct chain behind_middle(const struct issued *which)
{
	const struct issued *rest[] = {&middle};
	return issued_chain(which, rest, 1);
}

static struct issued leaf_with(struct wish w)
{
	w.subject = "x";
	w.issuer = w.issuer ? w.issuer : &middle;
	w.san = w.san ? w.san : "DNS:mail.domain.pl";
	return issue(w);
}

static void assert_accepted(const struct chain *c, const struct verify_policy *p)
{
	if (verify_chain(c, p, &err) < 0)
		fail_msg("refused: %s", err.message);
}

static void assert_says(const char *rule, const char *first, const char *second)
{
	assert_int_equal(err.kind, ERROR_UNTRUSTED);
	size_t len = strlen(rule);
	if (strncmp(err.message, rule, len) != 0 || strncmp(err.message + len, ": ", 2) != 0)
		fail_msg("\"%s\" does not begin with \"%s: \"", err.message, rule);
	if (!strstr(err.message, first) || !strstr(err.message, second))
		fail_msg("\"%s\" does not name both \"%s\" and \"%s\"", err.message, first, second);
}

static void assert_refused(
	const struct chain *c, const struct verify_policy *p, const char *rule, const char *first, const char *second)
{
	if (verify_chain(c, p, &err) == 0)
		fail_msg("accepted, but %s is broken", rule);
	assert_says(rule, first, second);
}

/* Makes such a leaf behind the usual intermediate, and checks how `p` judges it. */
static void assert_leaf_refused(
	struct wish w, struct verify_policy p, const char *rule, const char *first, const char *second)
{
	struct issued one = leaf_with(w);
	auto_chain struct chain c = behind_middle(&one);
	assert_refused(&c, &p, rule, first, second);
	issued_release(&one);
}

static void assert_leaf_accepted(struct wish w, struct verify_policy p)
{
	struct issued one = leaf_with(w);
	auto_chain struct chain c = behind_middle(&one);
	assert_accepted(&c, &p);
	issued_release(&one);
}

/* ---- what is accepted ---- */

static void a_sound_chain_is_accepted(void **state)
{
	(void)state;
	auto_chain struct chain c = behind_middle(&leaf);
	struct verify_policy p = policy();
	static const char *const required[] = {"mail.domain.pl", "SMTP.domain.pl", NULL};
	static const char *const allow[] = {"*.domain.pl", NULL};
	p.required = required;
	p.allow = allow;
	assert_accepted(&c, &p);
}

static void the_root_may_stand_at_the_end(void **state)
{
	(void)state;
	const struct issued *rest[] = {&middle, &root};
	auto_chain struct chain c = issued_chain(&leaf, rest, 2);
	struct verify_policy p = policy();
	assert_accepted(&c, &p);
}

static void a_hash_directory_serves_as_anchors(void **state)
{
	(void)state;
	char sub[64], hashed[96];
	snprintf(sub, sizeof(sub), "%s/anchors", directory);
	snprintf(hashed, sizeof(hashed), "%s/%08lx.0", sub, X509_subject_name_hash(root.certificate));
	assert_int_equal(mkdir(sub, 0700), 0);
	assert_null(anchors_load(sub, &err));
	assert_non_null(strstr(err.message, "openssl rehash"));
	write_pem(hashed, &root);
	struct anchors *loaded = anchors_load(sub, &err);
	assert_non_null(loaded);
	auto_chain struct chain c = behind_middle(&leaf);
	struct verify_policy p = policy();
	p.anchors = loaded;
	assert_accepted(&c, &p);
	anchors_free(loaded);
	unlink(hashed);
	assert_int_equal(rmdir(sub), 0);
}

static void the_system_s_anchors_are_the_default(void **state)
{
	(void)state;
	auto_chain struct chain c = behind_middle(&leaf);
	struct verify_policy p = policy();
	struct anchors *system = anchors_load(NULL, &err);
	assert_non_null(system);
	p.anchors = system;
	assert_refused(&c, &p, "chain", "Middle", "Root");
	anchors_free(system);
	setenv("SSL_CERT_FILE", root_file, 1);
	p.anchors = system = anchors_load("", &err);
	assert_accepted(&c, &p);
	anchors_free(system);
	unsetenv("SSL_CERT_FILE");
}

static void a_self_signed_certificate_can_be_its_own_anchor(void **state)
{
	(void)state;
	struct issued alone = issue((struct wish){.subject = "alone", .san = "DNS:alone.pl"});
	auto_chain struct chain c = issued_chain(&alone, NULL, 0);
	struct verify_policy p = policy();
	char path[64];
	assert_refused(&c, &p, "chain", "self", "CN=alone");
	snprintf(path, sizeof(path), "%s/alone.pem", directory);
	write_pem(path, &alone);
	struct anchors *own = anchors_load(path, &err);
	p.anchors = own;
	assert_accepted(&c, &p);
	anchors_free(own);
	unlink(path);
	issued_release(&alone);
}

static void anchors_that_cannot_be_loaded_are_named(void **state)
{
	(void)state;
	char path[64];
	snprintf(path, sizeof(path), "%s/nothing.pem", directory);
	assert_null(anchors_load(path, &err));
	assert_int_equal(err.kind, ERROR_PERMANENT);
	assert_non_null(strstr(err.message, path));
	fclose(fopen(path, "w"));
	assert_null(anchors_load(path, &err));
	assert_non_null(strstr(err.message, path));
	unlink(path);
}

/* A name of eight digits alone does not make a hashed directory; and when no descriptor is free, the directory is not
 * taken for an empty one. */
static void a_directory_without_hashed_names_is_no_anchors(void **state)
{
	(void)state;
	char path[64];
	struct rlimit before;
	snprintf(path, sizeof(path), "%s/deadbeef-0", directory);
	fclose(fopen(path, "w"));
	assert_null(anchors_load(directory, &err));
	assert_non_null(strstr(err.message, "openssl rehash"));
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	const struct rlimit none = {0, before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	struct anchors *got = anchors_load(directory, &err);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_null(got);
	assert_non_null(strstr(err.message, "Too many open files"));
	unlink(path);
}

/* The issuer that a server leaves out is found among the anchors by its signature, and not by its name alone. */
static void an_issuer_is_known_by_its_signature(void **state)
{
	(void)state;
	struct issued impostor = issue((struct wish){.subject = "Root", .authority = true});
	struct issued forged = leaf_with((struct wish){.issuer = &impostor, .bare = true});
	X509 *found = anchors_issuer(anchors, middle.certificate);
	assert_non_null(found);
	assert_int_equal(X509_cmp(found, root.certificate), 0);
	X509_free(found);
	assert_null(anchors_issuer(anchors, leaf.certificate));
	assert_null(anchors_issuer(anchors, forged.certificate));
	issued_release(&forged);
	issued_release(&impostor);
}

/* ---- refusals that have more to tell than there is room for ---- */

static void list_many(char *text, size_t size, const char *before, const char *after, int count)
{
	size_t used = 0;
	for (int i = 0; i < count; i++)
		used += (size_t)snprintf(text + used, size - used, "%s%s%d%s", i ? "," : "", before, 100 + i, after);
	assert_true(used < size);
}

static void long_lists_are_told_as_far_as_there_is_room(void **state)
{
	(void)state;
	static char text[8192];
	const char *many[65] = {0};
	const char *const required[] = {"other.domain.pl", NULL};
	struct verify_policy p = policy();
	for (size_t i = 0; i < 64; i++)
		many[i] = "rsa-2048";
	p.key_types = many;
	assert_leaf_refused((struct wish){0}, p, "key-type", "ecdsa-p256", "rsa-2048, rsa-2048");
	for (size_t i = 0; i < 64; i++)
		many[i] = "*.another.domain.pl";
	p = policy();
	p.allow = many;
	assert_leaf_refused((struct wish){0}, p, "allow", "mail.domain.pl", "*.another.domain.pl");
	list_many(text, sizeof(text), "DNS:host", ".some.where.domain.pl", 80);
	p = policy();
	p.required = required;
	assert_leaf_refused((struct wish){.san = text}, p, "names", "other.domain.pl", "host100.some.where.domain.pl");
	list_many(text, sizeof(text), "1.3.6.1.4.1.55555.1.2.3.4.", "", 60);
	assert_leaf_refused((struct wish){.usage = text}, policy(), "purpose", "1.3.6.1.4.1.55555.1.2.3.4.100",
		"TLS Web Server Authentication");
}

/* ---- key-match ---- */

static void a_key_of_another_certificate_is_refused(void **state)
{
	(void)state;
	auto_chain struct chain c = behind_middle(&leaf);
	struct verify_policy p = policy();
	chain_free_pkey(&c.key);
	assert_refused(&c, &p, "key-match", "no private key", "certificate");
	static const char *const types[] = {"ecdsa-p256", "ecdsa-p384", "rsa-2048", "ed25519"};
	for (size_t i = 0; i < COUNT(types); i++) {
		c.key = issue_key(types[i]);
		assert_refused(&c, &p, "key-match", "the public key ", "belongs to ");
		chain_free_pkey(&c.key);
	}
}

/* Makes a key whose public half is the certificate's and whose private half is another's; a comparison of public halves
 * would accept it. */
static EVP_PKEY *crossed_key(EVP_PKEY *public_key, EVP_PKEY *private_key)
{
	uint8_t point[256];
	size_t len;
	BIGNUM *scalar = NULL;
	assert_int_equal(
		EVP_PKEY_get_octet_string_param(public_key, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point), &len), 1);
	assert_int_equal(EVP_PKEY_get_bn_param(private_key, OSSL_PKEY_PARAM_PRIV_KEY, &scalar), 1);
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0);
	OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, len);
	OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_PRIV_KEY, scalar);
	EVP_PKEY *key = issue_key_of("EC", EVP_PKEY_KEYPAIR, build);
	BN_free(scalar);
	return key;
}

static void a_key_that_only_claims_the_public_half_is_refused(void **state)
{
	(void)state;
	auto_chain struct chain c = behind_middle(&leaf);
	struct verify_policy p = policy();
	chain_free_pkey(&c.key);
	c.key = crossed_key(leaf.key, middle.key);
	assert_int_equal(X509_check_private_key(c.leaf, c.key), 1);
	assert_refused(&c, &p, "key-match", "the key file is damaged", "public key");
}

/* ---- key-type ---- */

static void weak_and_unusual_keys_are_refused(void **state)
{
	(void)state;
	assert_leaf_refused((struct wish){.key_type = "rsa-1024"}, policy(), "key-type", "rsa-1024", "2048");
	assert_leaf_refused((struct wish){.key_type = "ed25519"}, policy(), "key-type", "key is ed25519", "ecdsa-p256");
	assert_leaf_refused((struct wish){.key_type = "rsa-4104"}, policy(), "key-type", "rsa-4104", "4096");
	assert_leaf_accepted((struct wish){.key_type = "rsa-2048"}, policy());
	assert_leaf_accepted((struct wish){.key_type = "rsa-3072"}, policy());
	assert_leaf_accepted((struct wish){.key_type = "ecdsa-p384"}, policy());
}

static void a_key_type_outside_the_configured_ones_is_refused(void **state)
{
	(void)state;
	static const char *const types[] = {"ecdsa-p384", "rsa-2048", NULL};
	struct verify_policy p = policy();
	p.key_types = types;
	assert_leaf_refused((struct wish){0}, p, "key-type", "ecdsa-p256", "ecdsa-p384, rsa-2048");
	assert_leaf_accepted((struct wish){.key_type = "rsa-2048"}, p);
}

/* ---- chain ---- */

static void a_missing_intermediate_is_refused(void **state)
{
	(void)state;
	auto_chain struct chain c = issued_chain(&leaf, NULL, 0);
	struct verify_policy p = policy();
	assert_refused(&c, &p, "chain", "unable to get local issuer", "CN=Middle");
}

static void a_chain_out_of_order_is_refused(void **state)
{
	(void)state;
	struct issued lower = issue((struct wish){.subject = "Lower", .issuer = &middle, .authority = true});
	struct issued low_leaf = leaf_with((struct wish){.issuer = &lower});
	const struct issued *right[] = {&lower, &middle}, *wrong[] = {&middle, &lower},
			    *twice[] = {&lower, &lower, &middle};
	struct verify_policy p = policy();
	auto_chain struct chain good = issued_chain(&low_leaf, right, 2), bad = issued_chain(&low_leaf, wrong, 2);
	auto_chain struct chain doubled = issued_chain(&low_leaf, twice, 3);
	assert_accepted(&good, &p);
	assert_refused(&bad, &p, "chain", "CN=Middle stands behind", "CN=x");
	assert_refused(&doubled, &p, "chain", "CN=Lower stands behind", "CN=Lower");
	assert_int_equal(chain_order(&bad, NULL, ISSUE_NOW, &err), 0);
	assert_accepted(&bad, &p);
	issued_release(&lower);
	issued_release(&low_leaf);
}

static void an_authority_that_is_not_trusted_is_refused(void **state)
{
	(void)state;
	struct issued rogue = issue((struct wish){.subject = "Root", .authority = true});
	struct issued rogue_middle = issue((struct wish){.subject = "Middle", .issuer = &rogue, .authority = true});
	struct issued rogue_leaf = leaf_with((struct wish){.issuer = &rogue_middle});
	const struct issued *with_root[] = {&rogue_middle, &rogue};
	struct verify_policy p = policy();
	auto_chain struct chain c = issued_chain(&rogue_leaf, with_root, 2);
	assert_refused(&c, &p, "chain", "self-signed certificate in certificate chain", "CN=Root");
	auto_chain struct chain without = issued_chain(&rogue_leaf, with_root, 1);
	assert_refused(&without, &p, "chain", "CN=Middle", "CN=Root");
	/* The leaf of the impostor stands behind the true authority, which has the same name. */
	auto_chain struct chain mixed = behind_middle(&rogue_leaf);
	assert_refused(&mixed, &p, "chain", "CN=x", "CN=Middle");
	issued_release(&rogue);
	issued_release(&rogue_middle);
	issued_release(&rogue_leaf);
}

static void a_leaf_that_plays_authority_is_refused(void **state)
{
	(void)state;
	struct issued below = leaf_with((struct wish){.issuer = &leaf});
	const struct issued *rest[] = {&leaf, &middle};
	struct verify_policy p = policy();
	auto_chain struct chain c = issued_chain(&below, rest, 2);
	assert_refused(&c, &p, "chain", "CN=x", "CN=x");
	issued_release(&below);
}

static void an_intermediate_is_no_anchor(void **state)
{
	(void)state;
	char path[64];
	snprintf(path, sizeof(path), "%s/middle.pem", directory);
	write_pem(path, &middle);
	struct anchors *partial = anchors_load(path, &err);
	struct verify_policy p = policy();
	p.anchors = partial;
	auto_chain struct chain c = behind_middle(&leaf);
	assert_refused(&c, &p, "chain", "issuer certificate", "CN=Root");
	anchors_free(partial);
	unlink(path);
}

static void a_weak_intermediate_is_refused(void **state)
{
	(void)state;
	struct issued weak =
		issue((struct wish){.subject = "Weak", .issuer = &root, .authority = true, .key_type = "rsa-1024"});
	struct issued weak_leaf = leaf_with((struct wish){.issuer = &weak});
	const struct issued *rest[] = {&weak};
	struct verify_policy p = policy();
	auto_chain struct chain c = issued_chain(&weak_leaf, rest, 1);
	assert_refused(&c, &p, "chain", "too weak", "CN=Weak");
	issued_release(&weak);
	issued_release(&weak_leaf);
}

/* ---- validity ---- */

static void a_certificate_is_valid_between_its_two_instants(void **state)
{
	(void)state;
	struct verify_policy p = policy();
	auto_chain struct chain c = behind_middle(&leaf);
	p.now = ISSUE_NOW - ISSUE_DAY;
	assert_accepted(&c, &p);
	p.now--;
	assert_refused(&c, &p, "validity", "2027-01-14T08:00:00Z", "2027-01-14T07:59:59Z");
	p.now = ISSUE_NOW + 90 * ISSUE_DAY - 1;
	assert_accepted(&c, &p);
	p.now++;
	assert_refused(&c, &p, "validity", "expired at 2027-04-15T08:00:00Z", "it is 2027-04-15T08:00:00Z");
	p.now += 400 * ISSUE_DAY;
	assert_refused(&c, &p, "validity", "2027-04-15T08:00:00Z", "2028-05-19T08:00:00Z");
}

static void an_expired_intermediate_is_refused(void **state)
{
	(void)state;
	struct issued old = issue((struct wish){.subject = "Old",
		.issuer = &root,
		.authority = true,
		.from = ISSUE_NOW - 9 * ISSUE_DAY,
		.to = ISSUE_NOW - 8 * ISSUE_DAY});
	struct issued old_leaf = leaf_with((struct wish){.issuer = &old});
	const struct issued *rest[] = {&old};
	struct verify_policy p = policy();
	auto_chain struct chain c = issued_chain(&old_leaf, rest, 1);
	assert_refused(&c, &p, "validity", "CN=Old", "2027-01-15T08:00:00Z");
	issued_release(&old);
	issued_release(&old_leaf);
}

/* ---- purpose ---- */

static void a_certificate_for_something_else_is_refused(void **state)
{
	(void)state;
	assert_leaf_refused((struct wish){.usage = "clientAuth"}, policy(), "purpose", "Client Authentication",
		"TLS Web Server Authentication");
	assert_leaf_refused((struct wish){.usage = "codeSigning,emailProtection"}, policy(), "purpose",
		"Code Signing, E-mail Protection", "TLS Web Server Authentication");
	assert_leaf_accepted((struct wish){.usage = "clientAuth,serverAuth"}, policy());
	assert_leaf_accepted((struct wish){.usage = ""}, policy());
}

static void an_intermediate_for_something_else_is_refused(void **state)
{
	(void)state;
	struct issued clients =
		issue((struct wish){.subject = "Clients", .issuer = &root, .authority = true, .usage = "clientAuth"});
	struct issued one = leaf_with((struct wish){.issuer = &clients});
	const struct issued *rest[] = {&clients};
	struct verify_policy p = policy();
	auto_chain struct chain c = issued_chain(&one, rest, 1);
	assert_refused(&c, &p, "purpose", "CN=Clients", "CN=Root");
	issued_release(&clients);
	issued_release(&one);
}

/* ---- names ---- */

static void require(const char *name, const char *san, bool covered)
{
	const char *const required[] = {name, NULL};
	struct verify_policy p = policy();
	p.required = required;
	if (covered)
		assert_leaf_accepted((struct wish){.san = san}, p);
	else
		assert_leaf_refused((struct wish){.san = san}, p, "names", name, strchr(san, ':') + 1);
}

static void every_required_name_must_be_covered(void **state)
{
	(void)state;
	require("mail.domain.pl", "DNS:mail.domain.pl", true);
	require("mail.domain.pl", "DNS:MAIL.domain.pl", true);
	require("mail.domain.pl", "DNS:*.domain.pl", true);
	require("*.domain.pl", "DNS:*.domain.pl", true);
	require("mail.domain.pl", "DNS:smtp.domain.pl", false);
	require("domain.pl", "DNS:*.domain.pl", false);
	require("a.mail.domain.pl", "DNS:*.domain.pl", false);
	require("*.domain.pl", "DNS:mail.domain.pl", false);
	require("10.0.0.1", "IP:10.0.0.1", true);
	require("2001:db8:0::1", "IP:2001:db8::1", true);
	require("10.0.0.1", "IP:10.0.0.2", false);
	require("10.0.0.1", "DNS:*.0.0.1", false);
}

static void the_second_of_two_required_names_counts_too(void **state)
{
	(void)state;
	static const char *const required[] = {"mail.domain.pl", "imap.domain.pl", NULL};
	struct verify_policy p = policy();
	p.required = required;
	assert_leaf_refused((struct wish){0}, p, "names", "imap.domain.pl", "mail.domain.pl");
}

static void a_common_name_is_not_a_name(void **state)
{
	(void)state;
	static const char *const required[] = {"mail.domain.pl", NULL};
	struct issued one = issue((struct wish){.subject = "mail.domain.pl", .issuer = &middle});
	auto_chain struct chain c = behind_middle(&one);
	struct verify_policy p = policy();
	p.required = required;
	assert_refused(&c, &p, "names", "no subject alternative name", "issued");
	issued_release(&one);
}

/* ---- allow ---- */

static void allow_only(const char *pattern, const char *san, const char *outside)
{
	const char *const allow[] = {"listed.pl", pattern, NULL};
	struct verify_policy p = policy();
	p.allow = allow;
	if (outside)
		assert_leaf_refused((struct wish){.san = san}, p, "allow", outside, pattern);
	else
		assert_leaf_accepted((struct wish){.san = san}, p);
}

static void no_name_may_lie_outside_allow(void **state)
{
	(void)state;
	allow_only("*.domain.pl", "DNS:mail.domain.pl,DNS:listed.pl", NULL);
	allow_only("*.domain.pl", "DNS:*.domain.pl", NULL);
	allow_only("*.domain.pl", "DNS:mail.domain.pl,DNS:bank.pl", "bank.pl");
	allow_only("*.domain.pl", "DNS:domain.pl", "domain.pl");
	allow_only("*.domain.pl", "DNS:a.mail.domain.pl", "a.mail.domain.pl");
	allow_only("mail.domain.pl", "DNS:*.domain.pl", "*.domain.pl");
	allow_only("mail.domain.pl", "DNS:*.pl", "*.pl");
}

static void addresses_lie_outside_unless_listed(void **state)
{
	(void)state;
	allow_only("*.domain.pl", "DNS:mail.domain.pl,IP:10.0.0.1", "10.0.0.1");
	allow_only("10.0.0.1", "IP:10.0.0.1", NULL);
	allow_only("2001:DB8::0:1", "IP:2001:db8::1", NULL);
	allow_only("*.0.0.1", "IP:10.0.0.1", "10.0.0.1");
	assert_leaf_accepted((struct wish){.san = "DNS:mail.domain.pl,IP:10.0.0.1"}, policy());
}

/* A directory's authority, such as FreeIPA's or AD CS, puts the principal's name beside the host's. */
static void names_that_no_client_looks_at_need_no_allow(void **state)
{
	(void)state;
	allow_only("*.domain.pl", "DNS:mail.domain.pl,email:root@domain.pl", NULL);
	allow_only("*.domain.pl", "URI:spiffe://domain.pl/mail,DNS:mail.domain.pl", NULL);
	allow_only("*.domain.pl", "DNS:mail.domain.pl,otherName:1.3.6.1.4.1.311.20.2.3;UTF8:mail@DOMAIN.PL", NULL);
	allow_only("*.domain.pl", "DNS:bank.pl,otherName:1.3.6.1.4.1.311.20.2.3;UTF8:mail@DOMAIN.PL", "bank.pl");
}

static void an_empty_allow_allows_nothing(void **state)
{
	(void)state;
	static const char *const allow[] = {NULL};
	struct verify_policy p = policy();
	p.allow = allow;
	assert_leaf_refused((struct wish){0}, p, "allow", "mail.domain.pl", "nothing");
}

/* ---- sooner ---- */

static void a_certificate_that_expires_sooner_replaces_nothing_unless_told(void **state)
{
	(void)state;
	struct verify_policy p = policy();
	auto_chain struct chain c = behind_middle(&leaf);
	p.replaces_not_after = ISSUE_NOW + 90 * ISSUE_DAY;
	assert_accepted(&c, &p);
	p.replaces_not_after++;
	assert_refused(&c, &p, "sooner", "2027-04-15T08:00:00Z", "2027-04-15T08:00:01Z");
	p.may_expire_sooner = true;
	assert_accepted(&c, &p);
}

static void being_told_so_excuses_nothing_else(void **state)
{
	(void)state;
	struct verify_policy p = policy();
	p.may_expire_sooner = true;
	p.now += 91 * ISSUE_DAY;
	auto_chain struct chain c = behind_middle(&leaf);
	assert_refused(&c, &p, "validity", "expired", "now");
}

/* ---- what strict clients refuse ---- */

static int strict(const struct issued *leaf_of, const struct issued *behind)
{
	const struct issued *rest[] = {behind};
	auto_chain struct chain c = issued_chain(leaf_of, rest, 1);
	struct verify_policy p = policy();
	assert_accepted(&c, &p);
	return verify_strict(c.leaf, c.rest, anchors, ISSUE_NOW, &err);
}

static void what_only_strict_clients_refuse_is_told_apart(void **state)
{
	(void)state;
	assert_int_equal(strict(&leaf, &middle), 0);
	struct issued bare = leaf_with((struct wish){.bare = true});
	assert_int_equal(strict(&bare, &middle), -1);
	assert_says(
		"strict", "Missing Authority Key Identifier at depth 0, /CN=x", "have one issued without that fault");
	issued_release(&bare);
	struct issued authority =
		issue((struct wish){.subject = "Bare", .issuer = &root, .authority = true, .bare = true});
	struct issued below = leaf_with((struct wish){.issuer = &authority, .bare = true});
	assert_int_equal(strict(&below, &authority), -1);
	assert_says("strict", "Key Identifier", "refuse it");
	issued_release(&below);
	issued_release(&authority);
}

/* ---- what a port serves ---- */

static int served(const struct issued *which, const struct issued *const *rest, size_t count, const char *name)
{
	auto_chain struct chain c = issued_chain(which, rest, count);
	return verify_served(c.leaf, count ? c.rest : NULL, name, anchors, ISSUE_NOW, &err);
}

static void what_a_port_serves_is_judged_as_a_client_would(void **state)
{
	(void)state;
	const struct issued *rest[] = {&middle};
	assert_int_equal(served(&leaf, rest, 1, "mail.domain.pl"), 0);
	assert_int_equal(served(&leaf, rest, 1, "imap.domain.pl"), -1);
	assert_says("names", "imap.domain.pl", "mail.domain.pl, smtp.domain.pl");
	assert_int_equal(served(&leaf, NULL, 0, "mail.domain.pl"), -1);
	assert_says("chain", "unable to get local issuer", "CN=Middle");
	struct issued clients = leaf_with((struct wish){.usage = "clientAuth"});
	assert_int_equal(served(&clients, rest, 1, "mail.domain.pl"), -1);
	assert_says("purpose", "Client", "Server");
	assert_int_equal(
		verify_served(leaf.certificate, NULL, "mail.domain.pl", anchors, ISSUE_NOW + 91 * ISSUE_DAY, &err), -1);
	assert_says("validity", "expired", "now");
	issued_release(&clients);
}

/* What others serve may have thousands of names; what is published has to fit into records and messages. */
static void a_certificate_of_many_names_is_judged_and_one_of_some_hundreds_is_taken(void **state)
{
	(void)state;
	const struct issued *rest[] = {&middle};
	struct verify_policy p = policy();
	char text[64 * 1024];
	list_many(text, sizeof(text), "DNS:host", ".domain.pl", 2500);
	struct issued crowd = leaf_with((struct wish){.san = text});
	assert_int_equal(served(&crowd, rest, 1, "host2599.domain.pl"), 0);
	assert_int_equal(served(&crowd, rest, 1, "host2600.domain.pl"), -1);
	issued_release(&crowd);
	assert_leaf_refused((struct wish){.san = text}, p, "names", "2500 names", "1000");
	list_many(text, sizeof(text), "DNS:host", ".domain.pl", 1000);
	assert_leaf_accepted((struct wish){.san = text}, p);
	list_many(text, sizeof(text), "DNS:host", ".a-name-that-is-as-long-as-names-of-hosts-in-clouds-are.domain.pl",
		500);
	assert_leaf_refused((struct wish){.san = text}, p, "names", "500 names", "24576 bytes");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sound_chain_is_accepted),
		cmocka_unit_test(the_root_may_stand_at_the_end),
		cmocka_unit_test(a_hash_directory_serves_as_anchors),
		cmocka_unit_test(the_system_s_anchors_are_the_default),
		cmocka_unit_test(a_self_signed_certificate_can_be_its_own_anchor),
		cmocka_unit_test(anchors_that_cannot_be_loaded_are_named),
		cmocka_unit_test(a_directory_without_hashed_names_is_no_anchors),
		cmocka_unit_test(an_issuer_is_known_by_its_signature),
		cmocka_unit_test(long_lists_are_told_as_far_as_there_is_room),
		cmocka_unit_test(a_key_of_another_certificate_is_refused),
		cmocka_unit_test(a_key_that_only_claims_the_public_half_is_refused),
		cmocka_unit_test(weak_and_unusual_keys_are_refused),
		cmocka_unit_test(a_key_type_outside_the_configured_ones_is_refused),
		cmocka_unit_test(a_missing_intermediate_is_refused),
		cmocka_unit_test(a_chain_out_of_order_is_refused),
		cmocka_unit_test(an_authority_that_is_not_trusted_is_refused),
		cmocka_unit_test(a_leaf_that_plays_authority_is_refused),
		cmocka_unit_test(an_intermediate_is_no_anchor),
		cmocka_unit_test(a_weak_intermediate_is_refused),
		cmocka_unit_test(a_certificate_is_valid_between_its_two_instants),
		cmocka_unit_test(an_expired_intermediate_is_refused),
		cmocka_unit_test(a_certificate_for_something_else_is_refused),
		cmocka_unit_test(an_intermediate_for_something_else_is_refused),
		cmocka_unit_test(every_required_name_must_be_covered),
		cmocka_unit_test(the_second_of_two_required_names_counts_too),
		cmocka_unit_test(a_common_name_is_not_a_name),
		cmocka_unit_test(no_name_may_lie_outside_allow),
		cmocka_unit_test(addresses_lie_outside_unless_listed),
		cmocka_unit_test(names_that_no_client_looks_at_need_no_allow),
		cmocka_unit_test(an_empty_allow_allows_nothing),
		cmocka_unit_test(a_certificate_that_expires_sooner_replaces_nothing_unless_told),
		cmocka_unit_test(what_only_strict_clients_refuse_is_told_apart),
		cmocka_unit_test(being_told_so_excuses_nothing_else),
		cmocka_unit_test(what_a_port_serves_is_judged_as_a_client_would),
		cmocka_unit_test(a_certificate_of_many_names_is_judged_and_one_of_some_hundreds_is_taken),
	};
	return cmocka_run_group_tests(tests, make_world, free_world);
}
