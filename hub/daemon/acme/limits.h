/* Stops before an authority's own limits: five certificates for one set of names in seven days, five failed
 * authorizations of one name in an hour (Let's Encrypt's; others have like ones). Whoever runs into those is locked out
 * for days; here he is told before, and until when.
 *
 * The records in the store are of kind "limits" in the NAME of the acme section: set-….json and name-….json, told apart
 * by a digest of the directory's URL and the names.
 */
#ifndef CERTSYNC_HUB_DAEMON_ACME_LIMITS_H
#define CERTSYNC_HUB_DAEMON_ACME_LIMITS_H

#include "hub/common/config.h"
#include "hub/daemon/store.h"

#include <stdint.h>

enum {
	LIMITS_SET_COUNT = 5,
	LIMITS_SET_SPAN = 7 * 86400,
	LIMITS_NAME_COUNT = 5,
	LIMITS_NAME_SPAN = 3600,
	LIMITS_KEPT = 8, /* the newest; more are never asked for */
};

/* When something happened, oldest first. */
struct limits_count {
	int64_t at[LIMITS_KEPT];
	size_t count;
};

/* Returns 0 when one more fits in, else the wall clock time at which it does. What lies ahead of `now`, since the clock
 * was set back, is not counted. */
int64_t limits_free_at(const struct limits_count *c, size_t max, int64_t span, int64_t now);
/* Notes one more, and forgets what is older than `span`. */
void limits_note(struct limits_count *c, int64_t span, int64_t now);

/* Returns 0 when an order for these names may be made, else -1 with the limit, what was counted and when it is free
 * again (also in *ret_free), of kind ERROR_RETRY. `lifetime` is that of the certificate that it would replace, or 0:
 * for one so short that five in seven days would not do, the authority has no such limit, and only failures are
 * counted. */
int limits_check(struct store *store, const struct hub_acme *acme, char *const *names, int64_t lifetime, int64_t now,
	int64_t *ret_free, struct error *err);

int limits_issued(struct store *store, const struct hub_acme *acme, char *const *names, int64_t now, struct error *err);
int limits_failed(struct store *store, const struct hub_acme *acme, const char *name, int64_t now, struct error *err);

#endif
