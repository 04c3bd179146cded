/* The hub's Ed25519 signing key, DIRECTORY/sign.key (32 bytes, 0600), whose public half agents pin; the one that is to come,
 * next-sign.key; and what is signed: a bundle, which begins with its magic, the list of host keys and that of signing keys, which begin
 * with their labels. Nothing else is.
 */
#ifndef CERTSYNC_HUB_SIGNER_H
#define CERTSYNC_HUB_SIGNER_H

#include "hub/common/keys_request.h"
#include "hub/keys/vault.h"

struct signer {
	bool is_there;
	uint8_t private_key[SEAL_KEY_SIZE], public_key[SEAL_KEY_SIZE];
};

/* Reads it. A damaged one is an error: a new one would cut every agent off. */
int signer_open(struct signer *s, int directory, struct error *err);
void signer_release(struct signer *s);
/* Makes it where there is none; durable. */
int signer_make(struct signer *s, int directory, struct error *err);
/* The public half of the next one. `make`: it is made where there is none, durably; else that is ERROR_USAGE. */
int signer_next(int directory, bool make, uint8_t ret_public[SEAL_KEY_SIZE], struct error *err);
/* The next one, which must be this one, takes the place of the present one, which is overwritten; durable. It may be so already. Killed
 * at any call of it, one of the two is the present one, and signer_open wipes what is left. */
int signer_switch(struct signer *s, int directory, const uint8_t next[SEAL_KEY_SIZE], struct error *err);
/* The one of an older store, where there is none; not synced. Another one than the one that is here is refused. */
int signer_adopt(struct signer *s, int directory, const uint8_t *data, size_t len, struct error *err);

/* Appends the bundle; the keys are the vault's. */
int signer_seal(
	const struct signer *s, struct vault *v, const struct keys_request *r, struct buf *out, struct error *err);
int signer_pins(const struct signer *s, const struct keys_request *r, struct buf *out, struct error *err);
int signer_list(
	const struct signer *s, int directory, const struct keys_request *r, struct buf *out, struct error *err);

#endif
