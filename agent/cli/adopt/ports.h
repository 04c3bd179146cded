/* What the ports of the services that are changed serve, before and after. */
#ifndef CERTSYNC_AGENT_CLI_ADOPT_PORTS_H
#define CERTSYNC_AGENT_CLI_ADOPT_PORTS_H

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

/* Looks once at each `probe` of each target whose service runs (`running` has one element for each target). */
int adopt_look(const struct agent_config *config, const struct plan *plan, const bool *running, struct adopt_looks *ret,
	struct error *err);

/* Looks until every port serves what it should, for probe_timeout at most; then the error says which port does not.
 * Ports that served nothing before, or that serve what an unchanged line names, are only reported. */
int adopt_look_until(const struct agent_config *config, const struct plan *plan, const bool *running,
	const struct adopt_looks *before, struct error *err);

#endif
