/* The hub's Ed25519 signing key, DIRECTORY/sign.key (32 bytes, 0600), whose public half agents pin, and the one that is
 * to come, next-sign.key. They sign a bundle, which begins with its magic, and the lists of host keys and of signing
 * keys, which begin with their labels, and nothing else.
 */
#ifndef CERTSYNC_HUB_KEYS_SIGNER_H
#define CERTSYNC_HUB_KEYS_SIGNER_H

#include "hub/common/keys_request.h"
#include "hub/keys/vault.h"

struct signer {
	bool is_there;
	uint8_t private_key[SEAL_KEY_SIZE], public_key[SEAL_KEY_SIZE];
};

/* Reads the key. A damaged one is an error, since a new one would cut every agent off. */
int signer_open(struct signer *s, int directory, struct error *err);
void signer_release(struct signer *s);
/* Makes the key, durably, where there is none. */
int signer_make(struct signer *s, int directory, struct error *err);
/* Returns the public half of the next key. With `make` it is made, durably, where there is none; else that is
 * ERROR_USAGE. */
int signer_next(int directory, bool make, uint8_t ret_public[SEAL_KEY_SIZE], struct error *err);
/* Puts the next key, which must be this one, in the place of the present one, which is overwritten; all of that is
 * durable. It may have been done already. Whenever this is killed, one of the two is the present key, and signer_open
 * wipes what is left. */
int signer_switch(struct signer *s, int directory, const uint8_t next[SEAL_KEY_SIZE], struct error *err);
/* Takes over the key of an older store, where there is none; this is not synced. A key other than the one that is here
 * is refused. */
int signer_adopt(struct signer *s, int directory, const uint8_t *data, size_t len, struct error *err);

/* Appends the bundle; the keys come from the vault. */
int signer_seal(
	const struct signer *s, struct vault *v, const struct keys_request *r, struct buf *out, struct error *err);
int signer_pins(const struct signer *s, const struct keys_request *r, struct buf *out, struct error *err);
int signer_list(
	const struct signer *s, int directory, const struct keys_request *r, struct buf *out, struct error *err);

#endif
