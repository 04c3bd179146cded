/* A service that ran before it was touched and does not run any more is started again: by its unit where systemd has
 * started it, else by its own command.
 *
 * How it is started is found out while it runs. A unit counts when systemd names a process of that service as its main
 * one, and a process's words only when all of its user ids are root's (lib/service/process.h).
 */
#ifndef CERTSYNC_AGENT_CLI_ADOPT_REVIVE_H
#define CERTSYNC_AGENT_CLI_ADOPT_REVIVE_H

#include "agent/cli/services/found.h"
#include "agent/cli/services/listening.h"

struct revival {
	const char *service; /* borrowed */
	char *program;       /* owned */
	uid_t user;          /* of the found service */
	char **words;        /* the command, owned, ended by NULL; NULL: not known */
	bool seen;           /* it had a port that root opened; of another nothing can be told */
	int process;         /* of the process that listened, if seen; owned (lib/service/process.h) */
	pid_t pid;
};

void revival_release(struct revival *r);
/* Finds out how the service is started. */
void revival_prepare(const struct found_service *s, const struct listening *l, struct revival *ret);
/* Returns whether the process that was seen still lives, or any of it listens, as far as can be told. */
bool revival_runs(const struct revival *r);
/* Starts it and does not wait; what it prints goes nowhere. */
int revival_start(const struct revival *r, struct error *err);
/* Returns the command for a person; the caller frees it. */
char *revival_text(const struct revival *r);

#endif
