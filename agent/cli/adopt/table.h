/* The last word of `adopt`: each port and name that the node serves, what it served, what it serves now or would serve,
 * and who keeps that from here on. Names of one port for which all of that is the same stand in one row.
 */
#ifndef CERTSYNC_AGENT_CLI_ADOPT_TABLE_H
#define CERTSYNC_AGENT_CLI_ADOPT_TABLE_H

#include "agent/cli/adopt/sight.h"

/* With `now` NULL it says what would become of what is served before. */
void table_print(const struct plan *plan, const struct sight *before, const struct sight *now);

#endif
