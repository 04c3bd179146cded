/* The operator's commands of certsync-agent. Each returns a cli_exit. */
#ifndef CERTSYNC_AGENT_CLI_COMMANDS_H
#define CERTSYNC_AGENT_CLI_COMMANDS_H

#include "lib/wire/ask.h"
#include "lib/cli/cli.h"

int command_agent_status(const struct cli_line *line);
int command_agent_pull(const struct cli_line *line);
int command_agent_config(const struct cli_line *line);
int command_agent_reload(const struct cli_line *line);
/* Asks the daemon and hands each answer, the final one included, to `answer`. Takes the request over and returns the
 * exit code. */
int command_agent_ask(const struct cli_line *line, cJSON *request, ask_answer *answer, void *context);
/* Both go on as certsync-agent-root, which has the keys and the pins. */
int command_agent_identity(const struct cli_line *line);
int command_agent_join(const struct cli_line *line);

#endif
