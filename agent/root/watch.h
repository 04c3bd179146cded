/* Noticing that somebody else changes installed files, by inotify(7) in the root half's poll loop.
 *
 * Directories are watched, since a file is replaced by renaming. What changed is not told, only that something with a
 * watched name did: the caller compares contents. A directory that goes away or an overflowing queue counts as a
 * change; the caller then adds its watches again.
 */
#ifndef CERTSYNC_AGENT_ROOT_WATCH_H
#define CERTSYNC_AGENT_ROOT_WATCH_H

#include "lib/core/error.h"

#include <stdbool.h>

struct watch;

struct watch *watch_new(struct error *err); /* owned */
void watch_free(struct watch *w);           /* NULL is allowed */
/* Between the two calls every watch that is to go on is added again; the others end then. */
void watch_begin(struct watch *w);
void watch_end(struct watch *w);
int watch_fd(const struct watch *w); /* readable when there are events */

/* Watches for `name` in a directory; with NULL for any name but temporary ones. */
int watch_add(struct watch *w, const char *directory, const char *name, struct error *err);

/* Takes all events that are there. Returns true when something watched may have changed. */
bool watch_read(struct watch *w);

#endif
