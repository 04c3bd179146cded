/* What a worker may reach once it has its job: names, any TCP port, the trust anchors that the job names; it writes no file and runs
 * nothing. A job that runs somebody else's program (a dns_hook, the command of alerts) is another matter: nobody here can know what
 * that needs to read and write, so there files are limited by the workers' user and by the unit alone.
 */
#ifndef CERTSYNC_HUB_CONFINED_H
#define CERTSYNC_HUB_CONFINED_H

#include "lib/wire/json.h"

/* Before anything that the job says is done. */
void worker_confine(const cJSON *job);

#endif
