/* What is really served at an endpoint: a probe connects, speaks the protocol up to TLS, completes the handshake with
 * whatever is there (expired, self-signed, wrong name), and leaves politely; only then is it judged.
 *
 * Probes do not block and run on a libevent loop, hundreds at once. They never resolve names: an endpoint is an
 * address. The program must ignore SIGPIPE.
 */
#ifndef CERTSYNC_LIB_PROBE_PROBE_H
#define CERTSYNC_LIB_PROBE_PROBE_H

#include "lib/crypto/chain.h"
#include "lib/probe/endpoint.h"
#include "lib/core/error.h"

#include <event2/event.h>

enum probe_state {
	PROBE_SERVED,   /* the handshake completed: leaf and chain are known */
	PROBE_REFUSED,  /* nothing listens there, or the address cannot be reached */
	PROBE_TIMEOUT,  /* a step did not end by the deadline */
	PROBE_PROTOCOL, /* something answers, but TLS was not reached (error says where) */
};

struct probe_result {
	enum probe_state state;
	struct error error;    /* when not PROBE_SERVED; does not repeat the endpoint, which the caller knows */
	X509 *leaf;            /* borrowed during the callback; NULL unless PROBE_SERVED */
	STACK_OF(X509) * rest; /* borrowed; as sent, may be empty */
	uint8_t fingerprint[CHAIN_SHA256_SIZE];
	const char *version;  /* what was negotiated, as in "TLSv1.3"; static; NULL unless PROBE_SERVED */
	int64_t milliseconds; /* until the handshake was complete */
	bool connected;       /* somebody listens there, whatever came of it */
};

struct probe;
typedef void probe_done(void *context, const struct probe_result *result);

/* Starts a probe. `done` is called exactly once, from the loop and never from inside probe_start; after it the probe is
 * gone. `sni` is sent; with NULL none is, as old clients do. The deadline is for everything, the polite end included; one that passes during the
 * polite end does not undo PROBE_SERVED. */
struct probe *probe_start(struct event_base *base, const struct endpoint *endpoint, const char *sni, int timeout_ms,
	probe_done *done, void *context);
/* Does the same as a client that takes one kind of key alone, so that both certificates of a pair are seen. A server
 * that has none of that kind fails the handshake. */
enum probe_key { PROBE_ANY_KEY, PROBE_RSA_KEY, PROBE_ECDSA_KEY };
struct probe *probe_start_key(struct event_base *base, const struct endpoint *endpoint, const char *sni,
	enum probe_key key, int timeout_ms, probe_done *done, void *context);
/* Ends a probe early without a callback. It must not be called from inside `done`. */
void probe_cancel(struct probe *p);

#endif
