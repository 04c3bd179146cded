/* Which host keys the hub's sshd has: the public key files that `host_keys` names. Every agent is told of them with its
 * welcome, signed (lib/crypto/host_pins.h). An administrator adds a new key there before sshd uses it and tells the hub
 * (SIGHUP); once sshd uses it, he takes the old one out.
 */
#ifndef CERTSYNC_HUB_DAEMON_AGENTS_HOST_KEYS_H
#define CERTSYNC_HUB_DAEMON_AGENTS_HOST_KEYS_H

#include "hub/daemon/hub.h"

/* Reads the files, and signs a list with a new serial when they say something new; the store keeps it (kind "hub",
 * "announce"). A file that cannot be read is logged, and the former list goes on. */
void host_keys_open(struct hub *hub);
/* Returns the list in base64, or "". */
const char *host_keys_text(struct hub *hub);

#endif
