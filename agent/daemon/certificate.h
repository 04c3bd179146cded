/* One certificate in the daemon's care: its transaction, put to work with the root half, the hub and probes. */
#ifndef CERTSYNC_AGENT_DAEMON_CERTIFICATE_H
#define CERTSYNC_AGENT_DAEMON_CERTIFICATE_H

#include "agent/daemon/site.h"
#include "agent/daemon/transaction.h"
#include "lib/wire/json.h"

/* Begins with what the root half has, and finishes what was interrupted. */
struct ward *ward_new(struct site *site, const struct agent_certificate *certificate, const struct inventory *have);
/* Drops what is under way: switched files are left to the root half and the next start. */
void ward_free(struct ward *w);

const char *ward_name(const struct ward *w);
const struct transaction *ward_transaction(const struct ward *w);

/* These come from the hub: offer, activate, probe or hold; a bundle; welcome; the end of the connection. */
void ward_message(struct ward *w, const struct message *m);
void ward_bundle(struct ward *w, const uint8_t *data, size_t len);
void ward_welcome(struct ward *w);
void ward_lost(struct ward *w);

/* Looks at what is served, unless that is being done or there is nothing to look at. */
void ward_inspect(struct ward *w);
/* Asks the hub for what is due. */
void ward_pull(struct ward *w);

/* Fills in what the hub is told at hello. */
void ward_inventory(const struct ward *w, struct message *ret);
/* Makes an object {"event": "certificate", …} for `status`; the caller owns it. */
cJSON *ward_status(const struct ward *w);
/* Returns whether all is as it should be: a revision is committed, nothing failed, and every running service was seen
 * serving it. */
bool ward_converged(const struct ward *w);

#endif
