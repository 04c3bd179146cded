/* What a service presents now: the certificates in the PEM files that its configuration names. */
#ifndef CERTSYNC_AGENT_CLI_SERVICES_PRESENT_H
#define CERTSYNC_AGENT_CLI_SERVICES_PRESENT_H

#include "lib/crypto/chain.h"
#include "lib/core/error.h"

#include <stdbool.h>

enum { PRESENT_LEAVES_MAX = 8 };

struct present_leaf {
	uint8_t fingerprint[CHAIN_SHA256_SIZE];
	char key_type[CHAIN_KEY_TYPE_MAX];
};

struct present {
	char **names; /* of every leaf, each once; owned */
	size_t name_count;
	bool self_signed; /* every leaf is: no client that looks trusts it */
	struct present_leaf leaves[PRESENT_LEAVES_MAX];
	size_t leaf_count;
};

#define auto_present __attribute__((cleanup(present_release)))
void present_release(struct present *p);

/* `paths` are files with blanks or commas between; at least one has to contain a certificate. */
int present_read(const char *paths, struct present *ret, struct error *err);
/* Does the same with a leaf that somebody presents. Of one with more names than are read, none are known. */
void present_take(X509 *leaf, struct present *ret);
/* Returns the names with commas between, cut when they are many; the caller frees the text. */
char *present_names(const struct present *p);
/* Returns whether one of the names covers `name`. */
bool present_covers(const struct present *p, const char *name);

#endif
