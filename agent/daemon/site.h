/* What the agent's daemon has, shared by its certificates and its control socket. */
#ifndef CERTSYNC_AGENT_DAEMON_SITE_H
#define CERTSYNC_AGENT_DAEMON_SITE_H

#include "agent/common/config.h"
#include "agent/common/root_request.h"
#include "agent/daemon/root_client.h"
#include "agent/daemon/session.h"
#include "agent/daemon/teller.h"
#include "lib/wire/message.h"
#include "lib/wire/reading.h"

#include <event2/event.h>

struct daemon_certificate;
struct control;

struct site {
	struct event_base *base;
	const char *config_path;
	struct agent_config *config;
	struct root_client *root;
	struct session *session;
	struct control *control;
	struct reading reading;                   /* of agent.conf; told to whoever asks whether we live */
	struct teller *teller;                    /* NULL: nobody is told */
	struct daemon_certificate **certificates; /* one for each certificate of the configuration */
	size_t certificate_count;
	char instance[2 * REQUEST_INSTANCE_SIZE + 1];
	char signers_refused[REQUEST_TEXT_MAX]; /* why the last list of the hub's signing keys was; empty: it was not */
	/* A certificate has something to tell, to the hub too if it is there. This is called before the certificate
	 * acts on it. */
	void (*told)(struct site *site, struct daemon_certificate *about, const struct message *m);
};

/* Returns NULL when it is not one of ours. */
struct daemon_certificate *site_certificate(const struct site *site, const char *certificate);

#endif
