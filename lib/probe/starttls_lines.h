/* The protocols whose words are lines: SMTP, LMTP, IMAP, POP3, ManageSieve, FTP and NNTP. The server greets first. */
#ifndef CERTSYNC_LIB_PROBE_STARTTLS_LINES_H
#define CERTSYNC_LIB_PROBE_STARTTLS_LINES_H

#include "lib/probe/starttls.h"

/* Begins to leave; with `greeting` the server's comes first. */
void starttls_lines_leave(struct starttls *s, bool greeting, struct buf *send);
/* Takes one byte of the server's, and answers the line that it ends. */
void starttls_lines_take(struct starttls *s, char byte, struct buf *send);

#endif
