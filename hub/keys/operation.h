/* What certsync-keys does when it is asked: one function for each request of hub/common/keys_request.h, and for those
 * of hub/common/keys_root.h.
 */
#ifndef CERTSYNC_HUB_KEYS_OPERATION_H
#define CERTSYNC_HUB_KEYS_OPERATION_H

#include "hub/common/keys_request.h"
#include "hub/common/keys_root.h"
#include "hub/keys/signer.h"
#include "hub/keys/vault.h"

struct operations {
	struct vault *vault;
	struct signer signer;
};

/* Returns whether the request takes so long that only the asker should wait for it. */
bool operation_is_slow(const struct keys_request *r);
/* Fills the reply, which borrows from `out`. */
void operation_run(struct operations *o, const struct keys_request *r, struct buf *out, struct keys_reply *ret);
void operation_for_root(
	struct operations *o, const struct keys_root_request *r, struct buf *out, struct keys_root_reply *ret);

#endif
