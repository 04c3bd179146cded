/* What is wrong now, as the situation has it. It does no I/O.
 */
#ifndef CERTSYNC_HUB_DAEMON_ALERT_COLLECT_H
#define CERTSYNC_HUB_DAEMON_ALERT_COLLECT_H

#include "hub/daemon/alert/situation.h"
#include "lib/alert/condition.h"

/* `book` is what is known already, and `from` when the hub began to look. *ret_next is when something becomes wrong by
 * time alone though nothing else happens, or INT64_MAX when that is not foreseen. All times are of the wall clock. */
void alert_collect(const struct situation *s, const struct condition_book *book, int64_t from, struct conditions *out,
	int64_t *ret_next);

/* Collects manifests that cannot be read, from a situation that was taken with what the store says. */
void alert_collect_manifests(const struct situation *s, struct conditions *out);

/* Returns a text, which the caller owns, when every way to tell a person is mail by a server that one of these
 * endpoints is about, so that its failure would not be told; returns NULL when all is well. */
char *alert_crossing(const struct hub_config *c);

#endif
