/* The command `certsync doctor`: looks over the hub's node, and mends it. */
#ifndef CERTSYNC_HUB_CLI_DOCTOR_H
#define CERTSYNC_HUB_CLI_DOCTOR_H

#include "lib/cli/cli.h"

int command_doctor(const struct cli_line *line);

#endif
