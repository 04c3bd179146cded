/* When a certificate is to be renewed, and when a failed try is repeated. This does no I/O: state and clock go in, the
 * due time comes out.
 */
#ifndef CERTSYNC_HUB_DAEMON_ACME_SCHEDULE_H
#define CERTSYNC_HUB_DAEMON_ACME_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

struct schedule_state {
	int64_t not_before, not_after; /* of the current revision; 0, 0: there is none */
	int64_t renew_before;          /* configured; 0: a third of the lifetime left, half under ten days */
	int64_t advised;      /* a moment in the window that the authority suggests (hub/common/ari.h); 0 none */
	int64_t published;    /* when the current revision was published; 0 none */
	bool gone_back;       /* the current revision is a rollback */
	uint32_t failures;    /* in a row */
	int64_t last_failure; /* wall clock; 0 none */
	int64_t retry_after;  /* seconds that the server asked for at the last failure; 0 none */
	uint64_t jitter;      /* a random number, drawn once per certificate and revision */
};

/* Returns the wall clock time at which the next order is due; a time up to `now` means now.
 *
 * The authority's advice comes first; a renew_before that was configured still counts where it is sooner. An advised
 * moment waits until an hour after the last publication, so that advice that stays in the past makes one replacement an
 * hour and no loop.
 *
 * Without advice the rule applies: a third of the lifetime always passes first, whatever renew_before says, and the
 * jitter moves a renewal sooner by up to a twentieth of what would be left.
 *
 * What was gone back to waits longer, or the renewal would undo the rollback: a day from then, and by the rule until a
 * third of its life is left (under that, a failed rollout rolls nobody back); but not until under a sixth is left.
 *
 * The backoff after failures is 1 min doubling to 6 h, with up to a quarter more as jitter, and never sooner than
 * retry_after. A last_failure that lies further ahead than that wait, since the clock was set back, is not believed: it
 * would be waited for until then. */
int64_t schedule_due(const struct schedule_state *s, int64_t now);

/* Returns what decides it, for `status`: "missing" (nothing is published), "backoff", "ari", "renew_before" or
 * "rule". */
const char *schedule_basis(const struct schedule_state *s, int64_t now);

/* Returns when to ask again for something that failed `failures` times in a row, the last time at `last`: after 1 min
 * doubling to 6 h, with jitter. */
int64_t schedule_retry(uint32_t failures, int64_t last, uint64_t jitter);

#endif
