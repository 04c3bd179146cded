/* The daemon's state, shared by its modules. There is one thread and one loop, and nothing here blocks on a network.
 *
 * daemon.c makes and frees all of it; each module below owns what hangs on its own pointer.
 */
#ifndef CERTSYNC_HUB_DAEMON_HUB_H
#define CERTSYNC_HUB_DAEMON_HUB_H

#include "hub/common/config.h"
#include "hub/daemon/store.h"
#include "lib/wire/conn.h"
#include "lib/wire/listener.h"
#include "lib/wire/reading.h"
#include "lib/crypto/seal.h"
#include "lib/crypto/verify.h"

#include <event2/event.h>

struct challenge;
struct responder;
struct fleet;
struct session;
struct renewal;
struct advisor;
struct account;
struct watched;
struct endpoint_checks;
struct outcomes;
struct alert;
struct page_server;
struct client;
struct joining;
struct reach;
struct workers;
struct key_changes;
struct keys;
struct signing;

struct hub {
	const struct hub_events *events; /* hub/daemon/events.h; never NULL */
	struct event_base *base;
	const char *config_path;
	struct hub_config *config;
	struct store *store;
	struct anchors *anchors;
	struct challenge *challenge;
	struct responder *responder; /* hub/daemon/acme/responder.h; NULL: nothing is proven by tls-alpn-01 */
	struct workers *workers;     /* hub/daemon/worker.h */
	struct event *ends;          /* where the root half gives us sockets to its other children */
	struct reach *reach;         /* hub/daemon/reach.h: what this process may reach, for good */
	struct event *beat;          /* tells the root half that we live */
	struct conn *root;           /* to certsync-hub-root; NULL when started without one */
	struct listener *gate, *local, *control;
	uid_t gate_uid, local_uid;
	uid_t owner;       /* who runs the root half: root, but in tests */
	struct keys *keys; /* hub/daemon/keys.h: certsync-keys */
	bool keys_given;   /* a socket to it, since this was false */
	uint8_t sign_public[SEAL_KEY_SIZE];

	struct fleet *fleet;      /* hub/daemon/rollout/fleet.h: a rollout per certificate */
	struct session *sessions; /* hub/daemon/agents/session.h: a list */
	struct renewal *renewals; /* hub/daemon/acme/renewal.h: a list, one per ACME certificate */
	struct advisor
		*advisors; /* hub/daemon/acme/renewal_info.h: a list, one per authority that is asked when to renew */
	struct account *accounts;                /* hub/daemon/acme/account.h: a list, what is being done to accounts */
	struct watched *sources;                 /* hub/daemon/publish/watched.h: a list, one per watched certificate */
	struct outcomes *outcomes;               /* hub/daemon/rollout/history.h: a list, what became of revisions */
	struct endpoint_checks *endpoint_checks; /* hub/daemon/alert/endpoints.h: what is checked from outside */
	struct alert *alert;                     /* hub/daemon/alert/alert.h: who is told of what */
	struct page_server *page;                /* hub/daemon/view/page_server.h; NULL: none */
	int64_t started;                         /* wall clock */
	struct client *clients;                  /* hub/daemon/control/client.h: a list */
	struct joining *joinings;                /* hub/daemon/agents/joining.h: a list, nodes that are joining now */
	struct key_changes *key_changes;         /* hub/daemon/agents/key_changes.h: who changed which agent's keys */
	struct signing *signing;                 /* hub/daemon/agents/signing.h: how the signing key is replaced */
	struct buf host_keys;                    /* hub/daemon/agents/host_keys.h: what agents are told */
	struct event *join_expiry; /* hub/daemon/agents/login_keys.h: when the next join line has to be removed */
	size_t keys_unread; /* records that could not be read for the last list: hub/daemon/agents/login_keys.h */
	uint64_t keys_asked,
		keys_answered;  /* lists of keys sent to the root half, and its answers; they come in order */
	struct reading reading; /* of hub.conf; told to whoever asks whether we live */
	char root_error[1024];  /* why the root half could not write authorized_keys; empty: it could */
};

#endif
