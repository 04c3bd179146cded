/* How one certificate's desired revision gets to every agent that is assigned to it, as a state machine. Events and the
 * clock go in, messages to send come out; it does no I/O, and has no memory of its own beyond the struct.
 *
 * An agent goes   idle → offered → staged → activating → installed → verified,
 * or to           failed(step, reason), from where it is offered the revision again after a backoff,
 * or, installed and committed there, to unverified, when some port has not been seen serving it.
 *
 * With `immediate` each agent goes through on its own; a rollback always does.
 *
 * With `together` an agent that has staged waits at the barrier until every agent of the barrier has staged (or has the
 * revision already); then all activate. The barrier is every assigned agent that was seen within ROLLOUT_SEEN. It opens
 *   - when all of them have staged;
 *   - without those that are away, slow or silent, stage_timeout after the publish, unless one *failed* at staging;
 *   - in spite of a failure at staging: proceed_after the publish, or when the old certificate has under a sixth of its
 *     life left, or when the operator says so (rollout_proceed).
 * Once open it stays open for the revision, and whoever comes later passes on its own.
 *
 * Agents that are canaries activate before all others, who wait until each canary has been verified for `soak` seconds.
 * A canary that fails or is away holds the others as a failure at staging does, and no longer than the three reasons
 * above.
 *
 * After a failed activation no further agent begins to activate (`stopped`) until that agent is verified, or until one
 * of the three reasons holds that open the barrier in spite of a failure. The failed one itself is retried. With
 * on_failure = rollback_all the hub is asked to publish the old content as a new revision (rollout_actions.roll_back),
 * which supersedes this one, unless
 *   - the old one has under a third of its life left, was revoked, or there is none: then it is as with `stop`, and
 *     no_rollback says so;
 *   - this is a rollback, which is never rolled back by policy, whoever fails at it;
 *   - the agent had passed this revision before: a service that breaks later sends nobody back;
 *   - the operator said to proceed, or proceed_after has passed.
 *
 * Where there are windows, activations begin only within one (the caller's function gives the local time). An agent
 * begins at any time
 *   - when the revision is a rollback, urgent (the old one revoked, or the CA's date for it past), or the operator says
 *     to proceed;
 *   - when the old one, or the one that this agent serves, has under a sixth of its life left, or there is none;
 *   - when it serves this revision already: its activation is repeated, and nothing is changed.
 * Canaries obey windows as all others do. Staging does not wait for one.
 *
 * A held agent (rollout_hold) gets no offer and no activation, is outside the barrier, and is not converged; it ends
 * what it was in the middle of. What it says of its ports is noted and not judged; when the hold ends it is asked
 * again. A held canary is not verified, so the others wait for it as for one that is away.
 *
 * These cases are decided:
 *   - A publish in the middle of a rollout supersedes it: each agent starts anew with the new revision, whatever it was
 *     doing, and answers to the old attempts are stale. An agent's root half finishes or undoes what it had begun. What
 *     is "the old one" stays what it was while agents of the barrier have not passed the superseded revision (those
 *     that failed at it do not count); but a superseded rollback is the old one at once, since what it went back to is
 *     known to be good.
 *   - A restarted hub knows who had failed, and where: it restores what rollout_agent says of that.
 *   - An agent that joins (is added to the configuration) is in the barrier from its first hello; behind an open one it
 *     passes by itself, canary or not.
 *   - An agent that is removed from the configuration is gone from the rollout, and nobody waits for it, nor for its
 *     failure.
 *   - An agent that is lost keeps its place (failed attempts are not counted for it); at its next hello its inventory
 *     decides. What it activated without being able to tell is found there.
 *   - What an agent says counts for itself alone. One that reports the desired revision with the desired digest passes
 *     by itself from then on, and the barrier stays as it is for all others. It is unverified until it has answered a
 *     `probe`, since a service may have been restarted on an old file meanwhile, and a failed activation of its own
 *     goes on stopping the others until then.
 *   - A claim that contradicts what this hub has seen is a contradiction, which is counted and named, and no progress.
 *     Such are `installed` or `verified` of an attempt in which the agent was not told to activate, and the desired
 *     revision where it was never told to activate it, while this hub has been there since the publish: the agent is
 *     offered the revision like any other (one that truly has it, from before the hub was restored, has it staged at
 *     once). A hub that was restarted since cannot know, and believes that, for this agent.
 *   - What others wait for rests on one agent's word in two places alone: that a canary is verified, and that an agent
 *     that failed has got over it.
 *   - An agent that comes back with an older revision or none although it had passed this one (its disk was restored,
 *     its state lost) is a drift: it gets the offer again at once, behind the barrier that it had passed, and when that
 *     happens again, after a backoff. The same holds for an agent that says so in the middle of a connection.
 *   - A port that was dead before an activation is no reason to roll it back, and no reason to call it verified: it is
 *     unverified.
 *   - An agent that reports the desired revision with another digest, or a higher high-water mark, is `ahead`: this hub
 *     was restored from a backup or is not the one that the agent knew. Nothing is offered to it, and it never
 *     converges by itself.
 *   - A probe that finds another certificate served where this one was verified (a daemon with the old one in memory)
 *     is a drift and a failure: the activation is repeated, hooks and all, after the backoff. The backoff grows with
 *     drifts in a row (each within ROLLOUT_DRIFT_QUIET of the one before), so that a service that drifts for ever is
 *     reloaded no more than once in ROLLOUT_BACKOFF_MAX. A port that does not answer is only shown. One that came to the
 *     others since the last look, and was never right, is a failure and no drift: nobody has changed anything.
 *   - Files that an agent's root half found changed and put right are a drift that is only counted and told.
 *   - An agent that has not said for ROLLOUT_LOOK what its ports serve is asked.
 *   - A clock that is set back shortens every wait to at most its full length; one that is set forward ends waits
 *     early.
 *   - Attempts are numbers that only grow, also over a restart of the hub (they begin at the clock). A stale answer
 *     changes nothing.
 */
