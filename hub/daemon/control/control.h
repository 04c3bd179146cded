/* The operator's side: requests over the control socket (lib/wire/ask.h), which are answered at once or followed until
 * what they asked for has come to an end.
 *
 *   status                                            → "certificate" …, "agent" …, "result"
 *   status watch                                      → the same and "round", again upon every change
 *   push   certificates[], agents[], force, proceed   → "progress" …, "agent" …, "result"
 *   renew  certificates[], force                      → the same, the order first
 *   import certificate, may_expire_sooner; then FILES → the same, once published
 *   rollback certificate, revision (optional)         → the same: old content as a new revision
 *   history certificate                               → "revision" …, oldest first, "result"
 *   hold   agent, certificate (optional), seconds     → "agent" …, "result"; 0 seconds end it
 *   thumbprint account (optional)                     → "result" with "account" and "thumbprint" of its key
 *   recover certificate, archive; FILES               → see hub/daemon/control/recover.h
 *   agent-add name, key                               → "result" with "line"
 *   alert-test                                        → "channel" …, "result": 1 when one of them failed
 *   alert-list                                        → "condition" …, "channel" …, "result"
 *   account, revoke                                   → see hub/daemon/control/account.h
 *   agent-join, agent-list, agent-remove              → see hub/daemon/control/agents.h
 */
#ifndef CERTSYNC_HUB_DAEMON_CONTROL_CONTROL_H
#define CERTSYNC_HUB_DAEMON_CONTROL_CONTROL_H

#include "hub/daemon/hub.h"
#include "hub/daemon/rollout/rollout.h"

void control_accept(int fd, uid_t uid, void *context); /* listener_accept; context is the hub */

#endif
