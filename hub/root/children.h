/* The processes that certsync-hub-root keeps running, one row each: the daemon, and those whose sockets it is given.
 *
 * A child that ends is started again by itself, and the daemon gets a new end of a socket to it, so that agents stay
 * connected and http-01 answered; the daemon repeats what was under way with the child. Only the daemon's end takes the
 * others with it, since then nobody knows any more what they were asked.
 */
#ifndef CERTSYNC_HUB_ROOT_CHILDREN_H
#define CERTSYNC_HUB_ROOT_CHILDREN_H

#include "hub/common/child.h"
#include "hub/common/config.h"
#include "hub/root/supervisor.h"

struct children {
	struct supervisor child[HUB_CHILDREN];
	char *paths[HUB_CHILDREN];
	const char *argv[HUB_CHILDREN][5];
	char *keys_directory; /* owned; where the keys are, decided once */
	int operators;        /* the socket that certsync-keys listens on; -1 */
	bool stopping;
	bool hold_daemon; /* it is not started yet */
};

/* `config_path` is borrowed; `daemon` and `keys` take what these two children say. The daemon is not started yet
 * (`hold_daemon`). */
void children_init(struct children *c, const char *config_path, supervisor_frame *daemon, supervisor_frame *keys);
void children_release(struct children *c);

/* Looks up the users for the next start of each child, all or nothing. Only root does that; else all children run as we
 * do. */
int children_configure(struct children *c, const struct hub_config *config, struct error *err);

/* Does what is due. Returns true when the daemon was started. */
bool children_tick(struct children *c, int64_t now);
int64_t children_due(const struct children *c); /* the next tick's time; INT64_MAX: none */
void children_reap(struct children *c, int64_t now);
/* Stops the daemon first, which ends its own work, and then the others. */
void children_stop(struct children *c, int64_t now);
bool children_run(const struct children *c); /* whether any does */

static inline struct supervisor *children_keys(struct children *c)
{
	return &c->child[HUB_CHILD_KEYS];
}

static inline struct supervisor *children_daemon(struct children *c)
{
	return &c->child[HUB_CHILD_DAEMON];
}

#endif
