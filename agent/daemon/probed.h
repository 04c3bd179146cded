/* What is served at a certificate's endpoints, as probes saw it last, compared with the leaf (of two pairs, either
 * leaf) that is expected. It does no I/O.
 */
#ifndef CERTSYNC_AGENT_DAEMON_PROBED_H
#define CERTSYNC_AGENT_DAEMON_PROBED_H

#include "lib/wire/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct probed {
	struct message_probe probe[MESSAGE_PROBES_MAX]; /* endpoint and service fixed; the rest as seen last */
	size_t count;
	int64_t probed_at;               /* monotonic; 0: never */
	char expected[CHAIN_HEX_MAX];    /* the leaf that should be served; set by the owner before a round */
	char second[CHAIN_HEX_MAX];      /* of two pairs the other leaf, which is as right; empty: none */
	bool wanted[MESSAGE_PROBES_MAX]; /* what the round under way probes */
	bool alive[MESSAGE_PROBES_MAX];  /* answered before the switch: only those are waited for */
};

/* Returns false when there are MESSAGE_PROBES_MAX endpoints already. */
bool probed_add(struct probed *v, const char *endpoint, const char *service);
/* Takes in the names of the services that are not running. */
void probed_set_stopped(struct probed *v, const char *const *stopped, size_t count);

/* These choose what the next round probes, and return false when that is nothing. */
bool probed_want_running(struct probed *v); /* the endpoints of running services */
bool probed_want_missing(struct probed *v); /* of those, what was alive and does not serve the expected leaf */

/* Takes in a round: `seen` has one element for each endpoint, of which the wanted ones are read. */
void probed_record(struct probed *v, const struct message_probe *seen, int64_t now);
bool probed_note_alive(struct probed *v); /* as seen last; whether there is one */
void probed_all_alive(struct probed *v);  /* nothing is known of before */

bool probed_all_match(const struct probed *v);    /* every endpoint of a running service serves it */
bool probed_any_mismatch(const struct probed *v); /* one serves something else */
/* Writes "127.0.0.1:993 (dovecot): connection refused; …" for what is still wanted. */
void probed_describe_wanted(const struct probed *v, char *text, size_t size);
/* Writes the same for every endpoint of a running service that does not serve the expected leaf; the text is empty when
 * there is none. */
void probed_describe_unserved(const struct probed *v, char *text, size_t size);
void probed_add_to(const struct probed *v, struct message *m);

#endif
