/* What the node serves before and after a change, and whether each difference is one that was meant.
 *
 * Every port and name is held against what it presented before: it has to present the certificate that takes the
 * place of that one, or the very same. A handshake that succeeded and fails now is wrong, and so is a certificate that
 * changed though nothing of it was to change.
 */
#ifndef CERTSYNC_AGENT_CLI_ADOPT_SIGHT_H
#define CERTSYNC_AGENT_CLI_ADOPT_SIGHT_H

#include "agent/cli/adopt/plan.h"
#include "agent/cli/discover/served.h"

struct sight {
	struct served served;
	const struct plan_target **promised; /* one for each look: what agent.conf has probed there; NULL: nothing */
};

#define auto_sight __attribute__((cleanup(sight_release)))
void sight_release(struct sight *s);

/* Looks at everything that the found services serve, and at each `probe` of agent.conf of the targets that run
 * (`running` has one element for each target; NULL: all run). */
int sight_first(const struct agent_config *config, const struct plan *plan, struct found *found, const bool *running,
	struct sight *ret, struct error *err);

/* Looks until everything is as it should be, for probe_timeout at most; then the error says what is not. */
int sight_changed(const struct agent_config *config, const struct plan *plan, const struct sight *before,
	struct sight *ret, struct error *err);
/* Looks once. Returns 0 when everything is as it was before; else the error names the first port that is not. */
int sight_unchanged(const struct agent_config *config, const struct sight *before, struct error *err);

#endif
