/* The agent warns on its own, so that a hub that is gone is not silent: when no hub was reached for
 * `hub_away`, when a list of signing keys that was told in its name is refused, and when what it has installed nears its end, by the executable that the alert section of
 * agent.conf names, run as this daemon's user, the message of lib/alert_text on its standard input. Once per
 * condition, again after `repeat`, and when it is over; one that fails is tried again after a minute,
 * doubling to an hour.
 *
 * Kept in STATE/alerts.json, so that a restart repeats nothing: the book of conditions, messages not
 * delivered, when a hub was there.
 */
#ifndef CERTSYNC_AGENT_ALERT_H
#define CERTSYNC_AGENT_ALERT_H

#include "agent/cli/services/site.h"

struct alerts;

struct alerts *agent_alert_open(struct site *site); /* NULL when agent.conf names no executable: then nothing is done */
void agent_alert_close(struct alerts *a);           /* NULL is allowed, here as below; kills what runs */
/* The connection has come or gone. */
void agent_alert_connection(struct alerts *a);

#endif
