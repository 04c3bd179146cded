/* What is remembered of a set that was written or read whole: the SHA-256 of each of its files. With that the set is
 * read again, and seen to be the same byte for byte, without decoding its keys and certificates, which takes ten times
 * as long. It is kept in memory alone: what a program finds at its start it decodes.
 */
#ifndef CERTSYNC_AGENT_ROOT_DIGESTS_H
#define CERTSYNC_AGENT_ROOT_DIGESTS_H

#include "agent/root/file_set.h"

struct digests {
	struct content content;            /* the set's own; all zeros: nothing is remembered */
	uint8_t second[CHAIN_SHA256_SIZE]; /* fingerprint of the second leaf; zeros: there is one pair */
	struct digests_file {
		const char *name;
		bool private;
		uint8_t sum[CHAIN_SHA256_SIZE];
	} files[FILE_SET_FILES_MAX];
	size_t file_count;
};

void digests_take(struct digests *m, const struct file_set *s);

/* Reads the set below archive/NAME. Returns -1 when a file is not as it was or cannot be read now; file_set_read then says
 * why. */
int digests_read(const struct digests *m, int directory, struct file_set *ret);

#endif
