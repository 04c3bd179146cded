/* Which keys an agent has: given by a node that joins or by `certsync agent add NAME --key -`, kept in the store (kind "agents", NAME:
 * agent.json), handed to the root half as lines of authorized_keys. Each change is written down first (key_changes.h), with who made it.
 */
#ifndef CERTSYNC_HUB_ENROLL_H
#define CERTSYNC_HUB_ENROLL_H

#include "hub/daemon/hub.h"
#include "hub/common/root_request.h"

struct enrolment {
	char ssh[HUB_KEY_TEXT_MAX]; /* "ssh-ed25519 AAAA…" */
	uint8_t seal[SEAL_KEY_SIZE];
	int64_t added;
	int64_t rotation; /* since when it is to have new keys; 0: it is not. Over when they were proven, or others given */
	uid_t rotation_by; /* who asked for that */
	bool rotates;      /* they are here, and have not been seen to work yet */
	char next_ssh[HUB_KEY_TEXT_MAX];
	uint8_t next_seal[SEAL_KEY_SIZE];
};

/* One of its pairs, found by the SSH key. */
struct enrolled_key {
	bool next; /* the one that is to be proven */
	uint8_t seal[SEAL_KEY_SIZE];
};

/* 1 found, 0 not enrolled, -1 error. */
int enroll_find(struct hub *hub, const char *agent, struct enrolment *ret, struct error *err);
/* Those that were taken away last. */
int enroll_find_removed(struct hub *hub, const char *agent, struct enrolment *ret, struct error *err);
/* The pair whose SSH key has this mark (hub/common/root_request.h); NULL: the newest, as by the local socket, where no key is looked at.
 * 1 found, 0: none of its keys, -1 error. What is sealed for a session is sealed to this key and to no other. */
int enroll_find_key(struct hub *hub, const char *agent, const char *mark, struct enrolled_key *ret, struct error *err);
/* Whether other keys may be put in the place of those that it has: ERROR_USAGE asks for --replace unless that was said. */
int enroll_may_replace(struct hub *hub, const char *agent, bool replace, struct error *err);
/* Takes the identity line that `certsync-agent identity` printed. Other keys than it has, and those that were taken away, need `replace`; its
 * sessions end then. */
int enroll_add(struct hub *hub, const char *agent, const char *identity, bool replace, uid_t by, struct error *err);
/* Takes the keys of a node that joined. `rotates`: beside those that the agent has, until enroll_prove. Sends the keys. */
int enroll_keys(struct hub *hub, const char *agent, const char *ssh, const uint8_t seal_key[SEAL_KEY_SIZE],
	bool rotates, uid_t by, struct error *err);
/* A line for new keys is printed: from now on that stands as not done yet. */
int enroll_rotate(struct hub *hub, const char *agent, uid_t by, struct error *err);
/* The agent came in with its new key (of this mark; NULL: by the local socket): it is its only one from now on. -1: that could not be
 * written, and is logged; it is tried again when it comes in again. */
int enroll_prove(struct hub *hub, const char *agent, const char *mark);
/* Forgets the keys (the record stays in the store under another name), the join line too, and ends its connections. */
int enroll_remove(struct hub *hub, const char *agent, uid_t by, struct error *err);
/* Appends "SHA256:…" of a public key "TYPE BASE64 …", as ssh-keygen -l prints it. */
int enroll_fingerprint(const char *public_key, struct buf *out, struct error *err);
/* Writes the hub's line for this agent's `certsync-agent join` (its form: man/certsync-protocol.7). */
int enroll_hub_line(struct hub *hub, const char *agent, struct buf *out, struct error *err);
/* Sends every enrolled agent's key of the configuration, and those of open join lines, to the root half; its answer has the
 * number hub->keys_asked. While a record cannot be read it is not sent, so that nobody is locked out, and tried again. */
void enroll_send_keys(struct hub *hub);

#endif
