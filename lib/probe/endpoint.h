/* An endpoint is an address at which TLS is served, and how to get as far as TLS there. This does no I/O and links
 * neither TLS nor an event loop, so that every reader of a configuration can check an endpoint.
 */
#ifndef CERTSYNC_LIB_PROBE_ENDPOINT_H
#define CERTSYNC_LIB_PROBE_ENDPOINT_H

#include "lib/core/error.h"

#include <stdbool.h>
#include <sys/socket.h>

enum probe_protocol {
	PROBE_TLS,      /* TLS at once; as `inner`: what is spoken inside is not known */
	PROBE_SMTP,     /* STARTTLS, RFC 3207 */
	PROBE_IMAP,     /* RFC 3501 section 6.2.1 */
	PROBE_POP3,     /* STLS, RFC 2595 section 4 */
	PROBE_SIEVE,    /* RFC 5804 section 2.2 */
	PROBE_POSTGRES, /* SSLRequest */
	PROBE_MYSQL,    /* MySQL's and MariaDB's handshake, with CLIENT_SSL */
};

enum { ENDPOINT_TEXT_MAX = 96, ENDPOINT_HELO_MAX = 256 };

struct endpoint {
	struct sockaddr_storage address;
	socklen_t address_len;
	enum probe_protocol protocol; /* up to TLS */
	enum probe_protocol inner;    /* inside TLS: the language in which to leave politely */
	bool proxy;                   /* send a PROXY protocol v2 LOCAL header first */
	char helo[ENDPOINT_HELO_MAX]; /* what to say in EHLO; "": the address that one comes from */
	char text[ENDPOINT_TEXT_MAX]; /* as written in the configuration, for tables and messages */
};

/* Parses "127.0.0.1:25", "[::1]:993", "127.0.0.1:10025+proxy", "127.0.0.1:2525/smtp" or "…/tls+proxy". The protocol
 * follows from a well-known port: 25 and 587 are smtp, 110 pop3, 143 imap, 4190 sieve with STARTTLS, 5432 postgres,
 * 3306 mysql; 465 smtps, 993 imaps, 995 pop3s; these plus 10000 (the customary PROXY twins) likewise; any other port
 * has TLS at once. After a slash the protocol can be told: smtp imap pop3 sieve postgres mysql (STARTTLS), or smtps
 * imaps pop3s tls (TLS at once). A fault is ERROR_USAGE with the reason. */
int endpoint_parse(const char *text, struct endpoint *ret, struct error *err);

/* Returns whether the text of an endpoint, "10.0.0.4:25" or "[fd00::4]:25", has this address, however that is
 * written. */
bool endpoint_is_at(const char *text, const char *address);

#endif
