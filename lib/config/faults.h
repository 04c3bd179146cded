/* What is wrong with a configuration, each fault with the line that it is about. */
#ifndef CERTSYNC_LIB_CONFIG_FAULTS_H
#define CERTSYNC_LIB_CONFIG_FAULTS_H

#include "lib/core/buf.h"

#include <stdarg.h>

/* So many faults are kept; of those beyond only the number is told. */
enum { CONFIG_FAULTS_MAX = 1000 };

struct config_fault {
	int line;
	size_t order; /* how many were found before it */
	char *text;   /* owned */
};

struct config_faults {
	struct config_fault *list; /* owned; a struct that is all zero has no fault */
	size_t count;
	size_t more; /* how many were not kept */
};

/* A fault quotes what it does not understand, and somebody may have named a key for a configuration: what looks like
 * one is blotted out. */
void config_faults_add(struct config_faults *f, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void config_faults_vadd(struct config_faults *f, int line, const char *fmt, va_list args)
	__attribute__((format(printf, 3, 0)));
/* Appends a line for each, "path:line: text\n", in the order of the lines, those of one line as they were found. */
void config_faults_tell(struct config_faults *f, const char *path, struct buf *out);
void config_faults_release(struct config_faults *f);

#endif
