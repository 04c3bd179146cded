/* Keeping installed files as they were installed: by watches on them, and by checks after events, after failures and
 * every quarter of an hour, since an event can be missed.
 *
 * A check that follows a repair waits longer each time, so that two programs that disagree about a file do not rewrite
 * it all day.
 */
#ifndef CERTSYNC_AGENT_ROOT_GUARD_H
#define CERTSYNC_AGENT_ROOT_GUARD_H

#include "agent/root/certificate.h"
#include "agent/root/watch.h"

struct guard {
	struct watch *watch; /* owned; NULL: inotify is not to be had, the checks go on */
	int64_t check_at_ms; /* monotonic */
	int64_t repaired_at_ms;
	int64_t gap_ms; /* between an event and its check */
	bool complained;
};

void guard_init(struct guard *g);
void guard_release(struct guard *g);

/* Makes the watches those that are needed now; it is called after whatever may have changed which files are installed.
 * Events that are still unread count. */
void guard_arm(struct guard *g, const struct root_certificate *certificates, size_t count);
/* Takes the events of guard_fd, which is -1 when there is none. */
int guard_fd(const struct guard *g);
void guard_event(struct guard *g);

/* Makes the next check come within a minute, since something could not be started or put right. */
void guard_check_soon(struct guard *g);
void guard_check_now(struct guard *g);    /* a hold has begun or ended */
int64_t guard_due(const struct guard *g); /* milliseconds until guard_tick has something to do */
/* Returns true when something was put right. */
bool guard_tick(struct guard *g, struct root_certificate *certificates, size_t count);

#endif
