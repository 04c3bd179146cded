/* Who this agent is: the key pair that bundles are sealed to, which is the root half's alone, and the SSH key of the
 * agent's user. Both are made once and kept.
 *
 * ROOT_STATE/seal.key   32 raw bytes, 0600; seal.pub beside it, "x25519:BASE64"
 * STATE/id_ed25519      OpenSSH's private key form without a passphrase, 0600, the agent's user's
 * STATE/id_ed25519.pub  "ssh-ed25519 BASE64 certsync-agent"
 */
#ifndef CERTSYNC_AGENT_ROOT_IDENTITY_H
#define CERTSYNC_AGENT_ROOT_IDENTITY_H

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

/* Makes what is missing. A key file that exists and cannot be used is an error and is never replaced. */
int identity_load(const struct directories *directories, struct identity *ret, struct error *err);

/* Loads what the root half needs at work, which is the sealing key alone. The SSH key lies in a directory of the
 * agent's user: whatever he has made of it, a directory or a link, must keep nobody from starting his daemon again,
 * which then says that it cannot log in. */
int identity_serve(const struct directories *directories, struct identity *ret, struct error *err);

/* Loads an identity that identity_serve has loaded again if the sealing key is another one by now. A rotation replaces
 * that key first. */
int identity_refresh(const struct directories *directories, struct identity *i, struct error *err);

/* Loads, and makes if they are missing, the keys that are to replace the present ones. They lie beside them under names
 * that end in ".next", since the hub is told first. */
int identity_next(const struct directories *directories, struct identity *ret, struct error *err);
/* Puts the next keys in place. If that is interrupted, the next identity_load goes on with it. */
int identity_take_next(const struct directories *directories, struct identity *ret, struct error *err);

/* Appends "certsync-agent:1 ssh-ed25519 BASE64 x25519:BASE64\n", which `certsync agent add NAME --key -` reads. */
void identity_line(const struct identity *i, struct buf *out);

#endif
