/* How everything stands at one moment, gathered from the hub's modules. The status page and the metrics show it and are
 * functions of it, without I/O. Nothing is read from disk for it.
 */
#ifndef CERTSYNC_HUB_DAEMON_VIEW_OVERVIEW_H
#define CERTSYNC_HUB_DAEMON_VIEW_OVERVIEW_H

#include "hub/common/agent_row.h"
#include "hub/common/endpoint_row.h"
#include "hub/daemon/alert/alert.h"
#include "lib/crypto/revision.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hub;
struct rollout;
struct rollout_agent;
struct session;

/* All texts are borrowed and never NULL; peers chose many of them. Times are of the wall clock; 0 means never, or not
 * known. */

/* An agent with one of its certificates. */
struct overview_place {
	struct agent_row row;
	bool converged;
	bool busy; /* something is under way there */
};

struct overview_certificate {
	const char *name;
	const char *source;       /* "acme", "watch" or "import" */
	struct revision revision; /* (0, 0): nothing is published yet */
	int64_t not_before, not_after;
	bool converged;
	bool renews, renewing; /* by ACME; what follows is of that */
	const char *renewal_error, *renewal_held;
	uint32_t renewal_failures;
	int64_t renewal_due;
	const char *watch_trouble;     /* "" when nothing is watched, or all is well there */
	struct overview_place *places; /* owned */
	size_t place_count;
};

struct overview_agent {
	const char *name, *version;
	bool connected, overdue, local;
	const struct session *session; /* NULL: not connected */
	int64_t last_seen, skew, away_after;
	size_t certificates, converged;
};

struct overview {
	int64_t now, started;
	const char *version;
	char trouble[2048];                        /* why /healthz says no; empty: all is well */
	struct overview_certificate *certificates; /* owned, as all arrays */
	size_t certificate_count;
	struct overview_agent *agents;
	size_t agent_count;
	const struct endpoint_row **endpoints;
	size_t endpoint_count;
	const struct alert_told *alerts; /* borrowed; newest first */
	size_t alert_count;
	struct alert_channel *channels;
	size_t channel_count;
};

/* The overview is valid until the hub's loop goes on. */
void overview_take(struct hub *hub, struct overview *ret);
void overview_release(struct overview *o);
#define auto_overview __attribute__((cleanup(overview_release)))
/* Fills one row, which agent_row_release() empties: for who follows one agent. */
void overview_row(struct hub *hub, const struct rollout *r, const struct rollout_agent *a, struct agent_row *ret);
/* Fills `trouble`, which is all that /healthz asks for. */
void overview_health(struct hub *hub, struct overview *ret);

#endif
