/* The command `certsync hold`: asks the hub to let an agent alone for a while (hub/daemon/rollout/hold.h). */
#ifndef CERTSYNC_HUB_CLI_HOLD_H
#define CERTSYNC_HUB_CLI_HOLD_H

#include "lib/cli/cli.h"

extern const struct cli_option hold_options[];
int command_hold(const struct cli_line *line);

#endif
