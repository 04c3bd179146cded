/* When authorities want their certificates to be renewed: who is asked, when, and what came of it (hub/common/ari.h
 * judges).
 *
 * For each authority one worker at a time asks for all certificates that are due. Nothing of this stops a renewal:
 * without an answer the last one holds, and without any the rule of thirds.
 */
#ifndef CERTSYNC_HUB_DAEMON_ACME_RENEWAL_INFO_H
#define CERTSYNC_HUB_DAEMON_ACME_RENEWAL_INFO_H

#include "hub/common/ari.h"
#include "hub/daemon/hub.h"

struct renewal_info; /* of one certificate */

/* `changed` is called from the loop when there is another moment, or none any more. Returns NULL where nobody is asked:
 * for what is not an ACME certificate, or with ari = false. */
struct renewal_info *renewal_info_new(
	struct hub *hub, const struct hub_certificate *certificate, void (*changed)(void *context), void *context);
void renewal_info_free(struct renewal_info *a); /* NULL is allowed */

/* Says what is current now, or NULL for nothing. Another certificate than before is asked for soon. */
void renewal_info_current(struct renewal_info *a, const struct manifest *current);

const struct ari_record *renewal_info_record(const struct renewal_info *a);

#endif
