/* One agent's connection, through the gate or the local socket. Who it is comes from the forced command's argument
 * or from the peer's uid, never from a message.
 */
#ifndef CERTSYNC_HUB_SESSION_H
#define CERTSYNC_HUB_SESSION_H

#include "hub/daemon/hub.h"
#include "lib/wire/message.h"

enum { SESSION_SILENCE = 90 }; /* seconds without a frame until the peer counts as gone */

/* listener_accept handlers; `context` is the hub. */
void session_accept_gate(int fd, uid_t uid, void *context);
void session_accept_local(int fd, uid_t uid, void *context);
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
/* Whether one more line about what this agent does wrong may be logged. It cannot fill the disk, nor have a log with a limit of its own
 * drop what others have to say: of more than SESSION_NOISE such lines in a minute the rest is not logged, which is told once. */
enum { SESSION_NOISE = 60 };
bool session_may_complain(struct hub *hub, const char *agent);
void session_send(struct session *s, const struct message *m);
void session_send_bundle(struct session *s, const void *data, size_t len);

#endif
