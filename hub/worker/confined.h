/* What a worker may reach once it has its job: names, any TCP port, and the trust anchors that the job names; it writes
 * no file and runs nothing. For a job that runs somebody else's program (a dns_hook, the command of alerts) nobody here
 * can know what that needs to read and write, so there only the workers' user and the unit limit files.
 */
#ifndef CERTSYNC_HUB_WORKER_CONFINED_H
#define CERTSYNC_HUB_WORKER_CONFINED_H

#include "lib/wire/json.h"

/* This must be called before anything that the job says is done. */
void worker_confine(const cJSON *job);

#endif
