/* The hub's signing key, STATE/keys/sign.key (0600): agents pin its public half.
 */
#ifndef CERTSYNC_HUB_SIGNER_H
#define CERTSYNC_HUB_SIGNER_H

#include "lib/core/error.h"
#include "lib/crypto/seal.h"

/* Reads it, or makes it in a new store. A damaged one, or one missing from a store in use, is an error: a new key would
 * cut every agent off. */
int signer_open(const char *state, uint8_t ret_private[SEAL_KEY_SIZE], uint8_t ret_public[SEAL_KEY_SIZE],
	struct error *err);

#endif
