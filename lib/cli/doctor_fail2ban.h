/* fail2ban, where it runs: whom its jails let alone.
 */
#ifndef CERTSYNC_DOCTOR_FAIL2BAN_H
#define CERTSYNC_DOCTOR_FAIL2BAN_H

#include "lib/cli/doctor.h"

/* Pure: whether a list as `fail2ban-client get JAIL ignoreip` prints it has this address, alone or in a network. */
bool doctor_ignores(const char *list, const char *address);

/* Each running jail whose name begins with one of `jails` is to ignore each of these addresses (both ended by NULL);
 * `why` says who comes from there. Nothing where fail2ban does not run. */
void doctor_fail2ban(
	struct doctor_findings *f, const char *const *jails, const char *const *addresses, const char *why);

#endif
