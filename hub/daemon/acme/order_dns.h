/* The daemon's part of dns-01: what the worker is told, and the records that it has written and not yet
 * removed.
 *
 * They are kept before the first is written, in the store, kind "dns", NAME of the certificate, records.json:
 * {"records": [{"name", "value", "target", "hook", "config"}…]}; there is none when nothing is left over.
 * What a crash leaves is removed by the certificate's next order, with the hook that wrote it.
 */
#ifndef CERTSYNC_HUB_DAEMON_ACME_ORDER_DNS_H
#define CERTSYNC_HUB_DAEMON_ACME_ORDER_DNS_H

#include "hub/common/config.h"
#include "hub/daemon/store.h"
#include "lib/wire/json.h"

/* Adds "dns" (of a certificate by dns-01) and "dns_leftovers" to a job. */
int order_dns_job(struct store *store, const struct hub_certificate *certificate, cJSON *job, struct error *err);
/* Takes the worker's message: what stands from now on. A later worker will run the hook that a record names, so each is one that is
 * kept already, or one of `names` by the hook that `dns`, the job's (NULL: it has none), says. */
int order_dns_keep(struct store *store, const char *certificate, const cJSON *names, const cJSON *dns,
	const cJSON *message, struct error *err);
/* The seconds that the worker needs beside those of every order, for each pair. */
int order_dns_seconds(const struct hub_certificate *certificate);

#endif
