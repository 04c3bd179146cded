/* What a person reads: this makes one message out of a notice. It does no I/O. */
#ifndef CERTSYNC_LIB_ALERT_ALERT_TEXT_H
#define CERTSYNC_LIB_ALERT_ALERT_TEXT_H

#include "lib/alert/condition.h"

enum {
	ALERT_SUBJECT_MAX = 160,
	ALERT_ID_MAX = 33,
	ALERT_TEXT_MAX = 64 * 1024, /* of what is read back */
	ALERT_BODY_MAX = 12 * 1024, /* of a message's text; what does not fit is counted */
};

/* Makes a subject such as "certsync: mail.domain.pl: mismatch on 2 endpoints". */
void alert_subject(const struct condition_notice *n, char ret[ALERT_SUBJECT_MAX]);

/* One message. */
struct alert_message {
	char *text, *subject;              /* owned; the text begins with the subject */
	char *hub;                         /* owned: who tells it */
	char id[ALERT_ID_MAX];             /* unique, and the same for every delivery */
	int64_t time;                      /* wall clock */
	bool critical;                     /* something of it is, and is not over */
	uint32_t more;                     /* conditions for which there was no room */
	struct condition_told *conditions; /* owned */
	size_t count;
};
/* Fills `ret`, which alert_message_release() empties. */
void alert_message_make(
	const struct condition_notice *n, const char *hub, const char *id, int64_t now, struct alert_message *ret);
/* Makes the message of `certsync alert test`. */
void alert_message_test(const char *hub, const char *id, int64_t now, struct alert_message *ret);
void alert_message_release(struct alert_message *m);
#define auto_alert_message __attribute__((cleanup(alert_message_release)))

/* The encoder and decoder of the object that a webhook is posted and a command reads (man/certsync-hub.conf.5, ALERT
 * MESSAGES). It always takes less than 64 KiB as text. A fault leaves an empty message. */
cJSON *alert_message_encode(const struct alert_message *m); /* the caller's */
int alert_message_decode(const cJSON *o, struct alert_message *ret, struct error *err);

#endif
