/* The connection to the hub. It is kept up for ever, over SSH (a certsync-link child) or the hub's local socket, with
 * several hubs in turn and full-jitter backoff. It speaks the agent's side of lib/wire/message.h: it pings, keeps one
 * fetch outstanding, and answers nonsense with an error that names it, then closes.
 */
#ifndef CERTSYNC_AGENT_DAEMON_SESSION_H
#define CERTSYNC_AGENT_DAEMON_SESSION_H

#include "agent/common/config.h"
#include "lib/wire/message.h"

#include <event2/event.h>
#include <stdbool.h>

enum {
	SESSION_PING = 70,    /* s between two pings */
	SESSION_PONG = 15,    /* s until the hub counts as gone */
	SESSION_WELCOME = 45, /* s from the start of an attempt */
	SESSION_BUNDLE = 60,  /* s from a fetch to its bundle */
	SESSION_LASTED = 60,  /* s after which a connection counts as good: the backoff begins anew */
};

struct session;

struct session_handler {
	/* The stream is there: send hello and the inventories. */
	void (*greet)(void *context);
	/* The hub has answered with welcome. */
	void (*welcome)(const struct message *m, void *context);
	/* An offer, activate, probe, hold or signers has come. */
	void (*message)(const struct message *m, void *context);
	/* A fetched bundle has come. It is routed by its clear header, which nobody has verified yet. */
	void (*bundle)(const char *certificate, const uint8_t *data, size_t len, void *context);
	void (*pong)(void *context);
	/* A connection has ended, or an attempt has failed; session_status tells why. */
	void (*lost)(bool was_ready, void *context);
};

struct session *session_new(struct event_base *base, const struct agent_config *config,
	const struct session_handler *handler, void *context);
void session_free(struct session *s); /* no callback. NULL is allowed */

/* Begins the first attempt. */
void session_start(struct session *s);
/* Ends a wait because a person asks. Returns false while fail2ban must be given time (see session_status). */
bool session_connect_now(struct session *s);

/* Ends a connection whose keys have changed, and begins the next one at once, as session_connect_now does. */
bool session_reconnect(struct session *s);

/* Sends the message, or drops it when there is no connection. */
void session_tell(struct session *s, const struct message *m);
/* Queues a fetch; it takes the place of an older one of the same certificate. */
void session_fetch(struct session *s, const char *certificate, struct revision revision, uint32_t attempt);
void session_forget_fetch(struct session *s, const char *certificate);
/* Sends a ping now; `pong` shows that everything that the hub had to say before it has come. */
void session_ping(struct session *s);
bool session_is_ready(const struct session *s);

struct session_status {
	const char *state;   /* "connected", "connecting", "waiting" */
	const char *hub;     /* its address, as configured */
	const char *name;    /* what the hub calls this agent; empty before the first welcome */
	int64_t since;       /* wall clock: when the state began */
	int64_t next_try;    /* wall clock; 0 unless waiting */
	const char *failure; /* of the last connection or attempt; empty: none since the last welcome */
	int64_t failed_at;   /* wall clock */
};
void session_status(const struct session *s, struct session_status *ret); /* borrowed */

#endif
