/* The command `certsync recover`. It needs root, who alone can read the local agent's archive. */
#ifndef CERTSYNC_HUB_CLI_RECOVER_H
#define CERTSYNC_HUB_CLI_RECOVER_H

#include "lib/cli/cli.h"

extern const struct cli_option recover_options[];
int command_recover(const struct cli_line *line);

#endif
