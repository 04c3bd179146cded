/* dns-01 in the worker: a hook writes the records, no challenge is answered before every authoritative server shows
 * them, and they are removed whatever comes of it. The daemon keeps the list of the records that exist
 * (hub/daemon/acme/order_dns.h).
 */
#ifndef CERTSYNC_HUB_WORKER_ACME_DNS_H
#define CERTSYNC_HUB_WORKER_ACME_DNS_H

#include "hub/worker/acme/flow.h"

enum {
	ACME_DNS_RECORDS_MAX = 256,
	ACME_DNS_HOOK_SECONDS = 60, /* for one call, or dns_timeout when that is less */
	/* All removals together have this time; what is late is left over for the next order. */
	ACME_DNS_CLEAN_SECONDS = 60,
};

struct lookup; /* hub/worker/acme/lookup.h */

struct dns_record {
	char *name;          /* "_acme-challenge.domain.pl." */
	char *value;         /* base64url of the digest */
	char *target;        /* where it must stand: the end of the name's CNAMEs */
	char *hook, *config; /* config: NULL is the hook's default */
	bool wanted;         /* by the present order, as opposed to left over */
};

/* Takes what the job says of dns-01. When the job says nothing, `a->dns` is for leftovers alone. */
int acme_dns_open(struct acme *a, struct error *err);
void acme_dns_close(struct acme *a);
bool acme_dns_is_on(const struct acme *a);

/* Adds a record that this order needs: for `identifier` (without "*."), with the key authorization's digest. */
int acme_dns_add(struct acme *a, const char *identifier, const char *authorization, struct error *err);
/* Removes what is left over, writes what was added, and waits until the authoritative servers show it all. */
int acme_dns_present(struct acme *a, struct error *err);
/* Removes every record that exists. What cannot be removed stays in the daemon's list. */
void acme_dns_clean(struct acme *a);

#endif
