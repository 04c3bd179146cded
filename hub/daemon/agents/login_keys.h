/* The keys by which agents and joining nodes log in, which the root half writes into authorized_keys. */
#ifndef CERTSYNC_HUB_DAEMON_AGENTS_LOGIN_KEYS_H
#define CERTSYNC_HUB_DAEMON_AGENTS_LOGIN_KEYS_H

#include "hub/daemon/hub.h"

/* Sends every enrolled agent's key of the configuration, and those of open join lines, to the root half; its answer has
 * the number hub->keys_asked. An agent whose record cannot be read keeps the lines that it has, so that nobody is
 * locked out, and others' are written all the same; that is told as a damaged record (hub/daemon/record.h), and the
 * list is sent again until it can be read. Join lines whose time is over are removed first, and from then on whenever
 * the time of one has come. */
void login_keys_send(struct hub *hub);
void login_keys_close(struct hub *hub);

#endif
