/* What may come next on a command line, for the shells' completion. It is made from the table that also makes the help.
 *
 * A shell runs `PROGRAM complete -- WORD…`; the last word is the one that is being typed. Each line of the answer is a
 * candidate, with a tab and what the help says of it behind; ":files" or ":directories" alone means that the shell
 * knows better. The placeholder in the table says what each word of a command is: CERTIFICATE, AGENT, FILE, DIRECTORY,
 * HOST…
 */
#ifndef CERTSYNC_LIB_CLI_COMPLETE_H
#define CERTSYNC_LIB_CLI_COMPLETE_H

#include "lib/wire/ask.h"
#include "lib/cli/cli.h"

/* Asks the daemon of the configuration in `line` for its status; each answer that names a certificate or an agent
 * counts. */
typedef int complete_ask(const struct cli_line *line, cJSON *request, ask_answer *answer, void *context);

/* Runs the command `complete`. A daemon that has not answered after COMPLETE_WAIT_MS is not waited for: the process
 * ends with what it has printed so far. */
enum { COMPLETE_WAIT_MS = 400 };
int complete(const struct cli_line *line, const struct cli_command *commands, complete_ask *daemon);

#endif
