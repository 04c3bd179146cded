/* Certificates that this hub obtains itself: when hub/schedule says so, hub/order gets one, the gate to
 * publish takes it.
 *
 * Before an order is made: hub/limits must have room for it, hub/account brings the account up to date,
 * hub/preflight looks whether the names lead here. A stored order is only resumed.
 *
 * Record in the store: kind "renewals", NAME of the certificate: state.json (failures, when, what the server
 * asked for, why, whether the next key must be new), so that a restart neither forgets a backoff nor its
 * reason; ari.json (hub/common/ari.h).
 */
#ifndef CERTSYNC_HUB_DAEMON_ACME_RENEWAL_H
#define CERTSYNC_HUB_DAEMON_ACME_RENEWAL_H

#include "hub/common/ari.h"
#include "hub/daemon/hub.h"
#include "lib/wire/json.h"

struct renewal;

void renewal_open(struct hub *hub); /* one per ACME certificate; starts what is due */
void renewal_close(struct hub *hub);

struct renewal *renewal_find(struct hub *hub, const char *certificate); /* NULL: not an ACME certificate */

/* An order now, whatever the schedule, the backoff and the advice; nothing when one runs already. What the
 * authority itself said (its Retry-After, hub/limits) is passed over only by `force`: else -1 and the reason.
 */
int renewal_now(struct renewal *r, bool force, struct error *err);
/* The current certificate was revoked: another one at once, over every limit; `new_key`: with a key that was
 * never used. */
void renewal_replace(struct renewal *r, bool new_key);
/* Something was published, by whomever. NAME may be no ACME certificate. */
void renewal_published(struct hub *hub, const char *certificate);

/* Before the key of this account changes, or the account goes. -1, ERROR_RETRY: an order is under way by it. */
int renewal_check_idle(const struct hub *hub, const struct hub_acme *acme, struct error *err);

struct renewal_status {
	bool running;
	const char *step;             /* while running */
	const char *error;            /* of the last failure; "" none */
	const char *held;             /* why no order is made although it is due; "" nothing holds it */
	const char *basis;            /* schedule_basis, or "limits" */
	uint32_t failures;            /* in a row */
	int64_t due;                  /* wall clock of the next order */
	const struct ari_record *ari; /* NULL: nobody is asked */
	const cJSON *preflight;       /* findings of the last one (hub/daemon/acme/preflight.h); NULL: none was made */
};
void renewal_status(const struct renewal *r, struct renewal_status *ret);

#endif
