/* The judge of what a crash left: reads the disk and what the story had said until then (tests/crash/story.h), with libcrypto and
 * without any of the product's code.
 *
 * N1  What services read is one whole set, key and chain of one pair, whatever the moment: live/NAME and the agent's own copy.
 * N2  A key that was made known (the hub's, an agent's two, an order's) is on the disk, and the same.
 * N5  What was published is there with its content, and `current` is not before it; what was committed is served, or newer.
 * Keys are readable by their owner alone at every moment.
 *
 * Once the programs have started again, also: own copy, live/ and journal agree; nothing of an interrupted write is left;
 * every set and revision that is there is whole.
 */
#ifndef CERTSYNC_TESTS_CRASH_CHECK_H
#define CERTSYNC_TESTS_CRASH_CHECK_H

#include <stdbool.h>
#include <stddef.h>

/* `disk` holds hub, etc, root, …; `said` is the story's output. 0, or -1 and what is wrong in `why`. */
int crash_check(const char *disk, const char *said, bool recovered, char *why, size_t size);

#endif
