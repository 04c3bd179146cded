/* What standing checks have seen at one address and port of an endpoint of hub.conf: a row of `status`, of the page, of
 * the metrics and of the record on disk. The JSON of it is made and read here alone.
 */
#ifndef CERTSYNC_HUB_COMMON_STATUS_ENDPOINT_ROW_H
#define CERTSYNC_HUB_COMMON_STATUS_ENDPOINT_ROW_H

#include "lib/core/name.h"
#include "lib/probe/check_json.h"

struct endpoint_row {
	char name[CHECK_HOST_MAX];              /* of the endpoint section */
	char certificate[NAME_CERTIFICATE_MAX]; /* "": no certificate of this hub is expected there */
	struct check_found found;               /* owned */
	struct check_found *before; /* owned: of one that is not reached, what was wrong with what it served last; NULL:
				       nothing was */
	int64_t since;              /* wall clock: when its verdict began */
	int64_t checked;
};
void endpoint_row_release(struct endpoint_row *row);

cJSON *endpoint_row_encode(const struct endpoint_row *row); /* the caller's */
/* Fills `ret`, which endpoint_row_release() empties; after a fault it is empty. */
int endpoint_row_decode(const cJSON *o, struct endpoint_row *ret, struct error *err);

#endif
