/* The directories that the root half makes for itself and for the agent's daemon, with their owners. */
#ifndef CERTSYNC_AGENT_ROOT_DIRECTORIES_H
#define CERTSYNC_AGENT_ROOT_DIRECTORIES_H

#include "agent/common/config.h"
#include "agent/common/root_request.h"
#include "lib/core/proc.h"

struct directories {
	int root_state; /* ROOT_STATE, 0700 */
	int state;      /* STATE, 0700, the agent's user's */
	int run;        /* RUN, the agent's user's; 02755 with the admin group, which the socket in it inherits */
	int pins;       /* DIRECTORY/pins; -1: there is none yet */
	bool has_user;  /* started as root: `user` is the agent's */
	struct proc_user user;
};

/* Makes what is missing and corrects owner and mode. Without root everything stays the caller's. */
int directories_open(const struct agent_config *config, struct directories *ret, struct error *err);
void directories_close(struct directories *p);
/* Removes what interrupted writes left there. */
void directories_sweep(const struct directories *p);

/* RUN/instance has 16 random bytes that outlive the root half but not a reboot, so a machine cloned from another's disk
 * has its own. Returns 0, or 1 when they could not be kept there for the reason in `err` (the directory is the agent's
 * user's) and are good until the root half ends. */
int directories_instance(const struct directories *p, uint8_t ret[REQUEST_INSTANCE_SIZE], struct error *err);

#endif
