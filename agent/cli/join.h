/* `certsync-agent join` with a line that is good once: the node proves to the hub that it was given the line, the hub that it
 * wrote it, and only then anything is pinned or written here (man/certsync-protocol.7, JOINING).
 */
#ifndef CERTSYNC_AGENT_JOIN_H
#define CERTSYNC_AGENT_JOIN_H

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

/* Takes the line's text. ERROR_USAGE: it is no such line, or agent.conf is wrong (its faults are on standard error). */
int join_open(struct join *j, const char *config_path, const char *text, bool replace, struct error *err);
void join_close(struct join *j); /* wipes */

/* All of it, but agent.conf. What the hub answered is the caller's to release. */
int join_run(struct join *j, struct join_answer *ret, struct error *err);

/* Writes a first agent.conf where there is none, and tells on standard output what is to be added where there is one. */
int join_configure(const struct join *j, const struct join_answer *answer, struct error *err);

#endif
