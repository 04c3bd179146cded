/* What the daemon may reach, as hub.conf says: it writes in its own two directories, reads the files that hub.conf
 * names, and listens at the two ports. It connects nowhere and starts nothing.
 *
 * A file is reached by its directory, since whoever replaces it puts another one there. This is settled once; a
 * configuration that names files elsewhere is for another process.
 */
#ifndef CERTSYNC_HUB_DAEMON_REACH_H
#define CERTSYNC_HUB_DAEMON_REACH_H

#include "hub/common/config.h"

struct reach;

struct reach *reach_of(const struct hub_config *config);
void reach_free(struct reach *r); /* NULL is allowed */

/* These return whether the files, and the ports, that `wanted` has are within what `now` has. State and run are not compared, since
 * they change only with a restart. */
bool reach_covers_files(const struct reach *now, const struct reach *wanted);
bool reach_covers_ports(const struct reach *now, const struct reach *wanted);

/* Confines the process for good. Logs what the kernel lacks. */
void reach_confine(const struct reach *r);

#endif
