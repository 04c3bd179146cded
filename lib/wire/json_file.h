/* One JSON object in a file of its own, as a program keeps it over its restarts: written whole and for good, or not at
 * all; for its owner alone. (The hub's daemon has a store for that: hub/daemon/record.h.)
 */
#ifndef CERTSYNC_LIB_WIRE_JSON_FILE_H
#define CERTSYNC_LIB_WIRE_JSON_FILE_H

#include "lib/wire/json.h"

/* `max` is how many bytes its text may have. It is durable when this returns 0. */
int json_file_write(int dirfd, const char *path, const cJSON *o, size_t max, struct error *err);
/* Returns 1 and the object, which the caller owns, 0 when there is no such file, or -1 when it cannot be read, or is no
 * JSON. */
int json_file_read(int dirfd, const char *path, size_t max, cJSON **ret, struct error *err);

#endif
