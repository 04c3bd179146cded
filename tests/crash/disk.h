/* A disk as the log of tests/crash/record.c tells it. Something that was done is durable only after an fsync: one of a
 * file makes its data, size and mode durable, one of a directory its entries. Whatever was done since may be on the
 * disk or not, each thing by itself: an entry that was made, removed or renamed (one rename is one thing), or a write,
 * of which also a part only, or the size without the data. Two things done to one name keep their order. */
#ifndef CERTSYNC_TESTS_CRASH_DISK_H
#define CERTSYNC_TESTS_CRASH_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct disk;

struct disk *disk_new(void);
void disk_free(struct disk *d);

/* Does what one line of the log says. Returns false when it is not understood. Lines K and B are left to the caller. */
bool disk_do(struct disk *d, char *line);

/* Returns how many things are pending. */
size_t disk_pending(const struct disk *d);

enum disk_wish { DISK_ALL, DISK_NONE, DISK_SOME };

/* Chooses which of the pending things the power leaves, for DISK_SOME by `random`. Returns a hash of the outcome. */
uint64_t disk_choose(struct disk *d, enum disk_wish wish, uint64_t *random);
/* Makes the chosen state below the existing, empty directory. */
bool disk_make(const struct disk *d, const char *path);

uint64_t disk_draw(uint64_t *random);

#endif
