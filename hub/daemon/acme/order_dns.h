/* The daemon's part of dns-01: what the worker is told, and the records that it has written and not yet removed.
 *
 * They are kept before the first one is written, in the store, of kind "dns" in the certificate's NAME: records.json
 * has {"records": [{"name", "value", "target", "hook", "config"}…]}; it does not exist when nothing is left over. What
 * a crash leaves is removed by the certificate's next order, with the hook that wrote it.
 */
#ifndef CERTSYNC_HUB_DAEMON_ACME_ORDER_DNS_H
#define CERTSYNC_HUB_DAEMON_ACME_ORDER_DNS_H

#include "hub/common/config.h"
#include "hub/daemon/store.h"
#include "lib/wire/json.h"

/* Adds "dns" (for a certificate by dns-01) and "dns_leftovers" to a job. */
int order_dns_job(struct store *store, const struct hub_certificate *certificate, cJSON *job, struct error *err);
/* Takes the worker's message that says which records may exist from now on. A later worker will run the hook that a
 * record names, so each must be one that is kept already, or one of `names` by the hook that `dns`, the job's (NULL
 * when it has none), says. */
int order_dns_keep(struct store *store, const char *certificate, const cJSON *names, const cJSON *dns,
	const cJSON *message, struct error *err);
/* Returns the seconds that the worker needs beside those of every order, for each pair. */
int order_dns_seconds(const struct hub_certificate *certificate);

#endif
