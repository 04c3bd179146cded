/* An overview in Prometheus's text format (version 0.0.4). This does no I/O.
 *
 * A state is a label of a series that is 1 while it lasts; the series of another state is absent, not 0.
 */
#ifndef CERTSYNC_HUB_DAEMON_VIEW_METRICS_H
#define CERTSYNC_HUB_DAEMON_VIEW_METRICS_H

#include "hub/daemon/view/overview.h"
#include "lib/core/buf.h"

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Returns 0, or -1 when the text is longer than `out` takes. */
int metrics_write(const struct overview *o, struct buf *out);

#endif
