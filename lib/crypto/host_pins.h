/* The hub's statement on which SSH host keys it has. It is signed with the key that signs bundles, so that a host key
 * is rotated without a visit to each node. The encoding is fixed (man/certsync-protocol.7, HOST KEYS).
 */
#ifndef CERTSYNC_LIB_CRYPTO_HOST_PINS_H
#define CERTSYNC_LIB_CRYPTO_HOST_PINS_H

#include "lib/core/buf.h"
#include "lib/crypto/bundle.h"
#include "lib/core/error.h"
#include "lib/crypto/seal.h"
#include "lib/crypto/statement.h"

#include <stdbool.h>

enum {
	HOST_PINS_COUNT = 16,
	HOST_PIN_MAX = 64,             /* the text of each */
	HOST_PINS_MAX = STATEMENT_MAX, /* the bytes of the whole */
};

struct host_pins {
	int64_t serial;                            /* grows with every change */
	char hosts[HOST_PINS_COUNT][HOST_PIN_MAX]; /* "SHA256:…" */
	size_t count;
};

/* Returns whether the text is "SHA256:" and a digest, as ssh-keygen -l prints it. */
bool host_pin_is_valid(const char *text);

int host_pins_sign(
	const struct host_pins *p, const uint8_t private_key[SEAL_KEY_SIZE], struct buf *out, struct error *err);
/* Fails with ERROR_UNTRUSTED unless one of the signers signed the data. Nothing of it is parsed before that. */
int host_pins_open(
	const uint8_t *data, size_t len, const struct bundle_keys *keys, struct host_pins *ret, struct error *err);

#endif
