/* Requests of an operator about the hub's signing key:
 *
 *   keys                → "key" for the present one and the next; "missing", with the reason, for each agent that
 *                         has not said that it pins what it was told; "result"
 *   keys-rotate now     → the same; only root may ask
 */
#ifndef CERTSYNC_HUB_DAEMON_CONTROL_SIGNING_H
#define CERTSYNC_HUB_DAEMON_CONTROL_SIGNING_H

#include "hub/daemon/control/client.h"

/* Returns what `status` says of it, or "". The caller owns the text. */
char *control_keys_warning(struct hub *hub);
void control_keys(struct client *c, const cJSON *request);
void control_keys_rotate(struct client *c, const cJSON *request);

#endif
