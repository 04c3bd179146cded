/* After the hub was restored from a backup, agents are ahead of it, and take nothing until a newer revision comes. A
 * new epoch is newer than all that they have had.
 *
 *   recover certificate                         → as for push, once published
 *   recover certificate, archive; then FILES    → the same: what the local agent's archive has as that revision
 *
 * The newest content is published: the archive's, or the store's own, if no agent that was heard has had a newer one.
 * Where one has, or the newest content is refused, another certificate is ordered, which begins the epoch. The epoch is
 * on disk before anything else, and what is interrupted goes on in it.
 */
#ifndef CERTSYNC_HUB_DAEMON_CONTROL_RECOVER_H
#define CERTSYNC_HUB_DAEMON_CONTROL_RECOVER_H

#include "hub/daemon/control/client.h"

void control_recover(struct client *c, const cJSON *request);

#endif
