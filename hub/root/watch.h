/* The watcher: a child of certsync-hub-root that blocks in libinotifytools, which has no descriptor to wait on, and
 * writes the index of each path where something has changed to a pipe, as two bytes, big-endian.
 *
 * What can be replaced is watched from outside too: a directory from the one around it, a file and the target of a
 * symbolic link (certbot's archive/) in its own directory. This is done with the rights of whoever controls the path
 * (hub/common/rights.h), so that no link makes root watch what he could not, and for up to 256 links of a path. When a
 * watch may no longer be where its path is (a directory moved or replaced, an overflow), the watcher simply ends:
 * whoever started it starts it again, and reads everything once the new one is armed.
 */
#ifndef CERTSYNC_HUB_ROOT_WATCH_H
#define CERTSYNC_HUB_ROOT_WATCH_H

#include "lib/core/error.h"

#include <stddef.h>
#include <sys/types.h>

enum {
	WATCH_MAX = 0xfff0,   /* paths: directories and files */
	WATCH_ARMED = 0xffff, /* instead of an index: from now on nothing is missed */
	WATCH_RECORD_SIZE = 2,
};

#define WATCH_ARGUMENT "--watch"

/* Starts `program --watch PATH…`, whose main must call watch_main. *ret_fd is where it writes; it is the caller's, and
 * non-blocking. */
pid_t watch_start(const char *program, const char *const *paths, size_t count, int *ret_fd, struct error *err);

/* Runs the child's body, on its standard output. Returns the exit code, which is 0 when it has to be started again. */
int watch_main(char *const *paths, size_t count);

#endif
