/* `certsync-agent doctor`: looks over an agent's node, and mends it. */
#ifndef CERTSYNC_AGENT_CLI_DOCTOR_H
#define CERTSYNC_AGENT_CLI_DOCTOR_H

#include "lib/cli/cli.h"

int command_agent_doctor(const struct cli_line *line);

#endif
