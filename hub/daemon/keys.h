/* certsync-keys as the daemon asks it (hub/common/keys_request.h). Keys are named by the SHA-256 of their public
 * halves, and no private one comes here.
 *
 * A call waits for its answer, which takes less than a millisecond, and KEYS_SECONDS at most; where certsync-keys is
 * being started anew, it waits for that, too. What may take longer, making a key, is told later. ERROR_RETRY says that
 * certsync-keys cannot be asked; nothing is lost then, and keys_trouble says why.
 */
#ifndef CERTSYNC_HUB_DAEMON_KEYS_H
#define CERTSYNC_HUB_DAEMON_KEYS_H

#include "hub/common/keys_request.h"

#include <event2/event.h>

struct keys;

/* Waits up to so many milliseconds for the root half to give a socket to certsync-keys (keys_connect). */
typedef void keys_wait(void *context, int milliseconds);

struct keys *keys_new(struct event_base *base, keys_wait *wait, void *context); /* `wait` may be NULL */
void keys_free(struct keys *k);                                                 /* NULL is allowed */
/* Takes over the socket over which connections are passed to certsync-keys. */
void keys_connect(struct keys *k, int door);
/* Returns that socket, borrowed, or -1. */
int keys_door(const struct keys *k);
/* Says why certsync-keys could not be asked the last time; "" says that it could. */
const char *keys_trouble(const struct keys *k);

/* Gets the public half of the signing key. With `make` it is made where there is none, which is ERROR_USAGE
 * otherwise. */
int keys_signer(struct keys *k, bool make, uint8_t ret[SEAL_KEY_SIZE], struct error *err);
/* Returns 1 when the key is held, 0 when it is not, or -1. */
int keys_find(struct keys *k, enum keys_class key_class, const uint8_t id[KEYS_ID_SIZE], struct error *err);
/* Makes a key for an account and appends its SubjectPublicKeyInfo. */
int keys_make_account(struct keys *k, struct buf *spki, struct error *err);
int keys_csr(struct keys *k, const uint8_t id[KEYS_ID_SIZE], char *const *names, struct buf *out, struct error *err);
int keys_jws(struct keys *k, enum keys_class key_class, const uint8_t id[KEYS_ID_SIZE], const char *input,
	uint8_t ret[KEYS_SIGNATURE_SIZE], struct error *err);
int keys_commit(struct keys *k, const uint8_t id[KEYS_ID_SIZE], struct error *err);
int keys_drop(struct keys *k, enum keys_class key_class, const uint8_t id[KEYS_ID_SIZE], struct error *err);
/* Takes the fields of a seal request from `what`, except for the recipient, and appends the bundle. */
int keys_seal(struct keys *k, struct keys_request *what, const uint8_t recipient[SEAL_KEY_SIZE], struct buf *out,
	struct error *err);
int keys_pins(struct keys *k, const struct host_pins *pins, struct buf *out, struct error *err);
/* These get the public half of the next signing key, as keys_signer does; append the list of the present key, or of
 * both, signed; and let the next key take over. */
int keys_next_signer(struct keys *k, bool make, uint8_t ret[SEAL_KEY_SIZE], struct error *err);
int keys_signers(struct keys *k, int64_t serial, bool both, struct buf *out, struct error *err);
int keys_switch_signer(struct keys *k, const uint8_t next[SEAL_KEY_SIZE], struct error *err);

/* A leaf's key that is being made. `done` is called once, from the loop, unless it is cancelled before; `spki` is
 * borrowed, or NULL with the reason in `err`. The object is gone after the call. */
struct keys_making;
typedef void keys_made(const struct buf *spki, const struct error *err, void *context);
struct keys_making *keys_make(struct keys *k, const char *type, keys_made *done, void *context, struct error *err);
void keys_make_cancel(struct keys_making *m); /* NULL is allowed */

#endif
