/* Which keys an agent has: given by `certsync agent add NAME --key -`, kept in the store (kind "agents", NAME: agent.json),
 * handed to the root half as lines of authorized_keys.
 */
#ifndef CERTSYNC_HUB_ENROLL_H
#define CERTSYNC_HUB_ENROLL_H

#include "hub/daemon/hub.h"
#include "hub/common/root_request.h"

struct enrolment {
	char ssh[HUB_KEY_TEXT_MAX];        /* "ssh-ed25519 AAAA…" */
	uint8_t seal[SEAL_KEY_SIZE];
	int64_t added;
	bool rotates; /* there are new keys, which have not been seen to work yet */
	char next_ssh[HUB_KEY_TEXT_MAX];
	uint8_t next_seal[SEAL_KEY_SIZE];
};

/* 1 found, 0 not enrolled, -1 error. */
int enroll_find(struct hub *hub, const char *agent, struct enrolment *ret, struct error *err);
/* Takes the identity line that `certsync-agent identity` printed. */
int enroll_add(struct hub *hub, const char *agent, const char *identity, struct error *err);
/* Takes the keys of a node that joined. `rotates`: beside those that the agent has, until enroll_prove. Sends the keys. */
int enroll_keys(struct hub *hub, const char *agent, const char *ssh, const uint8_t seal_key[SEAL_KEY_SIZE], bool rotates,
	struct error *err);
/* The agent came in with its new key: it is its only one from now on. */
void enroll_prove(struct hub *hub, const char *agent);
/* Forgets the keys (the record stays in the store under another name), the join line too, and ends its connection. */
int enroll_remove(struct hub *hub, const char *agent, struct error *err);
/* Appends "SHA256:…" of a public key "TYPE BASE64 …", as ssh-keygen -l prints it. */
int enroll_fingerprint(const char *public_key, struct buf *out, struct error *err);
/* Writes the hub's line for this agent's `certsync-agent join` (its form: man/certsync-protocol.7). */
int enroll_hub_line(struct hub *hub, const char *agent, struct buf *out, struct error *err);
/* Sends every enrolled agent's key of the configuration, and those of open join lines, to the root half; its answer has the
 * number hub->keys_asked. While a record cannot be read it is not sent, so that nobody is locked out, and tried again. */
void enroll_send_keys(struct hub *hub);

#endif
