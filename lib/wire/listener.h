/* A Unix socket that listens on a libevent loop and tells who connects.
 */
#ifndef CERTSYNC_LIB_WIRE_LISTENER_H
#define CERTSYNC_LIB_WIRE_LISTENER_H

#include "lib/core/error.h"

#include <event2/event.h>
#include <sys/types.h>

struct listener;

/* `fd` is the handler's to keep or close; `uid` is the peer's by SO_PEERCRED. */
typedef void listener_accept(int fd, uid_t uid, void *context);

/* Replaces a stale socket file at `path`. The new one has `mode` and the group `gid` from the start; (gid_t)-1 leaves
 * the group as it is created. A socket on which somebody answers is not replaced, which is an error ("already
 * runs"). */
struct listener *listener_new(struct event_base *base, const char *path, mode_t mode, gid_t gid,
	listener_accept *accept, void *context, struct error *err);
/* Closes the socket and removes its file. NULL is allowed. */
void listener_free(struct listener *l);

/* Connects to such a socket. Returns a descriptor, or -1. Where nobody is let in, since who listens hangs, a non-blocking
 * connection fails at once, and another one after LISTENER_WAIT_SECONDS; what is sent on that does not wait longer
 * either. */
enum { LISTENER_WAIT_SECONDS = 20 };
int listener_connect(const char *path, int nonblocking, struct error *err);

#endif
