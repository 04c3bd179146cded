/* The checks (lib/cli/doctor.h) of agent.conf's services: their hooks, what they present, and who listens where they
 * are probed.
 */
#ifndef CERTSYNC_AGENT_CLI_DOCTOR_SERVICE_H
#define CERTSYNC_AGENT_CLI_DOCTOR_SERVICE_H

#include "lib/cli/doctor.h"

void doctor_service_hooks(struct doctor_findings *f, const void *config);
void doctor_service_files(struct doctor_findings *f, const void *config);
void doctor_service_ports(struct doctor_findings *f, const void *config);
void doctor_service_apparmor(struct doctor_findings *f, const void *config);

#endif
