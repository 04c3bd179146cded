/* The checks (lib/cli/doctor.h) of the way by which agents come in: the gate account, its authorized_keys, and sshd.
 * `site` is the hub's configuration.
 */
#ifndef CERTSYNC_HUB_CLI_DOCTOR_GATE_H
#define CERTSYNC_HUB_CLI_DOCTOR_GATE_H

#include "lib/cli/doctor.h"

#define DOCTOR_SSHD_DROP_IN "/etc/ssh/sshd_config.d/certsync.conf"

void doctor_gate_account(struct doctor_findings *f, const void *site);
void doctor_gate_files(struct doctor_findings *f, const void *site);
void doctor_gate_sshd(struct doctor_findings *f, const void *site);

#endif
