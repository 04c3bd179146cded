/* The outcome of a check, shown for people, for programs and for Nagios. */
#ifndef CERTSYNC_LIB_PROBE_CHECK_SHOW_H
#define CERTSYNC_LIB_PROBE_CHECK_SHOW_H

#include "lib/probe/check_run.h"

enum nagios_exit { NAGIOS_OK = 0, NAGIOS_WARNING = 1, NAGIOS_CRITICAL = 2, NAGIOS_UNKNOWN = 3 };

/* Prints a table on standard output, then each fault with what to do. */
void check_show_table(const struct check_run *run, bool colour);
/* Prints one object with "checks" and "exit". */
void check_show_json(const struct check_run *run, int exit_code);
/* Prints one line and returns what to exit with. */
enum nagios_exit check_show_nagios(const struct check_run *run);

#endif
