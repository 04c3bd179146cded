/* One endpoint as it was found, as JSON. `certsync check --json` prints it, and the worker that checks for the hub
 * sends it.
 */
#ifndef CERTSYNC_LIB_PROBE_CHECK_JSON_H
#define CERTSYNC_LIB_PROBE_CHECK_JSON_H

#include "lib/probe/check_run.h"
#include "lib/wire/json.h"

cJSON *check_json(const struct check_row *row); /* the caller's */

#endif
