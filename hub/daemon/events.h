/* What a folder of hub/daemon has to tell one that stands above it. In this order each folder uses only those before
 * it:
 *
 *   agents < rollout < publish < acme < alert < view < control < daemon.c
 *
 * daemon.c, which knows them all, fills the table.
 */
#ifndef CERTSYNC_HUB_DAEMON_EVENTS_H
#define CERTSYNC_HUB_DAEMON_EVENTS_H

#include <stdbool.h>

struct error;
struct hub;
struct hub_certificate;
struct message;
struct revision;
struct rollout;
struct session;

struct hub_events {
	/* These tell what comes from an agent's session: one inventory, the end of the hello, an answer, a fetch, which
	 * is answered with a bundle, and the session's end. */
	void (*inventory)(struct hub *hub, const char *agent, const struct message *inventory);
	void (*hello_done)(struct hub *hub, const char *agent);
	void (*answer)(struct hub *hub, const char *agent, const struct message *m);
	void (*fetch)(struct hub *hub, struct session *session, const struct message *m);
	void (*lost)(struct hub *hub, const char *agent);

	/* Something has changed that is shown, or that a person may have to be told: about the certificate of this
	 * rollout, or (NULL) about none in particular. */
	void (*changed)(struct hub *hub, const struct rollout *r);
	/* An agent was seen serving what is desired. */
	void (*verified)(struct hub *hub, const char *certificate);
	/* The policy of this certificate asks for its old content (hub/daemon/publish/rollback.h). */
	int (*roll_back)(struct hub *hub, const struct hub_certificate *certificate, const struct revision *old,
		const char *why, struct error *err);
	/* There is a new revision, from whatever source. */
	void (*published)(struct hub *hub, const char *certificate);
	/* The current certificate was revoked at its authority. With `new_key` its key may be somebody else's, too. */
	void (*revoked)(struct hub *hub, const char *certificate, bool new_key);
};

#endif
