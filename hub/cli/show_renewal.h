/* What `certsync status` shows of a renewal beside when it is due. */
#ifndef CERTSYNC_HUB_CLI_SHOW_RENEWAL_H
#define CERTSYNC_HUB_CLI_SHOW_RENEWAL_H

#include "lib/wire/json.h"

void show_renewal(const cJSON *renewal); /* "renewal" of a "certificate", as hub/status makes it */
void show_warnings(const cJSON *certificate);

#endif
