/* An endpoint is an address at which TLS is served, and how to get as far as TLS there. This does no I/O and links
 * neither TLS nor an event loop, so that every reader of a configuration can check an endpoint.
 */
#ifndef CERTSYNC_LIB_PROBE_ENDPOINT_H
#define CERTSYNC_LIB_PROBE_ENDPOINT_H

#include "lib/core/error.h"

#include <stdbool.h>
#include <sys/socket.h>

enum probe_protocol {
	PROBE_TLS,         /* TLS at once; as `inner`: what is spoken inside is not known */
	PROBE_SMTP,        /* STARTTLS, RFC 3207 */
	PROBE_IMAP,        /* RFC 3501 section 6.2.1 */
	PROBE_POP3,        /* STLS, RFC 2595 section 4 */
	PROBE_SIEVE,       /* RFC 5804 section 2.2 */
	PROBE_POSTGRES,    /* SSLRequest */
	PROBE_MYSQL,       /* MySQL's and MariaDB's handshake, with CLIENT_SSL */
	PROBE_LDAP,        /* StartTLS, RFC 4511 section 4.14 */
	PROBE_XMPP,        /* between a client and a server, RFC 6120 section 5 */
	PROBE_XMPP_SERVER, /* between two servers */
	PROBE_FTP,         /* AUTH TLS, RFC 4217 section 4 */
	PROBE_NNTP,        /* RFC 4642 */
	PROBE_LMTP,        /* RFC 2033, with STARTTLS as SMTP has it */
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
 * follows from a well-known port: with STARTTLS 25 and 587 are smtp, 24 lmtp, 110 pop3, 143 imap, 4190 sieve, 21 ftp,
 * 119 nntp, 389 ldap, 5222 xmpp, 5269 xmpp-server, 5432 postgres, 3306 mysql; with TLS at once 465 is smtps, 993 imaps,
 * 995 pop3s, 990 ftps, 563 nntps, 636 ldaps, 5223 xmpps; these plus 10000 (the customary PROXY twins) likewise; any
 * other port has TLS at once. After a slash one of these, or tls, can be told. A fault is ERROR_USAGE with the reason.
 */
int endpoint_parse(const char *text, struct endpoint *ret, struct error *err);

/* Returns whether the text of an endpoint, "10.0.0.4:25" or "[fd00::4]:25", has this address, however that is
 * written. */
bool endpoint_is_at(const char *text, const char *address);

#endif
