/* The worker of kind "responder": it answers tls-alpn-01 (hub/worker/acme/alpn.h) behind HAProxy, for as long as the
 * daemon has certificates that are proven so. It is a process of its own so that the handshakes of strangers take place
 * where neither a key nor a decision is. It is bounded: RESPONDER_VISITS connections, of which the oldest gives way, and
 * RESPONDER_SECONDS for each from the accept to the end.
 *
 * Messages of the daemon (hub/daemon/acme/responder.c), and what this one says to them (`<`):
 *
 *   > job        address: "127.0.0.1:8404"
 *     < listening, or
 *     < failed   text; the worker ends
 *   > add        name, digest: SHA-256 of the key authorization, in hexadecimal
 *     < added    name: whoever asks now gets the answer
 *   > remove     name
 */
#ifndef CERTSYNC_HUB_WORKER_ACME_RESPONDER_H
#define CERTSYNC_HUB_WORKER_ACME_RESPONDER_H

/* Runs the worker and returns its exit code. */
int acme_responder_worker(void);

#endif
