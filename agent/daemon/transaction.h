/* One certificate's way to a revision on this node, as a machine without I/O: orders of the hub, replies of
 * the root half, results of probes and the clock come in as calls; what is to be done next goes out through
 * struct transaction_io.
 *
 * A way is a list of steps, walked one at a time; at most one thing is outstanding. An order that comes in
 * the middle waits until the way has ended, and the newest wins. Once the files are switched, nothing that
 * the hub does stops the way: it ends in commit or undo.
 */
#ifndef CERTSYNC_AGENT_TRANSACTION_H
#define CERTSYNC_AGENT_TRANSACTION_H

#include "agent/common/root_request.h"
#include "agent/daemon/probed.h"
#include "lib/wire/message.h"

#include <stdbool.h>
#include <stdint.h>

enum transaction_state {
	TRANSACTION_IDLE,    /* nothing but the placeholder */
	TRANSACTION_OFFERED, /* a bundle is being fetched, staged, tested */
	TRANSACTION_STAGED,
	TRANSACTION_ACTIVATING,
	TRANSACTION_INSTALLED, /* switched and reloaded, or found so at the start; not yet seen served */
	TRANSACTION_VERIFIED,
	TRANSACTION_UNVERIFIED, /* it was looked at, and some running service does not serve it */
	TRANSACTION_FAILED,     /* the newest order failed; see `rolled_back` in the failure */
};

struct transaction_io {
	/* To the hub, if it is there. Borrowed. */
	void (*tell)(const struct message *m, void *context);
	/* Answered by transaction_fetched, or by transaction_lost. */
	void (*fetch)(struct revision revision, uint32_t attempt, void *context);
	/* Both answered by transaction_reply. */
	void (*stage)(const uint8_t *bundle, size_t len, void *context);
	void (*ask)(enum request_op op, struct revision revision, uint32_t timeout, void *context);
	/* Probes the endpoints i with wanted[i], answered by transaction_probed. */
	void (*probe)(const bool *wanted, void *context);
	/* Answered by transaction_waited. */
	void (*wait)(int64_t milliseconds, void *context);
	/* Forget the fetch, probes or wait that is outstanding: no answer is wanted. */
	void (*cancel)(void *context);
};

struct transaction_order {
	bool activate;
	bool force;
	struct revision revision;
	uint32_t attempt; /* 0: the agent's own doing, not told to the hub */
	uint32_t timeout;
	char digest[CHAIN_HEX_MAX];
};

struct transaction_failure {
	int64_t at; /* as `now`; 0: there has been none */
	struct revision revision;
	char step[32];
	char text[MESSAGE_TEXT_MAX];
	char output[MESSAGE_OUTPUT_MAX];
	bool rolled_back, permanent;
};

/* All fields are for reading only, but that endpoints are added to the view. */
struct transaction {
	char certificate[NAME_CERTIFICATE_MAX];
	enum transaction_state state;
	struct inventory have;              /* what the root half said last */
	struct transaction_order order;     /* the one being carried out, or the last */
	struct transaction_failure failure; /* of the newest order that failed; cleared by the next success */
	struct view view;
	bool stopped;     /* some service was not running when asked last */
	int64_t repaired; /* when the root half last put files right, as it said; wall clock, 0: not yet */

	/* inside */
	const struct transaction_io *io;
	void *context;
	const uint8_t *way;            /* the steps being walked; NULL at rest */
	size_t at;                     /* which of them */
	struct transaction_order next; /* revision (0, 0): none */
	uint64_t seen;                 /* the newest attempt of this session, offer before activate */
	int64_t started;               /* when the order was taken */
	uint32_t inspection;           /* attempt of the hub's `probe`; 0: the agent's own */
	uint32_t owed;                 /* attempt of a `probe` that waits for the way to end; 0: none */
	bool switched;                 /* the root half has (perhaps) switched the files and not yet committed */
	bool undone;                   /* it was, before the failure */
	char reloaded[MESSAGE_OUTPUT_MAX / 2]; /* what the hooks of the reload said */
	int64_t switch_ends;                   /* when the root half undoes it by itself */
	int64_t probe_ends;
	int64_t probe_delay;
};

/* `now` is the monotonic clock in milliseconds, everywhere. The endpoints are then added to `view`. */
void transaction_init(struct transaction *t, const char *certificate, const struct transaction_io *io, void *context);

/* At the start, with what the root half has: finishes a switch that was interrupted (or undoes it). */
void transaction_start(struct transaction *t, const struct inventory *have, int64_t now);
/* An offer or activate. False when it is stale or a repetition and was dropped. */
bool transaction_take(struct transaction *t, const struct message *m, int64_t now);
/* Looks at what is served and tells `probed`. While something else goes on, an attempt of the hub's waits for
 * its end and is answered then; without one (0) nothing is done: false. */
bool transaction_inspect(struct transaction *t, uint32_t attempt, int64_t now);
/* Tells what was seen last, again: to a hub that is new to it. */
void transaction_tell_probes(struct transaction *t, int64_t now);
/* The connection to the hub has ended, and with it the numbering of attempts. */
void transaction_lost(struct transaction *t);

void transaction_fetched(struct transaction *t, const uint8_t *bundle, size_t len);
void transaction_reply(struct transaction *t, const struct reply *reply, int64_t now);
/* `seen` has view.count elements, of which the wanted ones are read: served, fingerprint, text, milliseconds.
 */
void transaction_probed(struct transaction *t, const struct message_probe *seen, int64_t now);
void transaction_waited(struct transaction *t);

bool transaction_rests(const struct transaction *t);
/* Whether files are switched and neither committed nor undone: not the moment to stop. */
bool transaction_is_switched(const struct transaction *t);
const char *transaction_state_name(const struct transaction *t);

#endif
