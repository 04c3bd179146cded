/* What an operator brings: a key with its chain, or two pairs, as files of an operator's connection. */
#ifndef CERTSYNC_HUB_DAEMON_CONTROL_IMPORT_H
#define CERTSYNC_HUB_DAEMON_CONTROL_IMPORT_H

#include "hub/daemon/control/client.h"
#include "hub/daemon/store.h"

/* Serves import with certificate and may_expire_sooner, then FILES: "key" and "chain", and "key-2" and "chain-2" of a
 * second pair. */
void control_import(struct client *c, const cJSON *request);

/* Returns the number of pairs, or -1; the caller releases all of `pairs` in either case. */
int import_pairs(const struct files *files, const struct anchors *anchors, struct chain pairs[STORE_PAIRS_MAX],
	struct error *err);

#endif