#ifndef CERTSYNC_HUB_DAEMON_ROLLOUT_ROLLOUT_H
#define CERTSYNC_HUB_DAEMON_ROLLOUT_ROLLOUT_H

#include "hub/common/config.h"
#include "hub/common/status/rollout_state.h"
#include "lib/wire/message.h"
#include "lib/crypto/content.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	ROLLOUT_SEEN = 24 * 3600, /* who was seen within it, the barrier waits for */
	ROLLOUT_BACKOFF_MIN = 30, /* seconds after the first failure, doubling */
	ROLLOUT_BACKOFF_MAX = 3600,
	ROLLOUT_PROBE_TIMEOUT = 90,     /* seconds for the answer to a `probe` */
	ROLLOUT_LOOK = 6 * 3600,        /* who has not said for so long what it serves, is asked */
	ROLLOUT_PULL_REST = 10,         /* an agent's pull ends no wait sooner than so long after its pull before */
	ROLLOUT_DRIFT_QUIET = 6 * 3600, /* after it, a drift is the first in a row */
};

struct rollout_agent {
	char name[NAME_AGENT_MAX];
	bool canary;
	bool connected;    /* its session is there, and it has said what it has of this certificate */
	bool no_section;   /* it has said nothing of it: agent.conf there has no section */
	int64_t last_seen; /* wall clock; 0 never */
	enum rollout_state state;
	int64_t since;    /* when `state` began */
	int64_t deadline; /* of offered, activating, installed, and of a probe; 0 none */
	uint32_t attempt;
	bool force;             /* the next attempt runs the hooks even if the revision is there */
	bool stopped;           /* verified as `installed (stopped)` */
	bool rolled_back;       /* failed, and the old files are back */
	uint32_t failures;      /* in a row */
	int64_t next_try;       /* failed: when it is offered again */
	int64_t pulled;         /* when it last asked for that itself, and was heard; 0 never */
	bool failed_staging;    /* failed before anything was switched: closes the barrier, until it has staged */
	bool failed_activation; /* failed after that: stops those that have not begun, until it is verified */
	bool fetched;           /* its bundle has been sent in this attempt */
	bool told;              /* to activate the desired revision, by this hub since it was started */
	bool passed;            /* it has had the desired revision committed, and may have lost it since */
	int64_t held_until;     /* wall clock; 0: not held */
	int64_t held_for;       /* seconds: how far ahead that was */
	struct content served;  /* as reported last; its leaf is what live/ points at there */
	struct revision high_water;
	uint32_t stage_ms, activate_ms; /* what the steps took there, of the last attempt */
	/* The last failure is kept until the next success. */
	char step[32];
	char text[MESSAGE_TEXT_MAX];
	char *output; /* owned; NULL: none */
	/* The last probes that were reported. */
	struct message_probe *probes; /* owned */
	bool *not_yet;                /* owned: of each, whether it was never right since it is known */
	size_t probe_count;
	int64_t probed;
	int64_t looked; /* when it was asked last what it serves, or said so */
	/* What had changed there behind our back. */
	uint32_t drifts;
	int64_t drifted;        /* the last one; 0 never */
	uint32_t drifts_in_row; /* of those that an activation has to mend; not kept over a restart of the hub */
	int64_t row_at;         /* the last of them */
	int64_t repaired;       /* when its root half last put files right, by its own clock; 0 never */
	char drift[192];        /* what the last one was */
	/* What it said that cannot be; this is not kept over a restart of the hub. */
	uint32_t contradictions;
	int64_t contradicted; /* the last one; 0 never */
	char contradiction[192];
};

