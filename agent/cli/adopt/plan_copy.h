/* For a service that cannot read what is below live/: its own file gets the content, and agent.conf a `file` section,
 * so that the file goes on getting it.
 */
#ifndef CERTSYNC_AGENT_CLI_ADOPT_PLAN_COPY_H
#define CERTSYNC_AGENT_CLI_ADOPT_PLAN_COPY_H

#include "agent/cli/adopt/plan.h"

/* Returns whether agent.conf has a section for the file. */
bool plan_copy_is_done(const struct agent_config *config, const char *path);
/* Refuses a file that packages share, whatever is to be written there. */
int plan_copy_check_place(const char *service, const struct found_use *use, struct error *err);
/* Returns 0 when this can be done, and plans nothing. */
int plan_copy_check(const struct agent_config *config, const struct plan_certificate *certificate, const char *service,
	const struct found_use *use, struct error *err);
int plan_copy(struct plan *p, const struct agent_config *config, const struct plan_certificate *certificate,
	const char *service, const struct found_use *use, struct error *err);

#endif
