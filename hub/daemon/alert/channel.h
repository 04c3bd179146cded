/* One way to tell a person: what delivers to it, and how that goes. */
#ifndef CERTSYNC_HUB_DAEMON_ALERT_CHANNEL_H
#define CERTSYNC_HUB_DAEMON_ALERT_CHANNEL_H

#include "hub/common/config.h"
#include "hub/daemon/job.h"
#include "lib/alert/alert_text.h"
#include "lib/wire/json.h"

#include <event2/event.h>

enum { ALERT_BACKOFF_MIN = 60, ALERT_BACKOFF_MAX = 3600, ALERT_NAME_MAX = 320 };

struct channel;
struct channel_handler {
	/* Says how one message went. `text` is what the other side answered, cleaned. */
	void (*ended)(struct channel *c, bool ok, const char *text, void *context);
};

struct channel {
	char name[ALERT_NAME_MAX]; /* "email admin@domain.pl", "webhook hooks.domain.pl", "command": for
				      people; no secret of the URL */
	cJSON *job;                /* owned: for the worker, without the message */
	const char
		*password_file; /* borrowed from the configuration: the worker cannot read it and is given it; NULL */
	uint32_t failures;      /* in a row */
	int64_t since;          /* wall clock: when the first of them was; 0: none */
	int64_t next;           /* monotonic seconds: not before */
	char error[ERROR_MESSAGE_MAX];
	/* under way */
	struct job *delivery; /* NULL: nothing */
	char sending[40];     /* the message's id; the caller's note */
	bool ok;
	char answer[ERROR_MESSAGE_MAX];
	const struct channel_handler *handler;
	void *context;
};

/* Makes all ways of the configuration; the caller owns the list. */
struct channel *channels_new(const struct hub_config *config, size_t *ret_count);
void channels_free(struct channel *list, size_t count); /* cancels what is under way */

/* Sends `message`; the handler is called from the loop, or at once when it cannot be started. */
void channel_send(struct channel *c, struct workers *workers, const struct alert_message *message,
	const struct channel_handler *handler, void *context);
/* Notes how a delivery went, for backoff and status. */
void channel_note(struct channel *c, bool ok, const char *text, int64_t wall, int64_t monotonic);

#endif
