/* Tells the service manager how a daemon stands, by the datagram protocol of sd_notify(3). */
#ifndef CERTSYNC_LIB_CORE_NOTIFY_H
#define CERTSYNC_LIB_CORE_NOTIFY_H

#include <stdint.h>

/* Sends `state` (like "READY=1") to NOTIFY_SOCKET, and does nothing without one. A failure to send is not reported,
 * since the manager's own time-out notices it. */
void notify_manager(const char *state);

/* Serves the manager's watchdog (WatchdogSec= of the unit); it is for the process that the unit starts. It is called
 * before each poll with the time that poll may wait, in milliseconds (-1 is for ever). When half of the watchdog's time
 * has passed it tells the manager that the loop goes round, and it returns how long poll may wait so that this happens
 * again. Without a watchdog it returns `timeout`. */
int notify_alive(int timeout);
/* Says that what comes now may keep the loop from going round for so many seconds, for example a hook for its
 * `timeout`. The manager waits that much longer, at the start and at the end too. 0 says that it is over. */
void notify_busy(int64_t seconds);

#endif
