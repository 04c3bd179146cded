/* certsync-agent as the child of its root half: it is started as the agent's user, with a socket to the root half as
 * its descriptor 3, and started again when it ends, after 1 to 30 seconds.
 */
#ifndef CERTSYNC_AGENT_ROOT_DAEMON_H
#define CERTSYNC_AGENT_ROOT_DAEMON_H

#include "lib/core/frame.h"
#include "lib/core/proc.h"

struct child {
	const char *config_path;      /* borrowed */
	const struct proc_user *user; /* borrowed; NULL: the caller */
	pid_t pid;                    /* -1: not running */
	int pidfd;                    /* readable when it has ended */
	struct frame_stream stream;   /* its fd is owned here */
	bool heard;                   /* it has asked for something since it was started: it takes signals */
	int64_t start_at_ms, started_ms, wait_ms;
};

void child_init(struct child *c, const char *config_path, const struct proc_user *user);
int64_t child_due(const struct child *c); /* milliseconds until child_tick has something to do; -1: it runs */
/* Starts the child when that is due, and logs. */
void child_tick(struct child *c);
/* The child has ended, or is to be ended at once (for the logged reason `why`): reaps it and sets the time of the next
 * start. */
void child_ended(struct child *c, const char *why);
void child_signal(const struct child *c, int number);
/* Sends SIGTERM, and SIGKILL after five seconds. */
void child_stop(struct child *c);

#endif
