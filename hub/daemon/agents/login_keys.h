/* The keys by which agents and joining nodes log in, which the root half writes into authorized_keys. */
#ifndef CERTSYNC_HUB_DAEMON_AGENTS_LOGIN_KEYS_H
#define CERTSYNC_HUB_DAEMON_AGENTS_LOGIN_KEYS_H

#include "hub/daemon/hub.h"

/* Sends every enrolled agent's key of the configuration, and those of open join lines, to the root half; its answer has
 * the number hub->keys_asked. While a record cannot be read the list is not sent, so that nobody is locked out, and
 * that is tried again. Join lines whose time is over are removed first, and from then on whenever the time of one has
 * come. */
void login_keys_send(struct hub *hub);
void login_keys_close(struct hub *hub);

#endif
