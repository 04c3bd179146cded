/* The operator's commands of certsync: each asks the daemon over its control socket and shows the answers. */
#ifndef CERTSYNC_HUB_CLI_COMMANDS_H
#define CERTSYNC_HUB_CLI_COMMANDS_H

#include "lib/wire/ask.h"
#include "lib/cli/cli.h"
#include "lib/core/files.h"

int command_status(const struct cli_line *line);
int command_push(const struct cli_line *line);
int command_renew(const struct cli_line *line);
int command_rollback(const struct cli_line *line);
int command_history(const struct cli_line *line);
int command_config(const struct cli_line *line);
int command_reload(const struct cli_line *line);

/* The rest is for commands of other modules. All take the request over and return the exit code. This shows the answers
 * as `push` does; `files` may be NULL. */
int command_follow(const struct cli_line *line, cJSON *request, const struct files *files);
/* This hands each answer, the final one included, to `answer`. */
int command_ask(const struct cli_line *line, cJSON *request, ask_answer *answer, void *context);
/* Does the same with files, which may be NULL. */
int command_ask_with(
	const struct cli_line *line, cJSON *request, const struct files *files, ask_answer *answer, void *context);

/* Brings these files, which may have private keys, to certsync-keys, past the daemon, and puts what is left of each in
 * its place (hub/common/key_bring.h); `left` keeps that, one for each file. Returns CLI_DONE, or the exit code, and has
 * said why. */
int command_bring(const struct cli_line *line, struct files *files, struct buf *left);

#endif
