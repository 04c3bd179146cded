/* What `certsync doctor` looks at for the workers' user: whether it can read what is named for it. */
#ifndef CERTSYNC_HUB_CLI_DOCTOR_WORKER_H
#define CERTSYNC_HUB_CLI_DOCTOR_WORKER_H

#include "lib/cli/doctor.h"

/* `site` is a struct hub_config. */
void doctor_worker_files(struct doctor_findings *f, const void *site);

#endif
