/* Standing checks: a worker looks at every `endpoint` of the configuration from outside, at its interval with jitter,
 * soon after the start, and at once when a rollout has brought something. What was seen is kept, with when its state
 * began.
 *
 * The record in the store is of kind "checks", NAME "standing": state.json.
 */
#ifndef CERTSYNC_HUB_DAEMON_ALERT_ENDPOINTS_H
#define CERTSYNC_HUB_DAEMON_ALERT_ENDPOINTS_H

#include "lib/alert/condition.h"
#include "hub/daemon/hub.h"

void endpoints_open(struct hub *hub);
void endpoints_close(struct hub *hub);

/* What this certificate's endpoints serve may have changed, so they are looked at within seconds. */
void endpoints_soon(struct hub *hub, const char *certificate);

/* Adds what is wrong now, as far as it was seen. */
void endpoints_conditions(const struct hub *hub, struct conditions *out);

/* Makes an array, which the caller owns, for `status` and the page: of each row what check_json says of it, "name",
 * "certificate" ("" for none), "since" (when its verdict began) and "checked". An endpoint that was not looked at yet
 * has none. */
cJSON *endpoints_status(const struct hub *hub);

#endif
