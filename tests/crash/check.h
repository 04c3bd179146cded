/* Judges what a crash has left: it reads the disk and what the story had said until then (tests/crash/story.h), with
 * libcrypto and without any of the product's code.
 *
 * N1  What services read is one whole set, with key and chain of one pair, at every moment: live/NAME and the agent's
 * own copy.
 * N2  A key that was made known (the hub's, an agent's two, an order's) is on the disk, and is the same.
 * N5  What was published is there with its content, and `current` is not before it; what was committed is served, or
 * newer.
 * At every moment only their owner can read keys.
 *
 * Once the programs have started again, own copy, live/ and journal agree, too; nothing of an interrupted write is
 * left; and every set and revision that is there is whole.
 */
#ifndef CERTSYNC_TESTS_CRASH_CHECK_H
#define CERTSYNC_TESTS_CRASH_CHECK_H

#include <stdbool.h>
#include <stddef.h>

/* `disk` holds hub, etc, root, …; `said` is the story's output. 0, or -1 and what is wrong in `why`. */
int crash_check(const char *disk, const char *said, bool recovered, char *why, size_t size);

#endif
