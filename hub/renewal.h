/* Certificates that this hub obtains itself: when hub/schedule says so, hub/order gets one, the gate to publish
 * takes it.
 *
 * Record in the store: kind "renewals", NAME of the certificate: state.json (failures, when, what the server asked for, why),
 * so that a restart neither forgets a backoff nor its reason.
 */
#ifndef CERTSYNC_HUB_RENEWAL_H
#define CERTSYNC_HUB_RENEWAL_H

#include "hub/hub.h"

struct renewal;

void renewal_open(struct hub *hub); /* one per ACME certificate; starts what is due */
void renewal_close(struct hub *hub);

struct renewal *renewal_find(struct hub *hub, const char *certificate); /* NULL: not an ACME certificate */
/* An order now, whatever the schedule; nothing when one runs already. */
void renewal_now(struct renewal *r);

struct renewal_status {
	bool running;
	const char *step;   /* while running */
	const char *error;  /* of the last failure; "" none */
	uint32_t failures;  /* in a row */
	int64_t due;        /* wall clock of the next order */
};
void renewal_status(const struct renewal *r, struct renewal_status *ret);

#endif
