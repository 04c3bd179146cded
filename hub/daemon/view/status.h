/* What `certsync status` shows, as JSON: one answer per certificate, one per agent in it.
 */
#ifndef CERTSYNC_HUB_DAEMON_VIEW_STATUS_H
#define CERTSYNC_HUB_DAEMON_VIEW_STATUS_H

#include "hub/daemon/hub.h"
#include "hub/daemon/rollout/rollout.h"
#include "lib/wire/json.h"

/* Owned by the caller. "event" is "certificate" or "agent". */
cJSON *status_certificate(struct hub *hub, const struct rollout *r);
/* One revision in the store, "event" is "revision"; a manifest that cannot be read gives its "store_error". */
cJSON *status_revision(struct hub *hub, const char *certificate, struct revision r);
cJSON *status_agent(struct hub *hub, const struct rollout *r, const struct rollout_agent *a);

#endif
