/* Running a tool of the system or of a service (postconf, sshd -T, nginx -T …) for what it prints. */
#ifndef CERTSYNC_TOOL_H
#define CERTSYNC_TOOL_H

#include "lib/core/buf.h"
#include "lib/core/error.h"

#include <stdbool.h>

enum { TOOL_SECONDS = 20, TOOL_OUTPUT_MAX = 8 * 1024 * 1024 };

/* The absolute path of a program in one of PROC_PATH's directories (owned); NULL: it is not installed. */
char *tool_find(const char *name);
bool tool_exists(const char *name);

/* Runs argv[0], looked up as above, in the locale C and without standard input; its standard output is appended to
 * `out`. *ret_exit is its exit code. -1: not installed, killed, over the deadline, more than `out` takes. */
int tool_exit(const char *const *argv, struct buf *out, int *ret_exit, struct error *err);
/* The same, an exit code other than 0 being an error with the last line of what it said on standard error. */
int tool_run(const char *const *argv, struct buf *out, struct error *err);

#endif
