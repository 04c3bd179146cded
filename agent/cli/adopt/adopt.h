/* `certsync-agent adopt`: makes services present what is installed below live/. */
#ifndef CERTSYNC_AGENT_CLI_ADOPT_ADOPT_H
#define CERTSYNC_AGENT_CLI_ADOPT_ADOPT_H

#include "lib/cli/cli.h"

extern const struct cli_option adopt_options[];
int command_agent_adopt(const struct cli_line *line);

#endif
