/* What is wrong now, from all modules of the hub. It reads memory and, for the disk's room, calls statvfs, so it can be
 * done every few seconds.
 */
#ifndef CERTSYNC_HUB_DAEMON_ALERT_COLLECT_H
#define CERTSYNC_HUB_DAEMON_ALERT_COLLECT_H

#include "lib/alert/condition.h"
#include "hub/daemon/hub.h"

/* `book` is what is known already, and `from` when the hub began to look. *ret_next is when something becomes wrong by
 * time alone though nothing else happens, or INT64_MAX when that is not foreseen. All times are of the wall clock. */
void alert_collect(struct hub *hub, const struct condition_book *book, int64_t from, int64_t now,
	struct conditions *out, int64_t *ret_next);

/* Collects manifests that cannot be read; for that it reads all of them. */
void alert_collect_manifests(struct hub *hub, struct conditions *out);

/* Returns a text, which the caller owns, when every way to tell a person is mail by a server that one of these
 * endpoints is about, so that its failure would not be told; returns NULL when all is well. */
char *alert_crossing(const struct hub_config *c);

#endif
