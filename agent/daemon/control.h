/* The operator's side: requests over RUN/control.sock (lib/wire/ask.h).
 *
 *   status                            → "hub", "certificate" …, "result"
 *   pull  certificates[], seconds     → "progress" …, "certificate" …, "result"
 *   look                              → "result"
 *
 * `pull` connects at once if need be, asks the hub for what is due and follows it until it has ended. It exits 0 when
 * all is as it should be, 1 when something failed, 3 when it is still under way after `seconds` or waits for other
 * agents, and 4 when there is no hub. `look` has every port looked at, and the hub asked for what is due, and waits for
 * neither.
 */
#ifndef CERTSYNC_AGENT_DAEMON_CONTROL_H
#define CERTSYNC_AGENT_DAEMON_CONTROL_H

#include "agent/daemon/site.h"
#include "lib/core/error.h"

#include <stdbool.h>

int control_open(struct site *site, struct error *err); /* site->control */
void control_close(struct site *site);
/* The certificates of the old configuration are about to go, and whoever follows them is told. */
void control_interrupt(struct site *site);

/* Something has happened that a client may wait for. */
void control_welcome(struct site *site);
void control_pong(struct site *site);
void control_hub_failed(struct site *site);
void control_told(struct site *site, struct daemon_certificate *about, const struct message *m);

#endif
