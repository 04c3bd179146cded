/* One child of certsync-hub-root. It is started as its user, with a socket to us where we listen to it, and its end of
 * a socket to the daemon (hub/common/child.h). It is started again when it ends, after 1 s, doubling to 30 s (1 s again
 * after a minute of life).
 */
#ifndef CERTSYNC_HUB_ROOT_SUPERVISOR_H
#define CERTSYNC_HUB_ROOT_SUPERVISOR_H

#include "lib/core/buf.h"
#include "lib/core/frame.h"
#include "lib/core/heartbeat.h"
#include "lib/core/proc.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Takes one frame of the child. Returns 0, or -1 with the reason why the child is killed. */
typedef int supervisor_frame(const struct frame *frame, void *context, struct error *err);

struct supervisor {
	const char *name; /* in the log; borrowed, as the next two */
	const char *const *argv;
	supervisor_frame *frame;                         /* NULL: we do not listen to it, and it has no socket to us */
	unsigned allowed;                                /* what it may send to us: a set of 1 << FRAME_… */
	const int *listen;                               /* becomes its CHILD_LISTEN_FD; borrowed; NULL: none */
	int (*pair)(int ret_pair[2], struct error *err); /* makes its sockets to the daemon */
	bool beats; /* it says something every HEARTBEAT_MS, and is killed when it does not */
	struct proc_user user;
	bool has_user; /* else it runs as we do */
	pid_t pid;     /* 0: does not run */
	int fd;        /* our end of the socket to us, non-blocking; -1 */
	int link;      /* the other end of its CHILD_LINK_FD; -1: given away */
	struct frame_stream in;
	struct buf out; /* what it has not taken yet */
	struct heartbeat heartbeat;
	int64_t started_at; /* monotonic milliseconds, as all times here */
	int64_t start_at;   /* meaningful while it does not run */
	int64_t kill_at;    /* it was told to end; 0: it was not */
	int64_t backoff;
};

/* `s` has its name, argv, frame, beats and pair; the rest is filled in. */
void supervisor_init(struct supervisor *s);
void supervisor_release(struct supervisor *s);

/* Starts the child when that is due, kills it when it was told to end and has not, or hangs, and logs. Returns true when it was
 * started. */
bool supervisor_tick(struct supervisor *s, int64_t now);
int64_t supervisor_due(const struct supervisor *s); /* the next tick's time; INT64_MAX: none */

/* Returns whether the child runs and has taken everything. Only then one thing more may be sent, so that nothing piles
 * up here. */
bool supervisor_is_idle(const struct supervisor *s);
void supervisor_send(struct supervisor *s, enum frame_type type, const void *data, size_t len);

/* These say what poll waits for, and take what came. `frame` is called for each whole frame; a child that sends
 * anything else is killed. */
short supervisor_events(const struct supervisor *s);
void supervisor_io(struct supervisor *s, short revents, int64_t now, void *context);

/* Reaps the child and logs. Returns true if it had ended. */
bool supervisor_reap(struct supervisor *s, int64_t now);
/* Asks the child to end within 10 s. */
void supervisor_stop(struct supervisor *s, int64_t now);
/* Kills a child at once that does not do what it must, and logs. */
void supervisor_kill(struct supervisor *s, const char *reason);

#endif
