/* `certsync-agent join` with a line that is good once. The node proves to the hub that it was given the line, and the
 * hub that it wrote it; only then is anything pinned or written here (man/certsync-protocol.7, JOINING).
 */
#ifndef CERTSYNC_AGENT_CLI_JOIN_H
#define CERTSYNC_AGENT_CLI_JOIN_H

#include "agent/common/pin.h"

enum { JOIN_CONFIG_MAX = 1024 * 1024 };

struct join {
	const char *config_path;
	bool has_config;             /* there is one at config_path */
	struct agent_config *config; /* that, or the defaults; owned */
	struct agent_config *line;   /* one whose only hub is the line's; owned */
	int empty; /* the descriptor of its text: what the root half reads while there is no agent.conf */
	struct pin pin;
	bool replace;
};

/* Takes the line's text. ERROR_USAGE says that it is no such line, or that agent.conf is wrong (its faults are on
 * standard error). */
int join_open(struct join *j, const char *config_path, const char *text, bool replace, struct error *err);
void join_close(struct join *j); /* wipes */

/* Does everything except for agent.conf. The caller releases what the hub answered. */
int join_run(struct join *j, struct join_answer *ret, struct error *err);

/* Writes a first agent.conf where there is none; where there is one, it prints what is to be added. */
int join_configure(const struct join *j, const struct join_answer *answer, struct error *err);

#endif
