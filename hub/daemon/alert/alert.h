/* Telling a person. On every round (every 30 seconds, and soon after a change) what is wrong is collected, what
 * lib/alert/condition.h says is due becomes one message, and each way to tell (a recipient of mail, a webhook, the
 * command) delivers it on its own by a worker. A delivery is tried again after 1 minute, doubling to an hour, and made
 * once, in order. A way that fails is a condition itself, which the others tell.
 *
 * The record in the store is of kind "alerts", NAME "hub": state.json has the book of conditions, messages with the
 * ways that have not delivered them, failures of ways, and the last messages that were told. What is due is on disk
 * before it is sent. It is bounded: the newest ALERT_QUEUE_MAX messages of the last ALERT_KEEP seconds are kept.
 */
#ifndef CERTSYNC_HUB_DAEMON_ALERT_ALERT_H
#define CERTSYNC_HUB_DAEMON_ALERT_ALERT_H

#include "hub/daemon/hub.h"
#include "lib/alert/condition.h"

enum { ALERT_QUEUE_MAX = 100, ALERT_KEEP = 5 * 86400, ALERT_TOLD_MAX = 20 };

void alert_open(struct hub *hub);
void alert_close(struct hub *hub);
void alert_soon(struct hub *hub); /* something has changed: a round within seconds */

/* What holds now; borrowed. */
const struct condition_book *alert_book(const struct hub *hub);

/* A way to tell a person. Times are of the wall clock; 0 means never. */
struct alert_channel {
	const char *name, *error; /* borrowed */
	size_t waiting;           /* messages */
	uint32_t failures;        /* in a row; 0: all is well */
	int64_t since;            /* when it began to fail */
	int64_t next_try;
};
struct alert_channel *alert_channels(const struct hub *hub, size_t *ret_count); /* the caller owns the list */

/* What a person was told. */
struct alert_told {
	struct condition_told told; /* owned */
	int64_t when;
};
const struct alert_told *alert_told(const struct hub *hub, size_t *ret_count); /* borrowed; newest first */

/* Returns what `status` warns of: ways that fail, or that all depend on what is watched. The caller owns the text,
 * which is "" when all is well. */
char *alert_warning(const struct hub *hub);

/* Sends a test by every way: `answered` is called for each, `ended` after the last. There is one test at a time; -1
 * says that there is no way to tell, or that a test is under way. After alert_test_forget nobody waits for the answers
 * any more. */
struct alert_test_handler {
	void (*answered)(const char *channel, bool ok, const char *text, void *context);
	void (*ended)(bool ok, void *context);
};
int alert_test(struct hub *hub, const struct alert_test_handler *handler, void *context, struct error *err);
void alert_test_forget(struct hub *hub);

#endif
