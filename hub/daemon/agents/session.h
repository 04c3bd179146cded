/* The connections of agents, each from the moment that it was accepted, and what is sent by them.
 * hub/daemon/agents/admission.h lets them in.
 */
#ifndef CERTSYNC_HUB_DAEMON_AGENTS_SESSION_H
#define CERTSYNC_HUB_DAEMON_AGENTS_SESSION_H

#include "hub/common/root_request.h"
#include "hub/daemon/hub.h"
#include "lib/wire/message.h"

enum {
	SESSION_SILENCE = 90,
	SESSION_WORD_MAX = HUB_KEY_WORD_MAX - 1
}; /* seconds without a frame until the peer counts as gone */

void session_close_all(struct hub *hub);
/* Ends this agent's connections. */
void session_drop(struct hub *hub, const char *agent, const char *reason);

struct session *session_find(struct hub *hub, const char *agent); /* that has said hello; or NULL */
const char *session_agent(const struct session *s);
const char *session_key(
	const struct session *s); /* the mark of the SSH key that it came in with; NULL: by the local socket */
const char *session_version(const struct session *s);
uint32_t session_protocol(const struct session *s); /* the one that is spoken with it */
int64_t session_rival(const struct session *s);     /* when another machine last tried to be this agent; 0 never */
int64_t session_skew(const struct session *s);      /* the agent's clock minus ours, at hello, in seconds */
/* Returns whether one more line about what this agent does wrong may be logged. An agent must not fill the disk, nor
 * make a log with a limit of its own drop what others have to say: beyond SESSION_NOISE such lines in a minute nothing
 * is logged, which is told once. */
enum { SESSION_NOISE = 60 };
bool session_may_complain(struct hub *hub, const char *agent);
void session_send(struct session *s, const struct message *m);
void session_send_bundle(struct session *s, const void *data, size_t len);

/* Only admission.c writes to a session; others read it by the functions above. */
struct session {
	struct session *next;
	struct hub *hub;
	int fd;               /* until the name is known; then conn has it */
	struct event *prefix; /* reads the gate's length byte and name */
	struct event *silence;
	struct conn *conn;
	char text[SESSION_WORD_MAX + 1]; /* of the forced command */
	char name[NAME_AGENT_MAX];
	char key[HUB_KEY_MARK_MAX]; /* which one it came in with; "": none, by the local socket */
	bool rotates;               /* that is the agent's next one, which is not its only one yet */
	size_t name_len, name_got;  /* of `text`; name_len 0: the length byte has not come */
	bool hello;                 /* said, and accepted */
	char instance[33];
	char version[32];
	uint32_t protocol;
	int64_t skew;
	int64_t rival;           /* when another machine was refused in this one's favour; 0 never */
	char rival_instance[33]; /* which one that was: it is logged once */
	uint32_t inventories;    /* still to come */
	int64_t heard;           /* monotonic ms */
	int64_t noise_since;     /* monotonic ms: the minute in which */
	uint32_t noise;          /* so many lines were to be logged about what it did wrong */
};

/* Closes the connection, and does no more. */
void session_free(struct session *s);
/* Logs the reason, closes the connection, and tells of it if the agent had said hello. */
void session_end(struct session *s, const char *reason);
/* Tells the agent the reason, which it shows in its own status, and ends the session. */
void session_refuse(struct session *s, bool log, const char *what, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#endif
