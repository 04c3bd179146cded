/* A disk as the log of tests/crash/record.c tells it, between what is durable and what was only done: fsync of a file makes its
 * data, size and mode durable, fsync of a directory its entries, and nothing else does. What was done since may be on the disk or
 * not, each by itself: an entry made, removed or renamed (one rename is one thing), a write, of which also a part only, or the size
 * without the data. Two things done to one name keep their order.
 */
#ifndef CERTSYNC_TESTS_CRASH_DISK_H
#define CERTSYNC_TESTS_CRASH_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct disk;

struct disk *disk_new(void);
void disk_free(struct disk *d);

/* One line of the log. False: it is not understood. Lines K and B are the caller's. */
bool disk_do(struct disk *d, char *line);

/* How many things are pending. */
size_t disk_pending(const struct disk *d);

enum disk_wish { DISK_ALL, DISK_NONE, DISK_SOME };

/* Chooses what of the pending things the power leaves, by `random` for DISK_SOME; a hash of the outcome. */
uint64_t disk_choose(struct disk *d, enum disk_wish wish, uint64_t *random);
/* Makes the chosen state below the existing, empty directory. */
bool disk_make(const struct disk *d, const char *path);

uint64_t disk_draw(uint64_t *random);

#endif
