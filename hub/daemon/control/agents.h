/* Requests of an operator about agents and their keys:
 *
 *   agent-join   name, rotates; FILES "login", "mac" → "result" with "line", to which the asker appends the secret
 *                                                      that these were made from (lib/crypto/join.h); the hub never
 *                                                      has it
 *   agent-list                                       → "agent" …, "result"
 *   agent-add    name, key                           → "result" with "line"
 *   agent-remove name                                → "result"
 */
#ifndef CERTSYNC_HUB_DAEMON_CONTROL_AGENTS_H
#define CERTSYNC_HUB_DAEMON_CONTROL_AGENTS_H

#include "hub/daemon/control/client.h"

/* Returns -1 with the reason and what to do, unless the asker may change which keys agents have: root may, and the
 * group where hub.conf says so. */
int control_may_change_keys(const struct client *c, const char *verb, const char *agent, struct error *err);
/* The root half has answered: authorized_keys is written, or why it is not. */
void control_keys_written(struct hub *hub, bool ok, const char *text);
void control_agent_add(struct client *c, const cJSON *request);
void control_join(struct client *c, const cJSON *request);
void control_agent_list(struct client *c, const cJSON *request);
void control_agent_remove(struct client *c, const cJSON *request);

#endif
