/* The commands `certsync agent add`, `list`, `rotate` and `remove`. */
#ifndef CERTSYNC_HUB_CLI_AGENTS_H
#define CERTSYNC_HUB_CLI_AGENTS_H

#include "lib/cli/cli.h"

int command_agent_add(const struct cli_line *line);
int command_agent_rotate(const struct cli_line *line);
int command_agent_list(const struct cli_line *line);
int command_agent_remove(const struct cli_line *line);

#endif
