/* What the daemon may reach, as hub.conf says: its own two directories to write in, the files that hub.conf names to be read, the two
 * ports to listen at. It connects nowhere and starts nothing.
 *
 * A file is reached by its directory, since who replaces it puts another one there. It is settled once; a configuration that names
 * files elsewhere is another process's.
 */
#ifndef CERTSYNC_HUB_DAEMON_REACH_H
#define CERTSYNC_HUB_DAEMON_REACH_H

#include "hub/common/config.h"

struct reach;

struct reach *reach_of(const struct hub_config *config);
void reach_free(struct reach *r); /* NULL is allowed */

/* Whether all that `wanted` has is within what `now` has. State and run are not compared: they change at a restart. */
bool reach_covers(const struct reach *now, const struct reach *wanted);

/* For good. Logs what the kernel lacks. */
void reach_confine(const struct reach *r);

#endif
