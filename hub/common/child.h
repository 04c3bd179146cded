/* What the children of certsync-hub-root have in common: their descriptors, and how the daemon reaches the others.
 *
 * Each child but the daemon has one socket to the daemon, its descriptor CHILD_LINK_FD. The root half makes the pair
 * when it starts the child, and gives the other end to the daemon over the daemon's own CHILD_LINK_FD, in one record
 * for each start, which says whose end comes with it. So a child that ends is started again beside a daemon that lives
 * on: the daemon sees its old end close and gets a new one. When the daemon ends, what it had said to the others is
 * void, so they are ended with it.
 */
#ifndef CERTSYNC_HUB_COMMON_CHILD_H
#define CERTSYNC_HUB_COMMON_CHILD_H

#include "lib/core/error.h"

/* The daemon is started last, so that what it needs is there when it looks. */
enum hub_child { HUB_CHILD_KEYS, HUB_CHILD_WORKER, HUB_CHILD_DAEMON, HUB_CHILDREN };

enum {
	CHILD_ROOT_FD = 3,   /* frames to and from the root half, for the children that it listens to */
	CHILD_LINK_FD = 4,   /* to the daemon; the daemon's: where the ends come from, by the functions below */
	CHILD_LISTEN_FD = 5, /* of certsync-keys: where operators' commands come in (hub/common/key_bring.h) */
};

/* The root half calls this; `end` is borrowed. It does not wait: a daemon that does not take its ends is an error. */
int child_end_send(int link, enum hub_child whose, int end, struct error *err);
/* The daemon calls this, and it does not wait. Returns 1 and an end, which is the caller's to close, 0 when the root
 * half is gone, -1 when it said something else, or CHILD_NO_END when nothing has come. */
enum { CHILD_NO_END = 2 };
int child_end_receive(int link, enum hub_child *ret_whose, int *ret_end, struct error *err);

#endif
