/* The hub's signing key, and how it is replaced without a visit to any node (man/certsync-protocol.7, SIGNING KEYS).
 *
 *   idle      There is one key, which all agents have pinned. told      The next key is made; agents are told of both,
 *   in a list that the present one has signed. switched  Every agent has said that it pins both, so the next key is the
 *   present one, and the old one is wiped; agents
 *             are told of the new one alone, in a list that it has signed. Idle follows when all have pinned that.
 *
 * An agent that refuses the list is missing in any of them: the hub may have been restored from a backup.
 *
 * After a theft the switch comes at once: whoever had not pinned the next key by then takes nothing any more, and has
 * to join again.
 *
 * The record in the store is of kind "hub", NAME "announce": signing.json. certsync-keys says which keys there are
 * (hub/daemon/agents/signer.h); what was left between the two by a kill is settled at the start. The lists are made
 * from both whenever they are needed.
 */
#ifndef CERTSYNC_HUB_DAEMON_AGENTS_SIGNING_H
#define CERTSYNC_HUB_DAEMON_AGENTS_SIGNING_H

#include "hub/daemon/hub.h"
#include "lib/wire/message.h"

struct signing;
struct session;

enum signing_phase { SIGNING_IDLE, SIGNING_TOLD, SIGNING_SWITCHED };

/* An agent that has not said that it pins what it is told. */
struct signing_missing {
	char agent[NAME_AGENT_MAX];
	bool cut_off;  /* it takes nothing that is signed here until it joins again */
	char *refused; /* its reason, of this life of the daemon; NULL: none was told */
};

struct signing_status {
	enum signing_phase phase;
	int64_t since; /* wall clock; 0: never */
	uid_t by;
	bool now;                              /* it was done at once, after a theft */
	const uint8_t *present, *next;         /* SEAL_KEY_SIZE each, borrowed; next NULL unless told */
	const struct signing_missing *missing; /* borrowed, until anything else is called */
	size_t missing_count, agent_count;     /* of those that were to say it */
};

/* Begins at the start, when keys and store are there. A record that cannot be read is logged, and the state is idle. */
int signing_open(struct hub *hub, struct error *err);
void signing_close(struct hub *hub);
/* Agents that are not in the configuration, or no longer have keys, are not waited for. */
void signing_settle(struct hub *hub);

/* Replaces the key. With `now` a new key takes over at once, whatever is under way; without it only one replacement at
 * a time may be under way (ERROR_USAGE). */
int signing_rotate(struct hub *hub, bool now, uid_t by, struct error *err);
void signing_status(struct hub *hub, struct signing_status *ret);
/* Says why the agent has not said so, and what to do. */
void signing_reason(struct hub *hub, const struct signing_missing *m, char *ret, size_t size);
/* Appends "sign=…" for each key that a node that joins now has to pin. */
void signing_add_fields(const struct hub *hub, struct buf *out);

/* Tells this agent, if there is anything to tell. */
void signing_tell(struct hub *hub, struct session *s);
/* Takes what an agent says of a list. */
void signing_pinned(struct hub *hub, const char *agent, const struct message *m);

#endif
