/* Certificates that this hub obtains itself: when the schedule (hub/daemon/acme/schedule.h) says so, an order (order.h) gets
 * one, and it is published.
 *
 * Before an order is made, limits.h must have room for it, account.h brings the account up to date, and preflight.h
 * looks whether the names lead here. A stored order is only resumed.
 *
 * The record in the store is of kind "renewals" in the certificate's NAME: state.json has failures, when they were,
 * what the server asked for, why, the same for each authority (authorities.h), and whether the next key must be new, so
 * that a restart neither forgets a backoff nor its reason; ari.json is hub/common/ari.h's.
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

/* Orders now, whatever the schedule, the backoff and the advice say; does nothing when an order runs already. What the
 * authority itself said (its Retry-After, limits.h) is passed over only with `force`; else returns -1 and the
 * reason. */
int renewal_now(struct renewal *r, bool force, struct error *err);
/* The current certificate was revoked: orders another one at once, in spite of every limit. With `new_key` it gets a
 * key that was never used. */
void renewal_replace(struct renewal *r, bool new_key);
/* Something was published, by whomever. NAME may be no ACME certificate. */
void renewal_published(struct hub *hub, const char *certificate);

/* Is to be asked before the key of this account changes, or the account goes. Returns -1 with ERROR_RETRY while an
 * order is under way by it. */
int renewal_check_idle(const struct hub *hub, const struct hub_acme *acme, struct error *err);

struct renewal_status {
	bool running;
	const char *step;             /* while running */
	const char *error;            /* of the last failure; "" none */
	const char *held;             /* why no order is made although it is due; "" nothing holds it */
	const char *basis;            /* schedule_basis, or "limits", "revoked", "names" */
	const char *authority;        /* the one that is asked now, or next */
	const char *instead;          /* which authority was asked last in place of which, and why; "" none was */
	int64_t instead_since;        /* 0: none was */
	bool at_first;                /* `authority` is the first one */
	const char *lacks;            /* a configured name that the current certificate has not; NULL: none */
	uint32_t failures;            /* since the last certificate, at all authorities */
	int64_t due;                  /* wall clock of the next order */
	const struct ari_record *ari; /* NULL: nobody is asked */
	const cJSON *preflight;       /* findings of the last one (hub/daemon/acme/preflight.h); NULL: none was made */
};
void renewal_status(const struct renewal *r, struct renewal_status *ret);

#endif
