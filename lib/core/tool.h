/* Running a tool of the system or of a service (postconf, sshd -T, nginx -T …) for what it prints. */
#ifndef CERTSYNC_LIB_CORE_TOOL_H
#define CERTSYNC_LIB_CORE_TOOL_H

#include "lib/core/buf.h"
#include "lib/core/error.h"

#include <stdbool.h>

enum { TOOL_SECONDS = 20, TOOL_OUTPUT_MAX = 8 * 1024 * 1024 };

/* Returns the absolute path of a program in one of PROC_PATH's directories, which the caller frees, or NULL when it is
 * not installed. */
char *tool_find(const char *name);
bool tool_exists(const char *name);

/* Runs argv[0], looked up as above, in the locale C and without standard input, and appends its standard output to
 * `out`. *ret_exit is its exit code. Returns -1 when it is not installed, was killed, exceeded the deadline, or printed
 * more than `out` takes. */
int tool_exit(const char *const *argv, struct buf *out, int *ret_exit, struct error *err);
/* Does the same, and makes an exit code other than 0 an error, with the last line of what the tool said on standard
 * error. */
int tool_run(const char *const *argv, struct buf *out, struct error *err);

#endif
