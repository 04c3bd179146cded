/* Changing services' configurations for good, or not at all: backups, the files, each service's own test, its reload,
 * and a look at every port and name that this node serves, before and after. Any failure puts every file back, reloads,
 * and starts again what ran before and does not any more.
 */
#ifndef CERTSYNC_AGENT_CLI_ADOPT_APPLY_H
#define CERTSYNC_AGENT_CLI_ADOPT_APPLY_H

#include "agent/cli/adopt/journal.h"
#include "agent/cli/adopt/plan.h"

/* Applies the plan and prints what it does. Returns a cli_exit. The plan must have something to change, and nothing may
 * be under way in `j`. `found` are all services of this node, not only those of the plan. */
int adopt_apply(
	const struct agent_config *config, const struct plan *plan, struct found *found, struct adopt_journal *j);
/* Puts back what an interrupted run has left in `j`. Returns a cli_exit. */
int adopt_recover(const struct agent_config *config, struct adopt_journal *j);

#endif
