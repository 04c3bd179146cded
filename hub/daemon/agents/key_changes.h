/* What became of the keys of agents, and who did it: the newest KEY_CHANGES_MAX changes of all agents, of which a
 * person is told (hub/daemon/alert), and who came in with a key that is good for nothing any more.
 *
 * The record in the store is of kind "keys", NAME "agents": changes.json. A change is in it before it is made.
 */
#ifndef CERTSYNC_HUB_DAEMON_AGENTS_KEY_CHANGES_H
#define CERTSYNC_HUB_DAEMON_AGENTS_KEY_CHANGES_H

#include "hub/daemon/hub.h"

struct enrolment;

enum { KEY_CHANGES_MAX = 256, KEY_CHANGES_WHO_MAX = 96, KEY_CHANGES_WHAT_MAX = 256, KEY_CHANGES_KEYS_MAX = 192 };

struct key_change {
	int64_t at;      /* wall clock */
	uint32_t serial; /* grows by one with each */
	char agent[NAME_AGENT_MAX];
	char what[KEY_CHANGES_WHAT_MAX];                                /* with who did it */
	char before[KEY_CHANGES_KEYS_MAX], after[KEY_CHANGES_KEYS_MAX]; /* "SSH key SHA256:…, sealing key …"; "none" */
};

/* Reads the record. One that cannot be read is logged, and a new one begun. */
void key_changes_open(struct hub *hub);
void key_changes_close(struct hub *hub);

/* Writes a change down, durably. `before` or `after` is NULL where there were no keys. */
int key_changes_note(struct hub *hub, const char *agent, const char *what, const struct enrolment *before,
	const struct enrolment *after, struct error *err);
/* Takes back the last change, which could not be made. */
void key_changes_take_back(struct hub *hub);
/* Returns the changes, oldest first and borrowed. */
const struct key_change *key_changes(const struct hub *hub, size_t *ret_count);
/* Writes who it is, like "root (uid 0)", from this machine's own /etc/passwd: no directory service is asked, which
 * could take its time. */
const char *key_changes_who(uid_t uid, char ret[KEY_CHANGES_WHO_MAX]);

/* Notes whether the agent is to have new keys, as its record says (enroll.h), so that nobody has to read the record of
 * every agent to know. */
void key_rotation_note(struct hub *hub, const char *agent, bool rotates);
bool key_rotates(const struct hub *hub, const char *agent);

/* Somebody came in as this agent with a key (its mark is in hub/common/root_request.h) that it does not have. Returns
 * true when that is to be logged, which is once a minute. */
bool key_stranger_note(struct hub *hub, const char *agent, const char *mark);
/* Returns when that was last, within the life of this process, and with which key; 0 means never. */
int64_t key_stranger(const struct hub *hub, const char *agent, const char **ret_mark);

#endif
