/* What a person has the root half do once: show this agent's keys, and pin its hub. */
#ifndef CERTSYNC_AGENT_ROOT_SETUP_H
#define CERTSYNC_AGENT_ROOT_SETUP_H

#include "agent/common/config.h"
#include "lib/cli/cli.h"

/* Returns agent.conf, or NULL with its faults on standard error. */
struct agent_config *setup_load(const char *path);

/* `identity` makes the keys that are missing and prints the agent's line. */
int setup_identity(const struct cli_line *line);
/* `pin [--replace]` reads the hub's line from standard input. */
int setup_pin(const struct cli_line *line);

#endif
