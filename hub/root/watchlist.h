/* The watched certificates of hub.conf, and which of them are to be read now. The list owns the watcher process
 * (hub/root/watch.h).
 *
 * A certificate is due 100 ms after the first event at a path of its own. All are due when the watcher is armed, at
 * each scan interval (which also makes the watches anew, in case a path leads elsewhere now), and when the daemon asks.
 */
#ifndef CERTSYNC_HUB_ROOT_WATCHLIST_H
#define CERTSYNC_HUB_ROOT_WATCHLIST_H

#include "hub/common/config.h"

#include <stdint.h>
#include <sys/types.h>

struct watchlist_item {
	const struct hub_certificate *certificate; /* borrowed from the configuration */
	int64_t due;                               /* monotonic milliseconds, as all times here; INT64_MAX: not due */
};

struct watchlist {
	const char *program;          /* borrowed: what watch_start starts */
	struct watchlist_item *items; /* sorted by certificate */
	size_t count;
	size_t *owners; /* the index of the item of each path that the watcher was given */
	size_t path_count;
	int64_t interval, periodic_at;
	pid_t pid; /* of the watcher; 0: does not run */
	int fd;    /* where it writes; -1 */
	int64_t started_at, start_at, backoff;
	unsigned char half; /* first byte of a record whose second one has not come */
	bool has_half;
};

void watchlist_init(struct watchlist *w, const char *program);
void watchlist_release(struct watchlist *w); /* ends the watcher */
/* Takes the paths from `config`, which must live until the next load or release. */
void watchlist_load(struct watchlist *w, const struct hub_config *config, int64_t now);

/* Starts the watcher when that is due, and logs. */
void watchlist_tick(struct watchlist *w, int64_t now);
int64_t watchlist_due(const struct watchlist *w); /* the next tick's time; INT64_MAX: none */
/* Reads what the watcher wrote. */
void watchlist_io(struct watchlist *w, int64_t now);
/* Reaps the watcher if it has ended, and logs. */
void watchlist_reap(struct watchlist *w, int64_t now);

/* Returns the item that is due first, or NULL when there is none. */
struct watchlist_item *watchlist_first(struct watchlist *w);
struct watchlist_item *watchlist_find(struct watchlist *w, const char *certificate); /* NULL: not watched */
void watchlist_all(struct watchlist *w, int64_t due);

#endif
