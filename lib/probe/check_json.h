/* One endpoint as it was found, as JSON: for `certsync check --json`, and from the worker that checks for the hub.
 */
#ifndef CERTSYNC_CHECK_JSON_H
#define CERTSYNC_CHECK_JSON_H

#include "lib/probe/check_run.h"
#include "lib/wire/json.h"

cJSON *check_json(const struct check_row *row); /* the caller's */

#endif
