#include "hub/common/status/rollout_state.h"
#include "lib/core/mem.h"

#include <string.h>

static const char *const names[] = {
	[ROLLOUT_IDLE] = "waiting",
	[ROLLOUT_OFFERED] = "offered",
	[ROLLOUT_STAGED] = "staged",
	[ROLLOUT_ACTIVATING] = "activating",
	[ROLLOUT_INSTALLED] = "installed",
	[ROLLOUT_VERIFIED] = "verified",
	[ROLLOUT_UNVERIFIED] = "unverified",
	[ROLLOUT_FAILED] = "failed",
	[ROLLOUT_AHEAD] = "ahead",
	[ROLLOUT_UNPROBED] = "unprobed",
	[ROLLOUT_HELD] = "held",
};

const char *rollout_state_name(enum rollout_state state)
{
	return names[state];
}

bool rollout_state_parse(const char *name, enum rollout_state *ret)
{
	for (size_t i = 0; i < COUNT(names); i++) {
		if (strcmp(names[i], name) != 0)
			continue;
		*ret = (enum rollout_state)i;
		return true;
	}
	return false;
}
