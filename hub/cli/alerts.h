/* The commands `certsync alert test` and `certsync alert list`. */
#ifndef CERTSYNC_HUB_CLI_ALERTS_H
#define CERTSYNC_HUB_CLI_ALERTS_H

#include "lib/cli/cli.h"

int command_alert_test(const struct cli_line *line);
int command_alert_list(const struct cli_line *line);

#endif
