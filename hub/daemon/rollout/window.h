/* The times of the day in which activations may begin. Pure: what o'clock it is here, the caller's function says, so that
 * daylight saving is the C library's concern: a window that lies in the hour that the clock skips does not come on that
 * day, one in the hour that comes twice comes twice.
 */
#ifndef CERTSYNC_HUB_DAEMON_ROLLOUT_WINDOW_H
#define CERTSYNC_HUB_DAEMON_ROLLOUT_WINDOW_H

#include "hub/common/config.h"

enum { WINDOW_AHEAD = 3600 };

/* Minutes after midnight, local time. */
int window_local_minute(int64_t wall);

/* None: at any time. `minute_of` NULL: UTC. */
bool window_is_open(const struct hub_window *windows, size_t count, int64_t now, int (*minute_of)(int64_t wall));
/* When to look again: the next full minute, later than `now`, in which one is open; `now` + WINDOW_AHEAD when that is further off. */
int64_t window_next(const struct hub_window *windows, size_t count, int64_t now, int (*minute_of)(int64_t wall));

#endif
