/* The agent warns on its own, so that a hub that is gone is not silent. It warns when no hub was reached for
 * `hub_away`, when a list of signing keys that was told in the hub's name is refused, and when what is installed nears
 * its end. It runs the executable that the alert section of agent.conf names, as this daemon's user, with the message
 * of lib/alert/alert_text.h on its standard input: once for each condition, again after `repeat`, and when it is over.
 * A run that fails is tried again after a minute, then after twice as long each time, up to an hour.
 *
 * STATE/alerts.json keeps the book of conditions, the messages that were not delivered and when a hub was last there,
 * so that a restart repeats nothing.
 */
#ifndef CERTSYNC_AGENT_DAEMON_ALERT_H
#define CERTSYNC_AGENT_DAEMON_ALERT_H

#include "agent/daemon/site.h"

struct alerts;

struct alerts *agent_alert_open(struct site *site); /* NULL when agent.conf names no executable: then nothing is done */
void agent_alert_close(struct alerts *a);           /* NULL is allowed, here as below; kills what runs */
/* The connection has come or gone. */
void agent_alert_connection(struct alerts *a);

#endif
