/* What a reload of Dovecot costs its clients, looked at by certsync-agent doctor, since each renewal reloads. */
#ifndef CERTSYNC_AGENT_CLI_DOCTOR_DOVECOT_H
#define CERTSYNC_AGENT_CLI_DOCTOR_DOVECOT_H

#include "agent/cli/services/found.h"
#include "lib/cli/doctor.h"

/* Adds a finding for each setting by which a reload ends sessions, or loses clients that come during it. */
void doctor_dovecot(struct doctor_findings *f, const struct found_service *found);

#endif
