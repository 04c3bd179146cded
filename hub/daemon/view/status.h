/* What `certsync status` shows of a certificate, as JSON; of an agent it is hub/common/status/agent_row.h. */
#ifndef CERTSYNC_HUB_DAEMON_VIEW_STATUS_H
#define CERTSYNC_HUB_DAEMON_VIEW_STATUS_H

#include "hub/daemon/hub.h"
#include "hub/daemon/alert/situation.h"
#include "lib/wire/json.h"

/* The caller owns these. "event" is "certificate". */
cJSON *status_certificate(const struct situation_certificate *c);
/* Makes one revision of the store, with "event" "revision"; for a manifest that cannot be read it has "store_error". */
cJSON *status_revision(struct hub *hub, const char *certificate, struct revision r);

#endif