struct rollout {
	char certificate[NAME_CERTIFICATE_MAX];
	enum rollout_policy policy;
	int64_t stage_timeout, activate_timeout, proceed_after; /* seconds */
	int64_t soak;                                           /* seconds */
	enum rollout_on_failure on_failure;
	const struct hub_window *windows; /* borrowed, with the configuration */
	size_t window_count;
	int (*local_minute)(int64_t wall); /* minutes after midnight (hub/daemon/rollout/window.h); NULL: UTC */
	struct content desired;            /* revision (0, 0): nothing published yet */
	int64_t started;                   /* of the desired revision's rollout */
	/* What it replaces, and what a rollback goes back to; revision (0, 0) and not_after 0: nothing. Of what was
	 * restored from a record its revision and dates are known. */
	struct content old;
	bool witnessed; /* published by this process: who was told to activate it is known */
	bool immediate; /* a rollback: rolled out so, whatever the policy says */
	bool urgent;
	bool open;              /* the barrier is */
	bool proceed;           /* the operator said so, for this revision */
	char no_rollback[256];  /* why a failed activation sent nobody back although it should; empty: nothing to say */
	int64_t rollback_retry; /* when a rollback that could not be published is asked for again */
	uint32_t attempt;       /* the last one given out */
	struct rollout_agent *agents; /* owned */
	size_t agent_count;
};

enum rollout_action_type { ROLLOUT_SEND_OFFER, ROLLOUT_SEND_ACTIVATE, ROLLOUT_SEND_PROBE };
struct rollout_action {
	enum rollout_action_type type;
	struct rollout_agent *agent; /* borrowed; its attempt and force are those to send */
};
/* What an event brings. Each call below fills it, with at most one action for each agent. */
struct rollout_actions {
	struct rollout_action *action; /* owned */
	size_t count;
	bool roll_back; /* the content of rollout.old is to be published again; set until that is done or failed */
};
void rollout_actions_release(struct rollout_actions *a);
#define auto_actions __attribute__((cleanup(rollout_actions_release)))

void rollout_init(struct rollout *r, const struct hub_certificate *certificate);
void rollout_release(struct rollout *r);
struct rollout_agent *rollout_add_agent(struct rollout *r, const char *name, bool canary);
struct rollout_agent *rollout_find(struct rollout *r, const char *name); /* NULL when not assigned */

/* What is desired from now on. `resumed` says that a restarted hub goes on with it, and that started, open and proceed
 * are set. */
struct rollout_content {
	struct content desired;
	struct content old; /* of a publish: the one before; resumed: as it was */
	bool immediate;     /* a rollback: whatever the policy says */
	bool urgent;        /* the old one is revoked, or the CA wants it replaced now: no window is waited for */
};
void rollout_publish(
	struct rollout *r, const struct rollout_content *content, int64_t now, struct rollout_actions *out);
void rollout_resume(struct rollout *r, const struct rollout_content *content, int64_t started, bool open, bool proceed);

/* Takes MESSAGE_INVENTORY of an agent that has just said hello. */
void rollout_hello(struct rollout *r, struct rollout_agent *a, const struct message *inventory, int64_t now,
	struct rollout_actions *out);
/* The agent has said hello, and nothing of this certificate. The reason is kept over every publish, until it has. */
void rollout_no_section(const struct rollout *r, struct rollout_agent *a, int64_t now);
void rollout_lost(struct rollout *r, struct rollout_agent *a, int64_t now, struct rollout_actions *out);
/* Takes staged, installed, verified, failed and probed. Returns false when the attempt was stale, or the state unfit,
 * and nothing changed. */
bool rollout_answer(
	struct rollout *r, struct rollout_agent *a, const struct message *m, int64_t now, struct rollout_actions *out);
/* Returns whether this agent may fetch this revision in this attempt, which is once. */
bool rollout_may_fetch(const struct rollout *r, const struct rollout_agent *a, const struct message *m);
/* Ends a backoff (push); `force` repeats the activation even where it is verified. */
void rollout_retry(struct rollout *r, struct rollout_agent *a, bool force, int64_t now, struct rollout_actions *out);
/* The agent asks for that. Each try is written to the disk and logged, so one that comes within ROLLOUT_PULL_REST of
 * the one before is heard only when that is over. */
void rollout_pull(struct rollout *r, struct rollout_agent *a, int64_t now, struct rollout_actions *out);
void rollout_proceed(struct rollout *r, int64_t now, struct rollout_actions *out);
/* Nothing is begun there until then, at most MESSAGE_HOLD_MAX ahead; 0 ends it. */
void rollout_hold(struct rollout *r, struct rollout_agent *a, int64_t until, int64_t now, struct rollout_actions *out);
/* A rollback that was asked for could not be published. */
void rollout_no_rollback(struct rollout *r, const char *reason, int64_t now);
/* Time has passed: time-outs, ends of backoffs, and the barrier's. */
void rollout_tick(struct rollout *r, int64_t now, struct rollout_actions *out);

/* Returns its state as it is shown to people. What is done there and was seen at no port is not called verified: it is
 * installed, while its services are stopped, or unprobed, where the agent has no port to look at. */
enum rollout_state rollout_agent_state(const struct rollout_agent *a);

#endif
