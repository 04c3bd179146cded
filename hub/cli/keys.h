/* The commands `certsync keys` and `certsync keys rotate`: the hub's signing key, and how far its replacement is. */
#ifndef CERTSYNC_HUB_CLI_KEYS_H
#define CERTSYNC_HUB_CLI_KEYS_H

#include "lib/cli/cli.h"

int command_keys(const struct cli_line *line);
int command_keys_rotate(const struct cli_line *line);

#endif
