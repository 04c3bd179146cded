/* The command `certsync import`: publishes a key and chain of one's own. The key goes to certsync-keys, and the daemon
 * is told which one it is.
 */
#ifndef CERTSYNC_HUB_CLI_IMPORT_H
#define CERTSYNC_HUB_CLI_IMPORT_H

#include "lib/cli/cli.h"

extern const struct cli_option import_options[];
int command_import(const struct cli_line *line);

#endif
