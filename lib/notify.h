/* Tells the service manager how a daemon stands, by the datagram protocol of sd_notify(3). */
#ifndef CERTSYNC_LIB_NOTIFY_H
#define CERTSYNC_LIB_NOTIFY_H

/* Sends `state` ("READY=1") to NOTIFY_SOCKET. Without one, nothing; what cannot be sent is not worth failing for:
 * the manager's own timeout sees to that.
 */
void notify_manager(const char *state);

#endif
