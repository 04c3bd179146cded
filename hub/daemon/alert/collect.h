/* What is wrong now, from all modules of the hub. Reads memory and, for the disk's room, statvfs: fit to be
 * done every few seconds. */
#ifndef CERTSYNC_HUB_DAEMON_ALERT_COLLECT_H
#define CERTSYNC_HUB_DAEMON_ALERT_COLLECT_H

#include "lib/alert/condition.h"
#include "hub/daemon/hub.h"

/* `book`: what is known already. `from`: when the hub began to look. `*ret_next`: when something becomes
 * wrong by time alone though nothing else happens; INT64_MAX: not foreseen. Wall clock. */
void alert_collect(struct hub *hub, const struct condition_book *book, int64_t from, int64_t now,
	struct conditions *out, int64_t *ret_next);

/* Manifests that cannot be read: reads all of them. */
void alert_collect_manifests(struct hub *hub, struct conditions *out);

/* Every way to tell a person is mail by a server that one of these endpoints is about, so that its failure
 * would not be told: a text about it, the caller's; NULL: all is well. */
char *alert_crossing(const struct hub_config *c);

#endif
