/* The processes that certsync-hub-root keeps running, one row each: the daemon, and those whose sockets it is given.
 *
 * A child that ends is started again by itself, and the daemon gets a new end of a socket to it, so that agents stay connected and
 * http-01 answered; what was under way with the child, the daemon does again. The daemon alone takes the others with it: nobody
 * is there who would know what they were asked.
 */
#ifndef CERTSYNC_HUB_CHILDREN_H
#define CERTSYNC_HUB_CHILDREN_H

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

/* `config_path` is borrowed; `daemon` and `keys` take what these two say. The daemon is held. */
void children_init(struct children *c, const char *config_path, supervisor_frame *daemon, supervisor_frame *keys);
void children_release(struct children *c);

/* Looks the users up; for the next start of each. As root alone; else all run as we do. All or nothing. */
int children_configure(struct children *c, const struct hub_config *config, struct error *err);

/* What is due. True when the daemon was started. */
bool children_tick(struct children *c, int64_t now);
int64_t children_due(const struct children *c); /* the next tick's time; INT64_MAX: none */
void children_reap(struct children *c, int64_t now);
/* The daemon first, which ends its own work; then the others. */
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
