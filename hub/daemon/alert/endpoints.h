/* Standing checks: a worker looks at every `endpoint` of the configuration from outside, at its interval with jitter,
 * soon after the start, and at once when a rollout has brought something. What was seen is kept, with when its state
 * began.
 *
 * The record in the store is of kind "checks", NAME "standing": state.json.
 */
#ifndef CERTSYNC_HUB_DAEMON_ALERT_ENDPOINTS_H
#define CERTSYNC_HUB_DAEMON_ALERT_ENDPOINTS_H

#include "hub/common/status/endpoint_row.h"
#include "hub/daemon/hub.h"

void endpoints_open(struct hub *hub);
void endpoints_close(struct hub *hub);

/* What this certificate's endpoints serve may have changed, so they are looked at within seconds. */
void endpoints_soon(struct hub *hub, const char *certificate);

/* What was seen last. An endpoint that was not looked at yet has no row. The rows are borrowed until the hub's loop goes
 * on; `ret` has room for endpoints_count() of them. */
size_t endpoints_count(const struct hub *hub);
void endpoints_rows(const struct hub *hub, const struct endpoint_row **ret);
const char *endpoints_trouble(const struct hub *hub); /* why the last round failed as a whole; "": it did not */

#endif
