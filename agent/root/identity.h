/* Who this agent is: the key pair that bundles are sealed to (the root half's alone) and the SSH key of the
 * agent's user. Both are made once and kept.
 *
 * ROOT_STATE/seal.key   32 raw bytes, 0600; seal.pub beside it, "x25519:BASE64"
 * STATE/id_ed25519      OpenSSH's private key form without a passphrase, 0600, the agent's user's
 * STATE/id_ed25519.pub  "ssh-ed25519 BASE64 certsync-agent"
 */
#ifndef CERTSYNC_AGENT_IDENTITY_H
#define CERTSYNC_AGENT_IDENTITY_H

#include "agent/root/directories.h"
#include "lib/core/buf.h"
#include "lib/crypto/seal.h"

struct identity {
	uint8_t seal_private[SEAL_KEY_SIZE];
	uint8_t seal_public[SEAL_KEY_SIZE];
	char ssh_public[128];   /* BASE64 of "ssh-ed25519 BASE64"; "": see ssh_fault */
	struct error ssh_fault; /* identity_serve: why there is no SSH key to log in with; ERROR_NONE: there is one */
};

void identity_release(struct identity *i); /* wipes */
#define auto_identity __attribute__((cleanup(identity_release)))

/* Makes what is missing. A key file that is there and cannot be used is an error, never replaced. */
int identity_load(const struct places *places, struct identity *ret, struct error *err);

/* For the root half at work, which needs the sealing key alone. The SSH key lies in a directory of the agent's user: whatever he has made of
 * it, a directory or a link, must keep nobody from starting his daemon again, which then says that it cannot log in. */
int identity_serve(const struct places *places, struct identity *ret, struct error *err);

/* For one that was loaded by it: loads it again if the sealing key is another by now. A rotation replaces that one first. */
int identity_refresh(const struct places *places, struct identity *i, struct error *err);

/* The keys that are to take their place, beside them under names that end in ".next", made if missing: the hub is told
 * first. */
int identity_next(const struct places *places, struct identity *ret, struct error *err);
/* They do. Goes on by itself, at the next identity_load, should it be interrupted. */
int identity_take_next(const struct places *places, struct identity *ret, struct error *err);

/* "certsync-agent:1 ssh-ed25519 BASE64 x25519:BASE64\n", what `certsync agent add NAME --key -` reads. */
void identity_line(const struct identity *i, struct buf *out);

#endif
