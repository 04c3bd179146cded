/* How the keys of an agent change: they are given by a node that joins or by `certsync agent add NAME --key -`,
 * replaced, proven and taken away. Each change is written down first (key_changes.h), with who made it, then kept
 * (enrolment.h) and handed to the root half (login_keys.h).
 */
#ifndef CERTSYNC_HUB_DAEMON_AGENTS_ENROLL_H
#define CERTSYNC_HUB_DAEMON_AGENTS_ENROLL_H

#include "hub/daemon/hub.h"
#include "hub/common/root_request.h"

/* Returns 0 when other keys may replace those that the agent has; else ERROR_USAGE asks for --replace. */
int enroll_may_replace(struct hub *hub, const char *agent, bool replace, struct error *err);
/* Takes the identity line that `certsync-agent identity` printed. Keys other than those that the agent has, and keys
 * that were taken away, need `replace`; its sessions then end. */
int enroll_add(struct hub *hub, const char *agent, const char *identity, bool replace, uid_t by, struct error *err);
/* Takes the keys of a node that joined, and sends them. With `rotates` they stand beside those that the agent has,
 * until enroll_prove. */
int enroll_keys(struct hub *hub, const char *agent, const char *ssh, const uint8_t seal_key[SEAL_KEY_SIZE],
	bool rotates, uid_t by, struct error *err);
/* A line for new keys is printed, and from now on the rotation counts as not done yet. */
int enroll_rotate(struct hub *hub, const char *agent, uid_t by, struct error *err);
/* The agent came in with its new key (of this mark; with NULL by the local socket), which is its only one from now on.
 * Returns -1 when that could not be written, which is logged; it is tried again when the agent comes in again. */
int enroll_prove(struct hub *hub, const char *agent, const char *mark);
/* Forgets the keys (the record stays in the store under another name) and the join line, and ends the agent's
 * connections. */
int enroll_remove(struct hub *hub, const char *agent, uid_t by, struct error *err);
/* Writes the hub's line for this agent's `certsync-agent join` (its form is in man/certsync-protocol.7). */
int enroll_hub_line(struct hub *hub, const char *agent, struct buf *out, struct error *err);

#endif
