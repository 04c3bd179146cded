/* The private keys of the hub, in files and in memory. A key is named by its id, the SHA-256 of its
 * SubjectPublicKeyInfo.
 *
 *   DIRECTORY/leaf/ID.pem     the key of a revision, which is never removed
 *   DIRECTORY/pending/ID.pem  a leaf's key that no revision has yet: of an order, or made ahead
 *   DIRECTORY/account/ID.pem  the key of an account at an authority
 *   DIRECTORY/unread/SUM.pem  what stood in an older store where a key should be, and is none that can be read
 *
 * The files are PKCS#8 PEM, 0600 in directories of 0700. What was brought (watched, imported) is in memory alone until
 * it is committed, for VAULT_BROUGHT_SECONDS; there are at most VAULT_BROUGHT_MAX of these, and the oldest goes first.
 * The VAULT_CACHE_MAX keys on the disk that were used last are kept decoded, each for the same time after its last use.
 */
#ifndef CERTSYNC_HUB_KEYS_VAULT_H
#define CERTSYNC_HUB_KEYS_VAULT_H

#include "hub/common/keys_request.h"
#include "hub/common/keys_root.h"
#include "lib/core/buf.h"
#include "lib/core/error.h"

#include <openssl/evp.h>

enum { VAULT_CACHE_MAX = 64, VAULT_BROUGHT_MAX = 256, VAULT_BROUGHT_SECONDS = 600, VAULT_PENDING_MAX = 65536 };

struct vault_key {
	uint8_t id[KEYS_ID_SIZE];
	enum keys_class key_class;
	bool brought; /* in memory alone */
	EVP_PKEY *pkey;
	struct buf pkcs8, spki;
	int64_t used; /* monotonic milliseconds */
};

struct vault;

/* Makes the directories, and removes what a killed write left. */
struct vault *vault_open(const char *directory, struct error *err);
void vault_close(struct vault *v);
int vault_directory(const struct vault *v); /* a descriptor, borrowed */

/* Returns the key of this id and class, wherever it is, borrowed until the next call, or NULL with the reason, which is
 * ERROR_USAGE when the key is not here. */
const struct vault_key *vault_find(
	struct vault *v, enum keys_class key_class, const uint8_t id[KEYS_ID_SIZE], struct error *err);
/* Makes a key, which is durable when this returns, and appends its public half. */
int vault_make(struct vault *v, enum keys_class key_class, const char *type, struct buf *spki, struct error *err);
/* Takes a leaf's key into memory, but not the object `key` itself, and appends its public half. Returns -1 when its
 * halves do not belong together. */
int vault_bring(struct vault *v, EVP_PKEY *key, struct buf *spki, struct error *err);
/* What these do is durable when they return; what has been done already is success. */
int vault_commit(struct vault *v, const uint8_t id[KEYS_ID_SIZE], struct error *err);
int vault_drop(struct vault *v, enum keys_class key_class, const uint8_t id[KEYS_ID_SIZE], struct error *err);

/* Takes a file of an older store: its key is written as PEM and not synced. Nothing is appended when there is no key in
 * it. */
int vault_adopt(
	struct vault *v, enum keys_adopt as, const uint8_t *pem, size_t len, struct buf *spki, struct error *err);
int vault_sync(struct vault *v, struct error *err);

/* Forgets what has been in memory for too long. Returns when the next key is due, in milliseconds, or -1. */
int vault_tick(struct vault *v, int64_t now);

#endif
