/* The rollouts of all certificates, put to work: messages to and from sessions go through the state machine
 * (rollout.h), decisions are kept in the store, and each change of state is one line in the log.
 *
 * The record in the store is of kind "rollouts" in the certificate's NAME: state.json has revision, started, open,
 * proceed and what was replaced, and for each agent when it was last seen, what had failed there, and what had drifted.
 * A change that decides anything is on disk before it is acted upon; when agents were last seen is written with the
 * next such change, or within the hour.
 */
#ifndef CERTSYNC_HUB_DAEMON_ROLLOUT_FLEET_H
#define CERTSYNC_HUB_DAEMON_ROLLOUT_FLEET_H

#include "hub/daemon/hub.h"
#include "hub/daemon/rollout/rollout.h"

struct fleet;

/* Builds the rollouts of the configuration and resumes them from the store. */
void fleet_open(struct hub *hub);
void fleet_close(struct hub *hub);

size_t fleet_count(const struct hub *hub);
struct rollout *fleet_at(struct hub *hub, size_t index);
struct rollout *fleet_find(struct hub *hub, const char *certificate); /* NULL: not in the configuration */
int64_t fleet_late(const struct hub *hub); /* seconds since what is due next was; 0 or less: not yet */

/* A new revision is in the store; `old` is what it replaces, or NULL. */
void fleet_publish(
	struct hub *hub, const char *certificate, const struct manifest *now_desired, const struct manifest *old);

/* These come from a session: one inventory; the end of the hello; an answer; a fetch, which is answered with a bundle;
 * the end of the session. */
void fleet_inventory(struct hub *hub, const char *agent, const struct message *inventory);
void fleet_hello_done(struct hub *hub, const char *agent);
void fleet_answer(struct hub *hub, const char *agent, const struct message *m);
void fleet_fetch(struct hub *hub, struct session *session, const struct message *m);
void fleet_lost(struct hub *hub, const char *agent);

/* These come from an operator or a pull. `agent` NULL means every one. */
void fleet_retry(struct hub *hub, struct rollout *r, const char *agent, bool force);
void fleet_proceed(struct hub *hub, struct rollout *r);
/* Nothing is begun there until then, and the agent is told so; 0 ends it. This is not kept on disk;
 * hub/daemon/rollout/hold.h does that. */
void fleet_hold(struct hub *hub, struct rollout *r, struct rollout_agent *a, int64_t until);

#endif
