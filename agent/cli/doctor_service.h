/* The services of agent.conf: hooks, what they present, who listens where they are probed. Checks of lib/cli/doctor.h.
 */
#ifndef CERTSYNC_AGENT_DOCTOR_SERVICE_H
#define CERTSYNC_AGENT_DOCTOR_SERVICE_H

#include "lib/cli/doctor.h"

void doctor_service_hooks(struct doctor_findings *f, const void *config);
void doctor_service_files(struct doctor_findings *f, const void *config);
void doctor_service_ports(struct doctor_findings *f, const void *config);
void doctor_service_apparmor(struct doctor_findings *f, const void *config);

#endif
