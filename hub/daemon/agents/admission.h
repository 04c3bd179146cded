/* Who comes in through the gate or the local socket, and what is done with what it says. Who it is comes from the
 * forced command's argument or from the peer's uid, never from a message; a key that is not this agent's any more is
 * refused, and so is a second machine.
 */
#ifndef CERTSYNC_HUB_DAEMON_AGENTS_ADMISSION_H
#define CERTSYNC_HUB_DAEMON_AGENTS_ADMISSION_H

#include <sys/types.h>

/* These are handlers of a listener; `context` is the hub. */
void admission_gate(int fd, uid_t uid, void *context);
void admission_local(int fd, uid_t uid, void *context);

#endif
