/* Going back: the content of an older revision is published as a new one in the ordinary way
 * (hub/daemon/publish/publish.h).
 */
#ifndef CERTSYNC_HUB_DAEMON_PUBLISH_ROLLBACK_H
#define CERTSYNC_HUB_DAEMON_PUBLISH_ROLLBACK_H

#include "hub/daemon/hub.h"

/* Goes back to `old`, or with NULL to the newest revision whose content differs from the current one's. `why` stands in
 * the history behind "to 1.7". ERROR_USAGE says that there is nothing such to go back to. */
int rollback(struct hub *hub, const struct hub_certificate *certificate, const struct revision *old, const char *why,
	struct error *err);

#endif
