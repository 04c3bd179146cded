/* The commands `certsync account` and `certsync revoke`. */
#ifndef CERTSYNC_HUB_CLI_ACCOUNT_H
#define CERTSYNC_HUB_CLI_ACCOUNT_H

#include "lib/cli/cli.h"

extern const struct cli_option revoke_options[];

int command_revoke(const struct cli_line *line);
int command_account_show(const struct cli_line *line);
int command_account_rollover(const struct cli_line *line);
int command_account_deactivate(const struct cli_line *line);

#endif
