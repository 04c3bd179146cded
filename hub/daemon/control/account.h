/* Requests of an operator that need an account at an authority:
 *
 *   account  op "show", names[] (none: all)            → "account" …, "result"
 *   account  op "rollover" or "deactivate", name       → "result" when the authority has answered
 *   revoke   certificate, reason, revision (optional)  → as for renew, once the authority has answered; for a revision
 *                                                        that is not current only "result"
 */
#ifndef CERTSYNC_HUB_DAEMON_CONTROL_ACCOUNT_H
#define CERTSYNC_HUB_DAEMON_CONTROL_ACCOUNT_H

#include "hub/daemon/control/client.h"

void control_account(struct client *c, const cJSON *request);
void control_revoke(struct client *c, const cJSON *request);

#endif
