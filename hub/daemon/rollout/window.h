/* The times of the day in which activations may begin. This does no I/O: the caller's function says what time of day it
 * is here, so that daylight saving is the C library's concern. A window that lies in the hour that the clock skips does
 * not come on that day, and one in the hour that comes twice comes twice.
 */
#ifndef CERTSYNC_HUB_DAEMON_ROLLOUT_WINDOW_H
#define CERTSYNC_HUB_DAEMON_ROLLOUT_WINDOW_H

#include "hub/common/config.h"

enum { WINDOW_AHEAD = 3600 };

/* Returns minutes after midnight, local time. */
int window_local_minute(int64_t wall);

/* Without any windows it is always open. `minute_of` NULL means UTC. */
bool window_is_open(const struct hub_window *windows, size_t count, int64_t now, int (*minute_of)(int64_t wall));
/* Returns when to look again: the next full minute, later than `now`, in which a window is open, or `now` +
 * WINDOW_AHEAD when that is further off. */
int64_t window_next(const struct hub_window *windows, size_t count, int64_t now, int (*minute_of)(int64_t wall));

#endif
