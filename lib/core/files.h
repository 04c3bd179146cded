/* The payload of FRAME_FILES: a label and a few small named files. Keys are among them, so that keys never stand in
 * JSON. The encoding is fixed: string label, u8 count, then for each file string name and bytes content.
 */
#ifndef CERTSYNC_LIB_CORE_FILES_H
#define CERTSYNC_LIB_CORE_FILES_H

#include "lib/core/buf.h"
#include "lib/core/error.h"

enum { FILES_MAX = 24, FILES_NAME_MAX = 256, FILES_LABEL_MAX = 512, FILES_FILE_MAX = 64 * 1024 };

struct files {
	char label[FILES_LABEL_MAX]; /* what they are, e.g. a certificate's name; the sender's business */
	struct {
		char name[FILES_NAME_MAX];
		const uint8_t *data; /* borrowed */
		size_t len;
	} file[FILES_MAX];
	size_t count;
};

int files_encode(const struct files *f, struct buf *out); /* -1: over a cap */
int files_decode(const uint8_t *data, size_t len, struct files *ret, struct error *err);
/* Adds one file, whose name and bytes are borrowed. Returns -1 when the list is full, or when the name or the content
 * exceeds its cap. */
int files_add(struct files *f, const char *name, const void *data, size_t len);
/* Returns the index of the file with this name, or -1. */
int files_find(const struct files *f, const char *name);

#endif
