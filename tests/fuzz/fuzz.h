/* A fuzz target: bytes of a peer or of a file go in, and only a result comes out. Each file here is one; where there is
 * no other way in, it includes the .c file whose static parser it calls. `make fuzz` builds them with libFuzzer, `make
 * unit` with replay.c, which runs the corpus. */
#ifndef CERTSYNC_FUZZ_H
#define CERTSYNC_FUZZ_H

#include "lib/core/mem.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FUZZ_PATH_MAX = 32 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the program when something that a header promises does not hold. */
#define FUZZ_CHECK(promise) \
	do { \
		if (!(promise)) { \
			fprintf(stderr, "%s:%d: not kept: %s\n", __FILE__, __LINE__, #promise); \
			abort(); \
		} \
	} while (0)

/* Makes a file in memory of the bytes, for what is read by path. The caller closes it. */
static inline int fuzz_file(const uint8_t *data, size_t size, char path[FUZZ_PATH_MAX])
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (fd < 0 || (size && write(fd, data, size) != (ssize_t)size))
		abort();
	snprintf(path, FUZZ_PATH_MAX, "/proc/self/fd/%d", fd);
	return fd;
}

#endif
