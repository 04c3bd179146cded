/* The one way to publish, whatever the source: the checks of lib/crypto/verify.h, then the store, then the rollout. */
#ifndef CERTSYNC_HUB_DAEMON_PUBLISH_PUBLISH_H
#define CERTSYNC_HUB_DAEMON_PUBLISH_PUBLISH_H

#include "hub/daemon/hub.h"

/* `meta` gives source, reason, flags and `urgent`. It may expire sooner than what it replaces also where that was revoked
 * from here, or `urgent` says that it is replaced now. What only strict clients refuse is published, and stands in the
 * manifest. The same content as the current revision's makes no new revision: then 0 is returned too, with the current
 * one, and *ret_unchanged is true. */
int publish(struct hub *hub, const struct hub_certificate *certificate, const struct chain *pairs, size_t count,
	const struct manifest *meta, struct revision *ret, bool *ret_unchanged, struct error *err);

#endif
