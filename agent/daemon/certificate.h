/* One certificate in the daemon's care: its transaction, put to work with the root half, the hub and probes. */
#ifndef CERTSYNC_AGENT_DAEMON_CERTIFICATE_H
#define CERTSYNC_AGENT_DAEMON_CERTIFICATE_H

#include "agent/daemon/site.h"
#include "agent/daemon/transaction.h"
#include "lib/wire/json.h"

/* Begins with what the root half has, and finishes what was interrupted. */
struct daemon_certificate *daemon_certificate_new(
	struct site *site, const struct agent_certificate *certificate, const struct inventory *have);
/* Drops what is under way: switched files are left to the root half and the next start. */
void daemon_certificate_free(struct daemon_certificate *w);

const char *daemon_certificate_name(const struct daemon_certificate *w);
const struct transaction *daemon_certificate_transaction(const struct daemon_certificate *w);

/* These come from the hub: offer, activate, probe or hold; a bundle; welcome; the end of the connection. */
void daemon_certificate_message(struct daemon_certificate *w, const struct message *m);
void daemon_certificate_bundle(struct daemon_certificate *w, const uint8_t *data, size_t len);
void daemon_certificate_welcome(struct daemon_certificate *w);
void daemon_certificate_lost(struct daemon_certificate *w);

/* Looks at what is served, unless that is being done or there is nothing to look at. */
void daemon_certificate_inspect(struct daemon_certificate *w);
/* Asks the hub for what is due. */
void daemon_certificate_pull(struct daemon_certificate *w);

/* Fills in what the hub is told at hello. */
void daemon_certificate_inventory(const struct daemon_certificate *w, struct message *ret);
/* Makes an object {"event": "certificate", …} for `status`; the caller owns it. */
cJSON *daemon_certificate_status(const struct daemon_certificate *w);
/* Returns whether all is as it should be: a revision is committed, nothing failed, and every running service was seen
 * serving it. */
bool daemon_certificate_converged(const struct daemon_certificate *w);

#endif
