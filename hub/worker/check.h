/* A round of checks for the hub, in a worker: certsync-worker check.
 *
 * It takes {"event": "job", "anchors" (absent: the system's), "expiring_before", "timeout_ms", "endpoints": [{"id",
 * "name", "ports", "at", "certificate" ("": none), "expected": [SHA-256 in hex …], "both_keys"}]}. It answers {"event":
 * "row", "id", "check": as check_encode} for each address and port, or {"event": "failed", "text"}. The machine's
 * resolver resolves names here.
 */
#ifndef CERTSYNC_HUB_WORKER_CHECK_H
#define CERTSYNC_HUB_WORKER_CHECK_H

int check_worker(void); /* returns the exit code */

#endif
