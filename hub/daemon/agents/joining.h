/* A node that joins: one frame comes in, one goes out (lib/crypto/join.h), and that is the end. The node came in with
 * the login key of a join line (forced command "join:NAME"), or, on the hub's own node, as root by the local socket.
 */
#ifndef CERTSYNC_HUB_DAEMON_AGENTS_JOINING_H
#define CERTSYNC_HUB_DAEMON_AGENTS_JOINING_H

#include "hub/daemon/hub.h"

enum { JOINING_SECONDS = 15, JOINING_MAX = 32, JOINING_PER_AGENT = 4 };

/* Takes the descriptor over. `agent` is in the alphabet of names; whether it exists is looked at here. */
void joining_begin(struct hub *hub, int fd, const char *agent);
void joining_close_all(struct hub *hub);

/* The root half has written authorized_keys, or cannot; the nodes that wait for that are answered. */
void joining_keys_written(struct hub *hub, bool ok, const char *text);

#endif
