/* certsync-agent as the child of its root half: it is started as the agent's user, with a socket to the root half as
 * its descriptor 3, and started again when it ends, after 1 to 30 seconds.
 */
#ifndef CERTSYNC_AGENT_ROOT_DAEMON_H
#define CERTSYNC_AGENT_ROOT_DAEMON_H

#include "lib/core/frame.h"
#include "lib/core/heartbeat.h"
#include "lib/core/proc.h"

struct daemon_process {
	const char *config_path;      /* borrowed */
	const struct proc_user *user; /* borrowed; NULL: the caller */
	pid_t pid;                    /* -1: not running */
	int pidfd;                    /* readable when it has ended */
	struct frame_stream stream;   /* its fd is owned here */
	bool heard;                   /* it has asked for something since it was started: it takes signals */
	struct heartbeat heartbeat;
	int64_t start_at_ms, started_ms, wait_ms;
};

void daemon_process_init(struct daemon_process *c, const char *config_path, const struct proc_user *user);
int64_t daemon_process_due(
	const struct daemon_process *c); /* milliseconds until daemon_process_tick has something to do */
/* Starts the child when that is due, ends one that hangs, and logs. */
void daemon_process_tick(struct daemon_process *c);
/* The child has said something, or been answered. */
void daemon_process_heard(struct daemon_process *c);
/* The child has ended, or is to be ended at once (for the logged reason `why`): reaps it and sets the time of the next
 * start. */
void daemon_process_ended(struct daemon_process *c, const char *why);
void daemon_process_signal(const struct daemon_process *c, int number);
/* Sends SIGTERM, and SIGKILL after five seconds. */
void daemon_process_stop(struct daemon_process *c);

#endif
