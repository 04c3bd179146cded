/* Ed25519 keys in OpenSSH's private key form (its PROTOCOL.key) without a passphrase, which libssh can sign with. */
#ifndef CERTSYNC_AGENT_COMMON_SSH_KEY_H
#define CERTSYNC_AGENT_COMMON_SSH_KEY_H

#include "lib/core/buf.h"
#include "lib/crypto/seal.h"

#define SSH_KEY_TYPE "ssh-ed25519"

/* Appends the file's text. Returns -1 when it exceeds the maximum of `out`. */
int ssh_key_encode(const uint8_t seed[SEAL_KEY_SIZE], const uint8_t public_key[SEAL_KEY_SIZE], struct buf *out);
/* Reads the public half, which stands in clear at the front, whichever program made the file. Returns -1 when this is
 * not such a file. */
int ssh_key_decode_public(struct buf *file, uint8_t ret[SEAL_KEY_SIZE]);
/* Appends what stands in base64 in a public key file. */
void ssh_key_put_public(struct buf *out, const uint8_t public_key[SEAL_KEY_SIZE]);

#endif
