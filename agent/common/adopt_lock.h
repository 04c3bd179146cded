/* ROOT_STATE/adopt.lock, by flock(2): either `certsync-agent adopt` changes the services of this node, or puts them back, or
 * the root half has a new revision in its place that is not yet committed. Neither begins while the other is at work, and
 * during an adopt nothing is put right, since neither the root half nor a hook could tell a file that is being changed
 * from one that is wrong. The kernel ends a lock with its process.
 */
#ifndef CERTSYNC_AGENT_COMMON_ADOPT_LOCK_H
#define CERTSYNC_AGENT_COMMON_ADOPT_LOCK_H

#include "lib/core/error.h"

#include <stdbool.h>

/* Returns a descriptor that keeps all others out until it is closed, or -1, of kind ERROR_RETRY when that cannot be now. It
 * waits for an activation, minutes if need be, and says so on standard error. */
int adopt_lock_take(int root_state, struct error *err);
/* Returns one that keeps adopt out until it is closed, or -1 when an adopt is at work or the file cannot be opened. */
int adopt_lock_share(int root_state);
/* Returns whether an adopt is at work; false where that cannot be told. */
bool adopt_lock_is_taken(int root_state);

#endif
