/* A message as RFC 5322 has it. This does no I/O. */
#ifndef CERTSYNC_HUB_WORKER_MAIL_H
#define CERTSYNC_HUB_WORKER_MAIL_H

#include "lib/core/buf.h"

#include <stdint.h>

struct alert_mail {
	const char *from, *to, *subject, *text; /* text: lines of any length */
	const char *id, *host;                  /* of Message-ID */
	int64_t now;
};

/* Returns 0, or -1 when the message does not fit. Lines end in CRLF; the text is wrapped at 76 columns between words,
 * and quoted-printable where it has to be. */
int alert_mail_print(const struct alert_mail *m, struct buf *out);

#endif
