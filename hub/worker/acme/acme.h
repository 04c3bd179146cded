/* The ACME client (RFC 8555), which runs in a worker: it talks to the server and tells the daemon what to keep, and
 * stores nothing itself. The dialogue with hub/daemon/acme/order.c is specified at the top of hub/worker/acme/acme.c.
 */
#ifndef CERTSYNC_HUB_ACME_H
#define CERTSYNC_HUB_ACME_H

#include <stddef.h>

/* Each pair has this time; then the daemon kills the worker. With dns-01, hooks have as much again, and the wait has
 * dns_timeout. */
enum { ACME_JOB_SECONDS = 600, ACME_DNS_HOOKS_SECONDS = 600 };

/* A certificate has one or two pairs of key and chain, each with an order of its own; the names of their files and
 * labels end with this suffix. */
enum { ACME_PAIRS_MAX = 2 };
static inline const char *acme_suffix(size_t pair)
{
	return pair ? "-2" : "";
}

/* Runs the body of `certsync-worker acme`: one job on descriptors 0 and 1. Returns the exit code. */
int acme_worker(void);

#endif
