/* Where a service cannot read what is below live/: its own file gets the content, and agent.conf a `file` section, so
 * that it does from now on.
 */
#ifndef CERTSYNC_AGENT_PLAN_COPY_H
#define CERTSYNC_AGENT_PLAN_COPY_H

#include "agent/cli/adopt/plan.h"

/* Whether agent.conf has a section for it. */
bool plan_copy_is_done(const struct agent_config *config, const char *path);
/* Whether it can be done; nothing is planned. */
int plan_copy_check(const struct agent_config *config, const struct plan_certificate *certificate, const char *service,
	const struct found_use *use, struct error *err);
int plan_copy(struct plan *p, const struct agent_config *config, const struct plan_certificate *certificate,
	const char *service, const struct found_use *use, struct error *err);

#endif
