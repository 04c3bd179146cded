/* A node joins, as the hub has it on its disks: the line, the spent secret, the keys, and authorized_keys, which the root half
 * writes of what the daemon sends it. Said: "enrolled KEY", "spent", "listed join", "listed KEY".
 */
#ifndef CERTSYNC_TESTS_CRASH_STORY_JOIN_H
#define CERTSYNC_TESTS_CRASH_STORY_JOIN_H

#include "hub/daemon/store.h"

int story_join(struct store *s, const char *dir, struct error *err);
/* The node is replaced by another one. */
int story_join_again(struct store *s, const char *dir, struct error *err);
/* What a daemon does about it when it starts. */
int story_join_start(struct store *s, const char *dir, struct error *err);

#endif
