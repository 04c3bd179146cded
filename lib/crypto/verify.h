/* The rules that a certificate has to meet. The hub applies them before publishing, and the agent's root half before
 * installing. Nothing is read but the trust anchors, and `now` is a parameter. Each refusal names the rule, the two
 * values that disagree, and what to do.
 */
#ifndef CERTSYNC_LIB_CRYPTO_VERIFY_H
#define CERTSYNC_LIB_CRYPTO_VERIFY_H

#include "lib/crypto/chain.h"
#include "lib/crypto/revision.h"

#include <stdbool.h>

struct anchors; /* a loaded trust store; immutable */
/* Loads `path`, a PEM file or a hash directory; with NULL or "" it loads the system's anchors. */
struct anchors *anchors_load(const char *path, struct error *err);
void anchors_free(struct anchors *a);

/* These do the same for a process that can open no file and is handed bytes. Nothing is trusted at first. */
enum { ANCHORS_PEM_MAX = 2 * 1024 * 1024 };
struct anchors *anchors_none(void);
int anchors_add(struct anchors *a, const void *pem, size_t len, struct error *err);
/* Asks for the anchors that have the name of an issuer of the chain, by the hash under which a hash directory has them.
 * `find` appends their PEM to `ret`, or nothing when there is none; -1 ends the search. */
struct anchors_source {
	int (*find)(void *context, uint32_t hash, struct buf *ret, struct error *err);
	void *context;
};
int anchors_find(struct anchors *a, const struct chain *c, const struct anchors_source *from, struct error *err);
/* Return where OpenSSL looks for the system's anchors, a file and directories divided by colons; both are borrowed.
 * Nothing is parsed. */
const char *anchors_system_file(void);
const char *anchors_system_directories(void);
/* Makes sure that a directory has a hashed name at all: OpenSSL takes any directory, and then trusts nothing. */
int anchors_check_directory(const char *path, struct error *err);

/* Returns the anchor that signed this certificate, which the caller owns, or NULL when none did. */
X509 *anchors_issuer(const struct anchors *a, X509 *certificate);

/* Returns whether a certificate leads to an anchor, perhaps by way of others, which the caller owns; time counts. */
bool anchors_build(const struct anchors *a, X509 *certificate, STACK_OF(X509) * others, int64_t now);

struct verify_policy {
	const struct anchors *anchors;
	int64_t now;
	const char *const *required;  /* names that must be covered; NULL-terminated; may be NULL */
	const char *const *allow;     /* patterns outside of which no SAN may lie; NULL: any */
	const char *const *key_types; /* NULL: ecdsa-p256, ecdsa-p384, rsa of 2048 to 4096 bits */
	int64_t replaces_not_after;   /* 0: nothing; else the expiry of what would be replaced */
	bool may_expire_sooner;
	bool key_is_vouched; /* the chain has only the public half; who has the private one has seen it sign */
};

/* Applies the rules. A refusal is ERROR_UNTRUSTED, and its message begins with the rule's name ("key-match: …"), which
 * travels to `certsync status`: key-match, chain, purpose, names, allow, validity, key-type, sooner. */
int verify_chain(const struct chain *c, const struct verify_policy *policy, struct error *err);

/* Returns 0 when a peer's chain, from a probe, is trusted for `name` now, else -1 with the reason. */
int verify_served(X509 *leaf, STACK_OF(X509) * rest, const char *name, const struct anchors *anchors, int64_t now,
	struct error *err);

/* Returns 0 when clients that read RFC 5280 to the letter take a chain that others take, else -1 with what they refuse,
 * such as a leaf without an authority key identifier. Python is such a client from 3.13 on: it sets OpenSSL's
 * X509_V_FLAG_X509_STRICT, and what that flag means is asked of OpenSSL here. */
int verify_strict(X509 *leaf, STACK_OF(X509) * rest, const struct anchors *anchors, int64_t now, struct error *err);

/* Returns the first of the wanted names (NULL-terminated; NULL: none) that none of these covers, or NULL. */
const char *verify_names(char *const *names, size_t count, const char *const *wanted);

/* Applies the rule that revisions only go forward; the names of its rules are revision and digest. */
int verify_revision(struct revision offered, const uint8_t offered_digest[CHAIN_SHA256_SIZE],
	struct revision high_water, const uint8_t high_water_digest[CHAIN_SHA256_SIZE], struct error *err);

#endif
