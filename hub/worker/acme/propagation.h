/* Waiting until the records of dns-01 challenges can be seen.
 */
#ifndef CERTSYNC_HUB_WORKER_ACME_PROPAGATION_H
#define CERTSYNC_HUB_WORKER_ACME_PROPAGATION_H

#include "hub/worker/acme/dns.h"
#include "hub/worker/acme/lookup.h"

/* Waits until each authoritative server shows each wanted record, as a CA would see it. A server that says something else
 * is waited for until `timeout` (seconds; dns_timeout of the configuration), and then it is the error. One that says
 * nothing usable is waited for 30 seconds, and then left out when another server of its zone shows the record, since a
 * resolver asks another one, too. ERROR_RETRY names what each server said. */
int propagation_wait(struct acme *a, const struct lookup *lookup, const struct dns_record *records, size_t count,
	int64_t timeout, struct error *err);

#endif
