/* All that there is to be seen of this hub at one moment: how everything stands, whether the hub itself is well, and
 * who is told. Status, page and metrics are functions of it, without I/O.
 */
#ifndef CERTSYNC_HUB_DAEMON_VIEW_OVERVIEW_H
#define CERTSYNC_HUB_DAEMON_VIEW_OVERVIEW_H

#include "hub/daemon/alert/alert.h"
#include "hub/daemon/alert/situation.h"

enum { OVERVIEW_TROUBLE_MAX = 2048 };

struct overview {
	struct situation is;                /* owned */
	char trouble[OVERVIEW_TROUBLE_MAX]; /* why /healthz says no; empty: all is well */
	const struct alert_told *alerts;    /* borrowed; newest first */
	size_t alert_count;
	struct alert_channel *channels; /* owned */
	size_t channel_count;
};

/* The overview is valid until the hub's loop goes on. `with_store` is as in situation_take. */
void overview_take(struct hub *hub, bool with_store, struct overview *ret);
void overview_release(struct overview *o);
#define auto_overview __attribute__((cleanup(overview_release)))
/* Writes why /healthz says no, or "". */
void overview_trouble(const struct situation_hub *h, char ret[OVERVIEW_TROUBLE_MAX]);

#endif
