/* The ACME client (RFC 8555), which runs in a worker: it talks to the server and tells the daemon what to keep, and
 * stores nothing itself. The dialogue with hub/daemon/acme/order.c is specified at the top of hub/worker/acme/acme.c.
 */
#ifndef CERTSYNC_HUB_WORKER_ACME_ACME_H
#define CERTSYNC_HUB_WORKER_ACME_ACME_H

/* Runs the body of `certsync-worker acme`: one job on descriptors 0 and 1. Returns the exit code. */
int acme_worker(void);

#endif
