/* Moves the private keys of a store that was made before there was a certsync-keys, when they were in the daemon's
 * directory.
 *
 *   STATE/keys/sign.key                                          the signing key
 *   STATE/certificates/NAME/REVISION/privkey.pem, privkey-2.pem  (in an unfinished revision, too)
 *   STATE/records/acme, acme-next/NAME/account.key               account.pub is left in its place
 *   STATE/records/orders, orders-2/NAME/privkey.pem              key.pub
 *   STATE/records/nextkeys/NAME/privkey.pem, privkey-2.pem       key.pub, key-2.pub
 *
 * There are three passes, each durable before the next begins: every file is given to certsync-keys; every file is
 * renamed to MIGRATE_GONE…; each of those is overwritten and removed. So nothing is lost whenever it is killed, and the
 * next start finishes it. STATE/keys-moved says that it is done; a store that is restored from an older backup lacks
 * that file, and is moved anew.
 *
 * The directory is the daemon's, which may be hostile. So everything is done with its user's file-system rights, below
 * one descriptor, and no link is followed.
 */
#ifndef CERTSYNC_HUB_ROOT_MIGRATE_H
#define CERTSYNC_HUB_ROOT_MIGRATE_H

#include "lib/core/error.h"
#include "lib/core/frame.h"
#include "lib/core/proc.h"

#define MIGRATE_GONE ".certsync-gone-"

/* Returns 0 and how many keys were moved, which is mostly none. It takes the rights of `user`; with NULL it uses ours.
 * `keys` is the stream of certsync-keys, whose descriptor blocks meanwhile. ERROR_RETRY says that certsync-keys did not
 * answer. */
int migrate(const char *state, const struct proc_user *user, struct frame_stream *keys, size_t *ret_count,
	struct error *err);

#endif
