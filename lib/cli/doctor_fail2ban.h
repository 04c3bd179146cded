/* Whom the jails of fail2ban let alone, where it runs. */
#ifndef CERTSYNC_LIB_CLI_DOCTOR_FAIL2BAN_H
#define CERTSYNC_LIB_CLI_DOCTOR_FAIL2BAN_H

#include "lib/cli/doctor.h"

/* Returns whether a list, as `fail2ban-client get JAIL ignoreip` prints it, has this address, alone or in a network. It
 * does no I/O. */
bool doctor_ignores(const char *list, const char *address);

/* Each running jail whose name begins with one of `jails` has to ignore each of these addresses (both lists end with
 * NULL); `why` says who comes from there. Nothing is found where fail2ban does not run. */
void doctor_fail2ban(
	struct doctor_findings *f, const char *const *jails, const char *const *addresses, const char *why);

#endif
