/* Where the hub keeps what must not be lost. This is the one interface, and it has one implementation, in files.
 *
 *   STATE/lock                                     held for the life of the daemon
 *   STATE/certificates/NAME/REVISION/              fullchain.pem manifest.json (a second pair: fullchain-2.pem)
 *   STATE/certificates/NAME/current -> REVISION
 *   STATE/records/KIND/NAME/FILE                   small private records: accounts, pending orders, agents
 *
 * No private key is among them: certsync-keys has those, in STATE-keys (hub/keys/vault.h). The key of a pair is the one
 * with the certificate's public half; a record names a key by its SubjectPublicKeyInfo, as DER in a file *.pub.
 *
 * All files are 0600, all directories 0700. Every write is durable when the call returns. Only records are ever
 * overwritten or removed: the store keeps every revision that it had.
 */
#ifndef CERTSYNC_HUB_DAEMON_STORE_H
#define CERTSYNC_HUB_DAEMON_STORE_H

#include "lib/core/buf.h"
#include "lib/core/error.h"
#include "lib/core/name.h"
#include "lib/crypto/content.h"

#include <stdbool.h>

struct store;

/* Makes what is missing, removes what an interrupted write left, makes durable what it had done, and takes the lock.
 * ERROR_USAGE says that another hub holds it. */
struct store *store_open(const char *state, struct error *err);
void store_close(struct store *s);

enum { STORE_PAIRS_MAX = 2, STORE_WARNING_MAX = 512 };

struct manifest {
	struct content content;            /* always whole */
	uint8_t second[CHAIN_SHA256_SIZE]; /* fingerprint of the second pair's leaf; zeros: there is none */
	int64_t published;                 /* when */
	char source[16];                   /* "acme", "watch", "import", "rollback" */
	char reason[128];                  /* why, for `history` */
	char warning[STORE_WARNING_MAX];   /* what strict clients refuse of it (verify_strict); "" nothing */
	char **names;                      /* SANs of the first leaf; owned */
	size_t name_count;
	uint16_t flags; /* enum bundle_flag */
	bool urgent; /* of a publish alone, not stored: what it replaces was revoked, or the CA wants it replaced now */
};
void manifest_release(struct manifest *m);
bool manifest_has_second(const struct manifest *m);
#define auto_manifest __attribute__((cleanup(manifest_release)))

/* Writes the pairs as the next revision and makes it current. `meta` gives source, reason, warning and flags; the rest of
 * it is filled in. *ret_revision is the new one. */
int store_publish(struct store *s, const char *certificate, const struct chain *pairs, size_t pair_count,
	const struct manifest *meta, struct revision *ret_revision, struct error *err);

/* From now on the next revision begins this epoch, unless it has begun already. This is durable when the call
 * returns. */
int store_begin_epoch(struct store *s, const char *certificate, uint32_t epoch, struct error *err);
/* Returns whether the next revision begins an epoch; then even the same content is published again. */
bool store_begins_epoch(struct store *s, const char *certificate);

/* Returns 1 and the manifest, 0 when nothing has been published yet, or -1 on an error, such as a broken manifest. */
int store_current(struct store *s, const char *certificate, struct manifest *ret, struct error *err);

/* Reads the manifest of any revision; returns 0 when there is none. */
int store_manifest(
	struct store *s, const char *certificate, struct revision revision, struct manifest *ret, struct error *err);

/* Finds the newest revision older than `before` whose content differs from `digest`. Returns 1, or 0 when there is
 * none. */
int store_previous(struct store *s, const char *certificate, struct revision before,
	const uint8_t digest[CHAIN_SHA256_SIZE], struct revision *ret, struct error *err);

/* Lists every revision that exists, oldest first; the caller owns the list. Returns -1 on an error, and 0 with
 * *ret_count 0 when there is none. */
int store_revisions(
	struct store *s, const char *certificate, struct revision **ret, size_t *ret_count, struct error *err);

/* Loads the content of a revision, whose digest has to be the manifest's. Keys are the certificates' public halves;
 * certsync-keys knows whether the private ones exist. The caller releases ret_pairs. */
int store_load(struct store *s, const char *certificate, struct revision revision,
	struct chain ret_pairs[STORE_PAIRS_MAX], size_t *ret_count, struct manifest *ret_manifest, struct error *err);

/* These are small records. KIND, NAME and FILE are plain file names. store_get returns 1 when it was found (and
 * appended), 0 when it is absent, or -1. */
int store_put(struct store *s, const char *kind, const char *name, const char *file, const void *data, size_t len,
	struct error *err);
int store_get(
	struct store *s, const char *kind, const char *name, const char *file, struct buf *out, struct error *err);
int store_drop(struct store *s, const char *kind, const char *name, struct error *err); /* the whole NAME */
/* Notes that a record was found damaged (hub/daemon/record.h tells of it). Returns false when that was noted within
 * STORE_DAMAGE_TOLD. */
enum { STORE_DAMAGE_TOLD = 86400 }; /* seconds */
bool store_note_damage(
	struct store *s, const char *kind, const char *name, const char *file, const char *text, int64_t at);
/* Takes such a note back. Returns false when there is none. */
bool store_drop_damage(struct store *s, const char *kind, const char *name, const char *file);
struct store_damage {
	char *record; /* "KIND/NAME/FILE" */
	char *text;   /* why, and what is done without it */
	int64_t at;   /* wall clock: when it was found */
};
/* The newest of them; borrowed. */
const struct store_damage *store_damages(const struct store *s, size_t *ret_count);
/* Says why the last store_put failed; "" says that it did not, or that none was made. */
const char *store_trouble(const struct store *s);

#endif
