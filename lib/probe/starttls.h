/* The way to TLS in SMTP, LMTP, IMAP, POP3, ManageSieve, FTP, NNTP, LDAP, XMPP, PostgreSQL and MySQL, and the polite
 * way out, as a state machine over bytes: what the server said goes in, what to send comes out. It has neither sockets nor a clock.
 *
 * fail2ban's filters count clients that hang up without a word. So a dialogue that cannot reach TLS still says QUIT,
 * LOGOUT or the like before it is over, unless the server has broken the protocol or said goodbye itself.
 */
#ifndef CERTSYNC_LIB_PROBE_STARTTLS_H
#define CERTSYNC_LIB_PROBE_STARTTLS_H

#include "lib/core/buf.h"
#include "lib/probe/endpoint.h"
#include "lib/core/error.h"

#include <stdbool.h>
#include <stddef.h>

enum {
	STARTTLS_LINE_MAX = 4096,      /* one line of the server's, without its end */
	STARTTLS_STEP_MAX = 16 * 1024, /* all that it may say in one step */
	STARTTLS_SEND_MAX = 1024,      /* no dialogue says more */
};

enum starttls_state {
	STARTTLS_MORE,    /* send what came out, then feed what comes back */
	STARTTLS_READY,   /* begin the handshake */
	STARTTLS_OVER,    /* the farewell was answered: close */
	STARTTLS_REFUSED, /* no TLS here, `reason` says why: close */
};

enum starttls_step {
	STARTTLS_GREETING,
	STARTTLS_EHLO,
	STARTTLS_UPGRADE,
	STARTTLS_FAREWELL,
	STARTTLS_END,
};

/* Where in the server's XML the next byte stands. */
struct starttls_xml {
	int depth;  /* of elements that are open */
	char quote; /* that which an attribute's value has begun with, else NUL */
	enum { XML_OTHER, XML_FEATURES, XML_PROCEED, XML_FAILURE, XML_ERROR } child; /* what stands in the stream */
	bool in_text;                                                                /* of a stream error */
	char error[200];                                                             /* condition and text of it */
};

struct starttls {
	enum probe_protocol protocol;
	enum starttls_step step;
	enum starttls_state state;
	bool leaving;   /* a polite end is all that is wanted */
	bool offered;   /* STARTTLS was among the capabilities */
	char helo[256]; /* argument of EHLO and LHLO: a domain or an address literal */
	char to[256];   /* the name whose certificate is wanted; "": none is said */
	char code[4];   /* of a reply of FTP that goes on, else "" */
	struct starttls_xml xml;
	char line[STARTTLS_LINE_MAX];
	size_t line_len;
	size_t step_bytes;
	struct error reason; /* why TLS is not reached, kept during the farewell */
};

/* Begins the way from the connection to TLS. `helo` is like "haproxy.domain.pl" or "[127.0.0.1]". `sni` is the name
 * that will be asked for in the handshake, or NULL; XMPP asks for it before. The server speaks first, except with
 * PostgreSQL, LDAP and XMPP. PROBE_TLS is STARTTLS_READY at once. In MySQL nothing answers the request, so it is
 * STARTTLS_READY with bytes to send first. */
void starttls_begin(
	struct starttls *s, enum probe_protocol protocol, const char *helo, const char *sni, struct buf *send);
/* Begins the way out inside TLS: it waits for the server's greeting where one comes, then takes its leave. */
void starttls_leave(struct starttls *s, enum probe_protocol protocol, const char *sni, bool greeting, struct buf *send);

/* Feeds bytes of the server and appends what to send (never more than STARTTLS_SEND_MAX in one dialogue). Bytes behind
 * the answer to STARTTLS, and an answer that comes before STARTTLS was sent, are "text before the handshake" and
 * refused, since whoever stood in between may have put them there. */
enum starttls_state starttls_feed(struct starttls *s, const void *data, size_t len, struct buf *send);
/* Says that the server closed: STARTTLS_OVER while leaving, else STARTTLS_REFUSED. */
enum starttls_state starttls_closed(struct starttls *s);

#endif
