/* The hub's daemon as certsync-hub-root sees it: started as the configured user with a socket to us as its
 * descriptor 3, started again when it ends, after 1 s doubling to 30 s (1 s again after a minute of life).
 */
#ifndef CERTSYNC_HUB_SUPERVISOR_H
#define CERTSYNC_HUB_SUPERVISOR_H

#include "hub/common/root_request.h"
#include "lib/core/frame.h"
#include "lib/core/proc.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct supervisor {
	const char *const *argv; /* borrowed */
	struct proc_user user;
	bool has_user; /* else it runs as we do */
	pid_t pid;     /* 0: does not run */
	int fd;        /* our end of the socket, non-blocking; -1 */
	struct frame_stream in;
	struct buf out;     /* what the daemon has not taken yet */
	int64_t started_at; /* monotonic milliseconds, as all times here */
	int64_t start_at;   /* meaningful while it does not run */
	int64_t kill_at;    /* it was told to end; 0: it was not */
	int64_t backoff;
};

void supervisor_init(struct supervisor *s, const char *const *argv);
void supervisor_release(struct supervisor *s);

/* Starts it when that is due, kills it when it was told to end and has not. Logs. True when it was started.
 */
bool supervisor_tick(struct supervisor *s, int64_t now);
int64_t supervisor_due(const struct supervisor *s); /* the next tick's time; INT64_MAX: none */

/* Whether it runs and has taken everything: then one thing more may be sent. So nothing piles up here. */
bool supervisor_is_idle(const struct supervisor *s);
void supervisor_send(struct supervisor *s, enum frame_type type, const void *data, size_t len);
void supervisor_reply(struct supervisor *s, const struct hub_reply *reply);

/* For poll: what to wait for, and what to do with what came. `request` is called for each whole request; a
 * daemon that sends anything else is killed. */
short supervisor_events(const struct supervisor *s);
typedef void supervisor_request(const struct hub_request *request, void *context);
void supervisor_io(
	struct supervisor *s, short revents, int64_t now, supervisor_request *request, void *context);

/* Reaps it if it has ended. Logs. */
void supervisor_reap(struct supervisor *s, int64_t now);
/* Asks it to end, within 10 s. */
void supervisor_stop(struct supervisor *s, int64_t now);

#endif
