/* Which keys an agent has: given by `certsync agent add NAME --key -`, kept in the store (kind "agents", NAME: agent.json),
 * handed to the root half as lines of authorized_keys.
 */
#ifndef CERTSYNC_HUB_ENROLL_H
#define CERTSYNC_HUB_ENROLL_H

#include "hub/hub.h"
#include "hub/request.h"

struct enrolment {
	char ssh[HUB_KEY_TEXT_MAX];        /* "ssh-ed25519 AAAA…" */
	uint8_t seal[SEAL_KEY_SIZE];
	int64_t added;
};

/* 1 found, 0 not enrolled, -1 error. */
int enroll_find(struct hub *hub, const char *agent, struct enrolment *ret, struct error *err);
/* Takes the identity line that `certsync-agent identity` printed. */
int enroll_add(struct hub *hub, const char *agent, const char *identity, struct error *err);
/* Writes the hub's line for this agent's `certsync-agent join` (its form: man/certsync-protocol.7). */
int enroll_hub_line(struct hub *hub, const char *agent, struct buf *out, struct error *err);
/* Sends every enrolled agent's key of the configuration to the root half. */
void enroll_send_keys(struct hub *hub);

#endif
