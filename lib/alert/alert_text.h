/* What a person reads: this makes one message out of a notice. It does no I/O. */
#ifndef CERTSYNC_LIB_ALERT_ALERT_TEXT_H
#define CERTSYNC_LIB_ALERT_ALERT_TEXT_H

#include "lib/alert/condition.h"

enum {
	ALERT_SUBJECT_MAX = 160,
	ALERT_BODY_MAX = 12 * 1024, /* of a message's text; what does not fit is counted */
};

/* Makes a subject such as "certsync: mail.domain.pl: mismatch on 2 endpoints". */
void alert_subject(const struct condition_notice *n, char ret[ALERT_SUBJECT_MAX]);

/* Makes the object that a webhook is posted and a command reads (man/certsync-hub.conf.5, ALERT MESSAGES); the caller
 * owns it. `hub` says who tells it. `id` is unique, and the same for every delivery of this message. The object always
 * takes less than 64 KiB as text. */
cJSON *alert_message(const struct condition_notice *n, const char *hub, const char *id, int64_t now);
/* Makes the message of `certsync alert test` in the same form. */
cJSON *alert_test_message(const char *hub, const char *id, int64_t now);

#endif
