/* Where an agent stands with one of its certificates: the state machine's word (hub/daemon/rollout/rollout.h), and what
 * people are shown.
 */
#ifndef CERTSYNC_HUB_COMMON_STATUS_ROLLOUT_STATE_H
#define CERTSYNC_HUB_COMMON_STATUS_ROLLOUT_STATE_H

#include <stdbool.h>

enum rollout_state {
	ROLLOUT_IDLE = 0, /* nothing under way: not connected, or about to be offered the revision */
	ROLLOUT_OFFERED,  /* fetching, verifying, staging */
	ROLLOUT_STAGED,   /* durable there and its services' tests pass; waits for the barrier */
	ROLLOUT_ACTIVATING,
	ROLLOUT_INSTALLED,  /* services reloaded; being probed */
	ROLLOUT_VERIFIED,   /* seen served on every port that is to be looked at, of which there may be none */
	ROLLOUT_UNVERIFIED, /* committed there, but not seen served on every port; with a deadline: being probed */
	ROLLOUT_FAILED,
	ROLLOUT_AHEAD,
	ROLLOUT_UNPROBED, /* only shown: it is done, and there is no port to look at */
	ROLLOUT_HELD,     /* only shown: while an agent is held, whatever state it is in */
};
const char *rollout_state_name(enum rollout_state state);
bool rollout_state_parse(const char *name, enum rollout_state *ret); /* false: there is none of that name */

#endif
