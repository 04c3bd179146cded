/* A node joins, and this is what the hub writes to its disk: the line, the spent secret, the keys, and authorized_keys,
 * which the root half writes from what the daemon sends it. The story says "enrolled KEY", "spent", "listed join" and
 * "listed KEY". */
#ifndef CERTSYNC_TESTS_CRASH_STORY_JOIN_H
#define CERTSYNC_TESTS_CRASH_STORY_JOIN_H

#include "hub/daemon/store.h"

int story_join(struct store *s, const char *dir, struct error *err);
/* Another node takes the place of the one that has joined. */
int story_join_again(struct store *s, const char *dir, struct error *err);
/* Does what a daemon does about joining when it starts. */
int story_join_start(struct store *s, const char *dir, struct error *err);

#endif
