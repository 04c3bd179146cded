/* The public half of the hub's signing key, which agents pin. certsync-keys holds the key itself. */
#ifndef CERTSYNC_HUB_DAEMON_AGENTS_SIGNER_H
#define CERTSYNC_HUB_DAEMON_AGENTS_SIGNER_H

#include "hub/daemon/keys.h"

/* Has the key made beside a new store. A key that is missing beside a store in use is an error, since a new one would
 * cut every agent off. */
int signer_public(struct keys *keys, const char *state, uint8_t ret_public[SEAL_KEY_SIZE], struct error *err);

#endif
