/* Which host keys the hub's sshd has, told to every agent with its welcome, signed (lib/crypto/host_pins.h): the public key files that
 * `host_keys` names. Add a new one there before sshd uses it and tell the hub (SIGHUP); once it does, take the old one out.
 */
#ifndef CERTSYNC_HUB_DAEMON_AGENTS_HOST_KEYS_H
#define CERTSYNC_HUB_DAEMON_AGENTS_HOST_KEYS_H

#include "hub/daemon/hub.h"

/* Reads the files, and signs a list with a new serial when they say something new (the store keeps it: kind "hub", "announce").
 * A file that cannot be read: logged, and the list of before goes on. */
void announce_open(struct hub *hub);
/* In base64; "": none. */
const char *announce_text(struct hub *hub);

#endif
