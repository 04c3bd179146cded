/* A root half that finds out that its daemon hangs. The daemon says something at least every HEARTBEAT_MS; one that has
 * been silent for HEARTBEAT_SILENT_MS is ended and started again. Times are monotonic milliseconds.
 */
#ifndef CERTSYNC_LIB_CORE_HEARTBEAT_H
#define CERTSYNC_LIB_CORE_HEARTBEAT_H

#include <stdbool.h>
#include <stdint.h>

enum { HEARTBEAT_MS = 60 * 1000, HEARTBEAT_SILENT_MS = 150 * 1000, HEARTBEAT_DOUBT_MS = 10 * 1000 };

struct heartbeat {
	int64_t heard_at;
	int64_t doubted_at; /* when the silence was found to be too long; 0: it was not */
};

/* The daemon was started, or has said something. */
void heartbeat_heard(struct heartbeat *h, int64_t now);

/* Returns when heartbeat_stopped is to be asked next. */
int64_t heartbeat_due(const struct heartbeat *h);

/* Returns true when the daemon has been silent for too long, and for HEARTBEAT_DOUBT_MS after that was seen first: a
 * machine that was halted for an hour has halted both, and the daemon gets the time to speak. What waits in `fd` to be
 * read counts as heard. */
bool heartbeat_stopped(struct heartbeat *h, int fd, int64_t now);

#endif
