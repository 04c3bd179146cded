/* When a certificate is to be renewed, and when a failed try is repeated. Pure: state and clock in, due time
 * out.
 */
#ifndef CERTSYNC_HUB_SCHEDULE_H
#define CERTSYNC_HUB_SCHEDULE_H

#include <stdint.h>

struct schedule_state {
	int64_t not_before, not_after; /* of the current revision; 0, 0: there is none */
	int64_t renew_before;          /* configured; 0: a third of the lifetime left, half under ten days */
	uint32_t failures;             /* in a row */
	int64_t last_failure;          /* wall clock; 0 none */
	int64_t retry_after;           /* seconds that the server asked for at the last failure; 0 none */
	uint64_t jitter;               /* a random number, drawn once per certificate and revision */
};

/* Wall clock at which the next order is due; <= now means now. A third of the lifetime always passes first,
 * whatever renew_before says, and the jitter moves a renewal sooner by up to a twentieth of what would be left.
 * Backoff after failures: 1 min doubling to 6 h, with up to a quarter more as jitter, never sooner than
 * retry_after. A last_failure that lies further ahead than that wait (the clock was set back) is not believed:
 * it would be waited for until then. */
int64_t schedule_due(const struct schedule_state *s, int64_t now);

#endif
