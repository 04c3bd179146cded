/* The protocols whose words are packets: PostgreSQL, MySQL and LDAP. What has come of a packet is kept in `line`. */
#ifndef CERTSYNC_LIB_PROBE_STARTTLS_PACKETS_H
#define CERTSYNC_LIB_PROBE_STARTTLS_PACKETS_H

#include "lib/probe/starttls.h"

void starttls_packets_begin(struct starttls *s, struct buf *send);
void starttls_packets_leave(struct starttls *s, struct buf *send);
/* Takes one byte of the server's, and answers the packet that it completes. */
void starttls_packets_take(struct starttls *s, char byte, struct buf *send);

#endif
