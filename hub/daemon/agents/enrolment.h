/* The record of the keys that an agent has. The store keeps it (kind "agents", NAME: agent.json);
 * hub/daemon/agents/enroll.h changes it.
 */
#ifndef CERTSYNC_HUB_DAEMON_AGENTS_ENROLMENT_H
#define CERTSYNC_HUB_DAEMON_AGENTS_ENROLMENT_H

#include "hub/common/root_request.h"
#include "hub/daemon/hub.h"

enum { ENROLMENT_RECORD_MAX = 8192 };

struct enrolment {
	char ssh[HUB_KEY_TEXT_MAX]; /* "ssh-ed25519 AAAA…" */
	uint8_t seal[SEAL_KEY_SIZE];
	int64_t added;
	int64_t rotation;  /* since when it is to have new keys, until they are proven or others given; else 0 */
	uid_t rotation_by; /* who asked for that */
	bool rotates;      /* they are here, and have not been seen to work yet */
	char next_ssh[HUB_KEY_TEXT_MAX];
	uint8_t next_seal[SEAL_KEY_SIZE];
};

/* One of the agent's pairs, found by its SSH key. */
struct enrolled_key {
	bool next; /* the one that is to be proven */
	uint8_t seal[SEAL_KEY_SIZE];
};

/* Returns 1 when the agent is enrolled, 0 when it is not, or -1 on an error. */
int enrolment_find(struct hub *hub, const char *agent, struct enrolment *ret, struct error *err);
/* Finds the keys that were taken away last. */
int enrolment_find_removed(struct hub *hub, const char *agent, struct enrolment *ret, struct error *err);
/* Finds the pair whose SSH key has this mark (hub/common/root_request.h), or with NULL the newest, as for the local
 * socket, where no key is looked at. Returns 1, 0 when it is none of the agent's keys, or -1 on an error. What is
 * sealed for a session is sealed to this key and to no other. */
int enrolment_find_key(
	struct hub *hub, const char *agent, const char *mark, struct enrolled_key *ret, struct error *err);
/* Returns whether this SSH key has this mark. */
bool enrolment_has_mark(const char *ssh, const char *mark);
/* Keeps the record, which is durable when this returns 0. */
int enrolment_put(struct hub *hub, const char *agent, const struct enrolment *e, struct error *err);
/* Reads a record as it stands in the store. */
int enrolment_decode(const struct buf *text, struct enrolment *ret, struct error *err);
/* Reads a sealing key, which is written in base64. */
int enrolment_parse_key(const char *text, uint8_t ret[SEAL_KEY_SIZE], struct error *err);
/* Appends "SHA256:…" of a public key "TYPE BASE64 …", as ssh-keygen -l prints it. */
int enrolment_fingerprint(const char *public_key, struct buf *out, struct error *err);

#endif
