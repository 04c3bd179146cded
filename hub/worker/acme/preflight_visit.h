/* One address of one name, at which a preflight asks for the answer to a challenge as an authority would, and how the asking
 * is done for each kind of challenge.
 */
#ifndef CERTSYNC_HUB_WORKER_ACME_PREFLIGHT_VISIT_H
#define CERTSYNC_HUB_WORKER_ACME_PREFLIGHT_VISIT_H

#include "hub/worker/acme/lookup.h"
#include "lib/core/error.h"

#include <stdbool.h>
#include <stddef.h>

enum { PREFLIGHT_VISITS_MAX = 256, PREFLIGHT_TOTAL_S = 10 };

struct preflight_visit {
	char name[256], address[LOOKUP_ADDRESS_MAX]; /* no address: the DNS gives none, and there is nothing to ask */
	bool ok;
	char text[512]; /* what came of it, for a person */
};

void preflight_say(struct preflight_visit *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* These ask at all addresses at once and fill in `ok` and `text`. -1 with the reason when nothing can be asked. */
int preflight_by_http(
	struct preflight_visit *visits, size_t count, const char *token, const char *authorization, struct error *err);
int preflight_by_alpn(struct preflight_visit *visits, size_t count, const char *authorization, struct error *err);

#endif
