/* The outcome of a check, for people, for programs and for Nagios.
 */
#ifndef CERTSYNC_CHECK_SHOW_H
#define CERTSYNC_CHECK_SHOW_H

#include "lib/probe/check_run.h"

enum nagios_exit { NAGIOS_OK = 0, NAGIOS_WARNING = 1, NAGIOS_CRITICAL = 2, NAGIOS_UNKNOWN = 3 };

/* A table on standard output, then each fault with what to do. */
void check_show_table(const struct check_run *run, bool colour);
/* One object: "checks", "exit". */
void check_show_json(const struct check_run *run, int exit_code);
/* One line; returns what to exit with. */
enum nagios_exit check_show_nagios(const struct check_run *run);

#endif
