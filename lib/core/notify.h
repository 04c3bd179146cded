/* Tells the service manager how a daemon stands, by the datagram protocol of sd_notify(3). */
#ifndef CERTSYNC_LIB_NOTIFY_H
#define CERTSYNC_LIB_NOTIFY_H

#include <stdint.h>

/* Sends `state` ("READY=1") to NOTIFY_SOCKET. Without one, nothing; what cannot be sent is not worth failing for:
 * the manager's own timeout sees to that.
 */
void notify_manager(const char *state);

/* The manager's watchdog (WatchdogSec= of the unit), for the process that the unit starts. To be called before each poll with
 * the time that it may wait (milliseconds; -1: for ever): tells the manager that the loop goes round when half of the
 * watchdog's time has passed, and returns how long poll may wait so that this happens again. Without a watchdog: `timeout`.
 */
int notify_alive(int timeout);
/* What comes now may keep the loop from going round for so many seconds (a hook, at most its `timeout`): the manager waits
 * that much longer, at start and at the end too. 0: it is over.
 */
void notify_busy(int64_t seconds);

#endif
