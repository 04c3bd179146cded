/* The command `certsync check`: what clients see at each address of each name. */
#ifndef CERTSYNC_HUB_CLI_CHECK_H
#define CERTSYNC_HUB_CLI_CHECK_H

#include "lib/cli/cli.h"

extern const struct cli_option check_options[];
int command_check(const struct cli_line *line);

#endif
