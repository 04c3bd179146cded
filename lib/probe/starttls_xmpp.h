/* XMPP, whose words are one XML document from each side, the streams (RFC 6120 section 4). Of the server's it is read
 * what elements there are, by their names without prefixes; it is bounded, and text and attributes may be anything. */
#ifndef CERTSYNC_LIB_PROBE_STARTTLS_XMPP_H
#define CERTSYNC_LIB_PROBE_STARTTLS_XMPP_H

#include "lib/probe/starttls.h"

/* Opens the stream, on the way to TLS as well as inside, where it is closed as soon as the server has answered. */
void starttls_xmpp_begin(struct starttls *s, struct buf *send);
/* Takes one byte of the server's, and answers the element that it ends. */
void starttls_xmpp_take(struct starttls *s, char byte, struct buf *send);

#endif
