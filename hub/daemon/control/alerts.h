/* Requests about alerts, over the control socket (hub/daemon/control/control.h). */
#ifndef CERTSYNC_HUB_DAEMON_CONTROL_ALERTS_H
#define CERTSYNC_HUB_DAEMON_CONTROL_ALERTS_H

#include "hub/daemon/control/client.h"

void control_alert_test(struct client *c, const cJSON *request);
void control_alert_list(struct client *c, const cJSON *request);

#endif
