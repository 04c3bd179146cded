/* What a person reads: a notice as one message. Pure. */
#ifndef CERTSYNC_ALERT_TEXT_H
#define CERTSYNC_ALERT_TEXT_H

#include "lib/alert/condition.h"

enum {
	ALERT_SUBJECT_MAX = 160,
	ALERT_BODY_MAX = 12 * 1024, /* of a message's text; what does not fit is counted */
};

/* "certsync: mail.domain.pl: mismatch on 2 endpoints" */
void alert_subject(const struct condition_notice *n, char ret[ALERT_SUBJECT_MAX]);

/* The object that a webhook is posted and a command reads (man/certsync-hub.conf.5, ALERT MESSAGES); the
 * caller's. `hub`: who says it. `id` is unique, and the same for every delivery of this message. Always under
 * 64 KiB as text. */
cJSON *alert_message(const struct condition_notice *n, const char *hub, const char *id, int64_t now);
/* The same for `certsync alert test`. */
cJSON *alert_test_message(const char *hub, const char *id, int64_t now);

#endif
