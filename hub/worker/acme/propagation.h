/* Waiting until the records of dns-01 challenges can be seen.
 */
#ifndef CERTSYNC_HUB_WORKER_ACME_PROPAGATION_H
#define CERTSYNC_HUB_WORKER_ACME_PROPAGATION_H

#include "hub/worker/acme/dns.h"
#include "hub/worker/acme/lookup.h"

/* What counts for a zone of which no authoritative server can be asked from here (dns_fallback of the configuration):
 * the resolvers are asked in their place, or the wait is over after so many seconds (0: neither that). It is told as
 * progress when it is used, with what each server said. */
struct propagation_fallback {
	bool resolvers;
	int64_t wait; /* at most `timeout` */
};

struct propagation {
	const struct lookup *lookup;
	const struct dns_record *records; /* with those that are not wanted among them, which are passed over */
	size_t count;
	int64_t timeout; /* seconds; dns_timeout of the configuration */
	struct propagation_fallback fallback;
};

/* Waits until each authoritative server shows each wanted record, as a CA would see it. A server that says something
 * else is waited for until the timeout, and then it is the error. One that says nothing usable is waited for 30 seconds,
 * or half of the timeout when that is less, and then left out when another server of its zone shows the record, since a
 * resolver asks another one, too. When none of a zone has said anything usable by then, the fallback begins. ERROR_RETRY
 * names what each server said, and the key that helps. */
int propagation_wait(struct acme *a, const struct propagation *p, struct error *err);

#endif
