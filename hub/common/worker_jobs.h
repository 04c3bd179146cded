/* What the daemon and certsync-worker have to agree on about a job: how long it may take, and how much it may bring.
 * The daemon kills the worker when the time is over. The dialogue of each job is specified beside its worker
 * (hub/worker).
 */
#ifndef CERTSYNC_HUB_COMMON_WORKER_JOBS_H
#define CERTSYNC_HUB_COMMON_WORKER_JOBS_H

#include <stddef.h>

/* An order has so long for each pair. With dns-01 its hooks have as much again, and the wait has dns_timeout. */
enum { ACME_JOB_SECONDS = 600, ACME_DNS_HOOKS_SECONDS = 600 };

/* A certificate has one or two pairs of key and chain, each of which is an order of its own. */
enum { ACME_PAIRS_MAX = 2 };
/* Returns what the names of a pair's files and labels end in. */
static inline const char *acme_suffix(size_t pair)
{
	return pair ? "-2" : "";
}

enum { ACME_ACCOUNT_SECONDS = 300 };
enum { ACME_INFO_SECONDS = 300, ACME_INFO_IDS_MAX = 50 /* certificates that one job asks about */ };
enum { ACME_PREFLIGHT_SECONDS = 60 };
enum { CHECK_JOB_MAX = 100 /* endpoints in one job */ };
enum { ALERT_JOB_SECONDS = 90 };

#endif
