/* What is really served at an endpoint: connect, speak the protocol up to TLS, complete the handshake on
 * whatever is there (expired, self-signed, wrong name), leave politely, and only then judge.
 *
 * Non-blocking on a libevent loop; hundreds may run at once. Never resolves names: an endpoint is an address.
 */
#ifndef CERTSYNC_PROBE_H
#define CERTSYNC_PROBE_H

#include "lib/chain.h"
#include "lib/error.h"

#include <event2/event.h>
#include <stdbool.h>
#include <sys/socket.h>

enum probe_protocol {
	PROBE_TLS,  /* TLS at once */
	PROBE_SMTP, /* STARTTLS, RFC 3207 */
	PROBE_IMAP, /* RFC 3501 section 6.2.1 */
	PROBE_POP3, /* STLS, RFC 2595 section 4 */
	PROBE_SIEVE, /* RFC 5804 section 2.2 */
};

struct endpoint {
	struct sockaddr_storage address;
	socklen_t address_len;
	enum probe_protocol protocol;
	bool proxy; /* send a PROXY protocol v2 LOCAL header first */
	char text[96]; /* as written in the configuration, for tables and messages */
};

/* "127.0.0.1:25", "[::1]:993", "127.0.0.1:10025+proxy", "127.0.0.1:2525/smtp", "…/tls+proxy". The protocol
 * follows from a well-known port: 25 587 smtp, 110 pop3, 143 imap, 4190 sieve; 10025 10587 smtp, 10110 pop3,
 * 10143 imap (the customary PROXY twins); TLS at once otherwise. ERROR_USAGE with the reason. */
int endpoint_parse(const char *text, struct endpoint *ret, struct error *err);

enum probe_state {
	PROBE_SERVED,      /* the handshake completed: leaf and chain are known */
	PROBE_REFUSED,     /* nothing listens there */
	PROBE_TIMEOUT,     /* a step did not end by the deadline */
	PROBE_PROTOCOL,    /* something answers, but TLS was not reached (error says where) */
};

struct probe_result {
	enum probe_state state;
	struct error error;   /* when not PROBE_SERVED */
	X509 *leaf;           /* borrowed during the callback; NULL unless PROBE_SERVED */
	STACK_OF(X509) *rest; /* borrowed; as sent, may be empty */
	uint8_t fingerprint[CHAIN_SHA256_SIZE];
	int64_t milliseconds; /* until the handshake was complete */
};

struct probe;
typedef void probe_done(void *context, const struct probe_result *result);

/* Starts one; `done` is called exactly once, from the loop, never from inside probe_start, after which the
 * probe is gone. `sni` is always sent. The deadline is for everything, polite end included. */
struct probe *probe_start(struct event_base *base, const struct endpoint *endpoint, const char *sni,
	int timeout_ms, probe_done *done, void *context);
/* Ends it early without a callback. */
void probe_cancel(struct probe *p);

#endif
