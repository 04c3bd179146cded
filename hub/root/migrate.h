/* Moves the private keys of a store that was made before there was a certsync-keys: they stood in the daemon's directory.
 *
 *   STATE/keys/sign.key                                        the signing key
 *   STATE/certificates/NAME/REVISION/privkey.pem, privkey-2.pem  (in an unfinished revision, too)
 *   STATE/records/acme, acme-next/NAME/account.key              account.pub is left in its place
 *   STATE/records/orders, orders-2/NAME/privkey.pem             key.pub
 *   STATE/records/nextkeys/NAME/privkey.pem, privkey-2.pem       key.pub, key-2.pub
 *
 * Three passes, each durable before the next begins: every file is given to certsync-keys; every file is renamed to
 * MIGRATE_GONE…; each of those is overwritten and removed. So whenever it is killed, nothing is lost, and the next start finishes
 * it. STATE/keys-moved says that it is done: a store that is restored from an older backup lacks it, and is moved anew.
 *
 * The directory is the daemon's, who may be hostile: all is done with its user's file-system rights, below one descriptor, and no
 * link is followed.
 */
#ifndef CERTSYNC_HUB_MIGRATE_H
#define CERTSYNC_HUB_MIGRATE_H

#include "lib/core/error.h"
#include "lib/core/frame.h"
#include "lib/core/proc.h"

#define MIGRATE_GONE ".certsync-gone-"

/* 0, and how many keys were moved; mostly none. `user`: whose rights are taken, NULL: ours are used.
 * `keys` is certsync-keys' stream; its descriptor blocks meanwhile. ERROR_RETRY: certsync-keys did not answer. */
int migrate(const char *state, const struct proc_user *user, struct frame_stream *keys, size_t *ret_count,
	struct error *err);

#endif
