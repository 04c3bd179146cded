#include "hub/daemon/rollout/window.h"

#include <time.h>

int window_local_minute(int64_t wall)
{
	struct tm tm;
	time_t t = (time_t)wall;
	return localtime_r(&t, &tm) ? tm.tm_hour * 60 + tm.tm_min : 0;
}

static int utc_minute(int64_t wall)
{
	return (int)(wall / 60 % (24 * 60));
}

static bool contains(const struct hub_window *w, int minute)
{
	if (w->from < w->to)
		return minute >= w->from && minute < w->to;
	return minute >= w->from || minute < w->to; /* over midnight */
}

bool window_is_open(const struct hub_window *windows, size_t count, int64_t now, int (*minute_of)(int64_t wall))
{
	int minute = minute_of ? minute_of(now) : utc_minute(now);
	for (size_t i = 0; i < count; i++)
		if (contains(&windows[i], minute))
			return true;
	return count == 0;
}

int64_t window_next(const struct hub_window *windows, size_t count, int64_t now, int (*minute_of)(int64_t wall))
{
	for (int64_t t = now - now % 60 + 60; t < now + WINDOW_AHEAD; t += 60)
		if (window_is_open(windows, count, t, minute_of))
			return t;
	return now + WINDOW_AHEAD;
}
