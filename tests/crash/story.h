/* What the product does to a disk, a story at a time, in one process, which runs the product's own modules on a
 * directory of the test.
 *
 *   DIR/pem/1.pem …     what is published or staged: a key, its leaf, the authority; ca.pem: the anchors
 *   DIR/disk/hub        the hub's state
 *   DIR/disk/etc, own, root, state, run   an agent's places
 *   DIR/disk/gate       where authorized_keys is
 *
 * A story writes a line to descriptor 1 before and after each thing that it does, "doing THING" and then "THING", so
 * that tests/crash/check.h can tell what was promised when it ended. story.c has the words.
 */
#ifndef CERTSYNC_TESTS_CRASH_STORY_H
#define CERTSYNC_TESTS_CRASH_STORY_H

#include <stdbool.h>

/* When it is set, nothing is written to descriptor 1. */
extern bool story_quiet;
__attribute__((format(printf, 1, 2))) void story_say(const char *fmt, ...);
/* Runs a story. Returns 0 when all went well, 1 when something was refused, and standard error says what and why, and 2
 * when there is no such story. */
int story_run(const char *dir, const char *name);
/* Does what the programs do when they start again after a crash, on whatever of hub and agent is there. Returns 0 or 1,
 * as above. */
int story_recover(const char *dir);
/* Takes one more revision all the way, on whatever is there after a recovery. */
int story_resume(const char *dir);

#endif
