/* What is left of a file from outside when certsync-keys has taken its private key out. Nothing of it is copied, and
 * all of it is written anew. So no byte of a key gets any further, however the file is damaged, and whatever stands
 * between the blocks of PEM.
 *
 *   string  damage   why the file cannot be used as it is; "": it can
 *   string  form     of a file in which nothing was found: what it is instead, and the command that makes PEM of it; ""
 *   bytes   key      the SubjectPublicKeyInfo of its private key, which certsync-keys holds now and which signs what its
 *                    public half accepts; empty: it has none
 *   u8 count, bytes certificate…   DER, in their order; all that is known of these is that they are not keys
 */
#ifndef CERTSYNC_HUB_COMMON_KEY_CUT_H
#define CERTSYNC_HUB_COMMON_KEY_CUT_H

#include "lib/core/buf.h"
#include "lib/core/error.h"
#include "lib/crypto/chain.h"

struct key_cut {
	char damage[ERROR_MESSAGE_MAX];
	char form[256];
	EVP_PKEY *key;      /* the public half; owned; NULL: none */
	struct chain chain; /* of its certificates; owned; without a leaf: none; without a key in any case */
};

void key_cut_release(struct key_cut *c);
#define auto_key_cut __attribute__((cleanup(key_cut_release)))

enum { KEY_CUT_MAX = CHAIN_PEM_MAX };

/* certsync-keys calls this. `certificates` is u8 count, bytes certificate…; it is empty when there is none. */
int key_cut_encode(
	const char *damage, const char *form, const struct buf *spki, const struct buf *certificates, struct buf *out);
/* Everybody else calls this. A certificate that cannot be read becomes the damage. Returns -1 when it is no such
 * record. */
int key_cut_decode(const uint8_t *data, size_t len, struct key_cut *ret, struct error *err);

#endif
