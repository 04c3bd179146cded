/* One endpoint as it was found, as JSON: `certsync check --json` prints it, the worker that checks for the hub sends it,
 * and the hub keeps it. Encoder and decoder stand here side by side.
 */
#ifndef CERTSYNC_LIB_PROBE_CHECK_JSON_H
#define CERTSYNC_LIB_PROBE_CHECK_JSON_H

#include "lib/probe/check_run.h"
#include "lib/wire/json.h"

/* What was found at one address and port of a host. */
struct check_found {
	char host[CHECK_HOST_MAX];
	char endpoint[ENDPOINT_TEXT_MAX]; /* "": the host has no address */
	struct check check;               /* owned */
};
void check_found_release(struct check_found *f);
void check_found_copy(const struct check_found *f, struct check_found *ret);

cJSON *check_encode(const char *host, const char *endpoint, const struct check *check); /* the caller's */
/* Fills `ret`, which check_found_release() empties; after a fault it is empty. Unknown members are passed over. */
int check_decode(const cJSON *o, struct check_found *ret, struct error *err);

#endif
