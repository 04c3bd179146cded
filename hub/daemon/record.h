/* One JSON record of a module in the store (STATE/records/KIND/NAME/FILE): how it is written and read, and what comes of
 * one that is damaged. A module has the encoder and decoder of its members; what goes beyond is here, once.
 *
 * A record that cannot be read is told of by one line in the log, `event=store record=KIND/NAME/FILE`, and by the alert
 * `store` for STORE_DAMAGE_TOLD; the module goes on without it, as its `without` says, and writes it anew when it next has
 * something to keep. Whether a write has failed is told by store_trouble, until one succeeds.
 */
#ifndef CERTSYNC_HUB_DAEMON_RECORD_H
#define CERTSYNC_HUB_DAEMON_RECORD_H

#include "hub/daemon/store.h"
#include "lib/wire/json.h"

struct record {
	const char *kind, *name, *file; /* borrowed */
	size_t max;                     /* bytes of its text */
	const char *without;            /* what it means that it is damaged: "all is checked anew" */
};

/* The record is durable when this returns 0. */
int record_put(struct store *s, const struct record *r, const cJSON *o, struct error *err);
/* Does the same for a module that goes on all the same: a failure is logged. Returns whether it was written. */
bool record_keep(struct store *s, const struct record *r, const cJSON *o);

/* Returns 1 and the object, which the caller owns, 0 when there is none, or -1 when it cannot be read, or is no JSON. */
int record_get(struct store *s, const struct record *r, cJSON **ret, struct error *err);
/* Does the same for a module to which a record that is no JSON is as good as none: it is told of, and 0 is returned. */
int record_find(struct store *s, const struct record *r, cJSON **ret, struct error *err);
/* Tells of a record that record_get or the module's decoder has refused; of one that is read again and again once. */
void record_damaged(struct store *s, const struct record *r, const struct error *why);
/* Takes that back, for a record that could be read again or is gone; of one that was never told of nothing happens. */
void record_mended(struct store *s, const struct record *r);

#endif
