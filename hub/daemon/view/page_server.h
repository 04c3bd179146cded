/* The status page, the metrics and the health check, read-only, on a loopback address behind HAProxy (`page` in
 * hub.conf).
 *
 *   /         one HTML page (hub/daemon/view/page_html.h)
 *   /metrics  for Prometheus (hub/daemon/view/metrics.h)
 *   /healthz  200 "ok", or 503 and why: the store, the root half, or what was due is late
 *
 * Each is made anew at most once a second, however many ask.
 */
#ifndef CERTSYNC_HUB_DAEMON_VIEW_PAGE_SERVER_H
#define CERTSYNC_HUB_DAEMON_VIEW_PAGE_SERVER_H

#include "hub/daemon/hub.h"

/* Follows the configuration: it opens, moves or closes as `page` says, and keeps what is open when that is the same.
 * Returns -1 when it cannot listen there; what was open stays. */
int page_server_open(struct hub *hub, struct error *err);
void page_server_close(struct hub *hub);

#endif
