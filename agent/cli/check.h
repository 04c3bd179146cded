/* `certsync-agent check`: what this node's ports serve, compared with what is installed here; or what clients see
 * elsewhere.
 */
#ifndef CERTSYNC_AGENT_CLI_CHECK_H
#define CERTSYNC_AGENT_CLI_CHECK_H

#include "lib/cli/cli.h"

extern const struct cli_option agent_check_options[];
int command_agent_check(const struct cli_line *line);

#endif
