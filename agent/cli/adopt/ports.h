/* What the ports of the services that are changed serve, before and after.
 */
#ifndef CERTSYNC_AGENT_ADOPT_LOOK_H
#define CERTSYNC_AGENT_ADOPT_LOOK_H

#include "agent/cli/adopt/plan.h"
#include "lib/probe/endpoint.h"

enum { ADOPT_LOOKS_MAX = 256 };

struct adopt_look {
	const struct plan_target *target;
	char endpoint[ENDPOINT_TEXT_MAX];
	bool served;
	char fingerprint[CHAIN_HEX_MAX];
	char text[256]; /* why nothing is served */
};

struct adopt_looks {
	struct adopt_look list[ADOPT_LOOKS_MAX];
	size_t count;
};

/* One look at each `probe` of each target whose service runs (`running`, by target). */
int adopt_look(const struct agent_config *config, const struct plan *plan, const bool *running, struct adopt_looks *ret,
	struct error *err);

/* Looks until every port serves what it is to, for probe_timeout; then the error says which does not. Of ports that
 * served nothing before, and of those that serve what a line that was left names, that is told and no more. */
int adopt_look_until(const struct agent_config *config, const struct plan *plan, const bool *running,
	const struct adopt_looks *before, struct error *err);

#endif
