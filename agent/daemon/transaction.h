/* One certificate's way to a revision on this node, as a state machine without I/O. Orders of the hub, replies of the
 * root half, results of probes and the clock come in as calls; what is to be done next goes out through struct
 * transaction_io.
 *
 * A way is a list of steps that are walked one at a time, with at most one thing outstanding. An order that comes in
 * the middle waits until the way has ended, and the newest one wins. Once the files are switched, nothing that the hub
 * does stops the way: it ends in commit or undo.
 */
#ifndef CERTSYNC_AGENT_DAEMON_TRANSACTION_H
#define CERTSYNC_AGENT_DAEMON_TRANSACTION_H

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
	TRANSACTION_INSTALLED,  /* switched and reloaded, or found so at the start; not yet seen served */
	TRANSACTION_VERIFIED,   /* every port of a running service serves it; there may be none to look at */
	TRANSACTION_UNVERIFIED, /* it was looked at, and some running service does not serve it */
	TRANSACTION_FAILED,     /* the newest order failed; see `rolled_back` in the failure */
};

struct transaction_io {
	/* Tells the hub, if it is there. The message is borrowed. */
	void (*tell)(const struct message *m, void *context);
	/* transaction_fetched or transaction_lost answers this. */
	void (*fetch)(struct revision revision, uint32_t attempt, void *context);
	/* transaction_reply answers both. */
	void (*stage)(const uint8_t *bundle, size_t len, void *context);
	void (*ask)(enum request_op op, struct revision revision, uint32_t timeout, void *context);
	/* Probes the endpoints i with wanted[i]; transaction_probed answers this. */
	void (*probe)(const bool *wanted, void *context);
	/* transaction_waited answers this. */
	void (*wait)(int64_t milliseconds, void *context);
	/* Forgets the fetch, probes or wait that is outstanding, since no answer is wanted. */
	void (*cancel)(void *context);
};

struct transaction_order {
	bool activate;
	bool force;
	struct content content; /* its revision; of an offer all of it */
	uint32_t attempt;       /* 0: the agent's own doing, not told to the hub */
	uint32_t timeout;
};

struct transaction_failure {
	int64_t at; /* as `now`; 0: there has been none */
	struct revision revision;
	char step[32];
	char text[MESSAGE_TEXT_MAX];
	char output[MESSAGE_OUTPUT_MAX];
	bool rolled_back, permanent;
};

/* All fields are for reading only, except that endpoints are added to the view. */
struct transaction {
	char certificate[NAME_CERTIFICATE_MAX];
	enum transaction_state state;
	struct inventory have;              /* what the root half said last */
	struct transaction_order order;     /* the one being carried out, or the last */
	struct transaction_failure failure; /* of the newest order that failed; cleared by the next success */
	struct probed view;
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

/* `now` is the monotonic clock in milliseconds everywhere. After this call the endpoints are added to `view`. */
void transaction_init(struct transaction *t, const char *certificate, const struct transaction_io *io, void *context);

/* Begins with what the root half has, and finishes or undoes a switch that was interrupted. */
void transaction_start(struct transaction *t, const struct inventory *have, int64_t now);
/* Takes an offer or activate. Returns false when it is stale or a repetition and was dropped. */
bool transaction_take(struct transaction *t, const struct message *m, int64_t now);
/* Looks at what is served and tells `probed`. While something else goes on, an attempt of the hub's waits for its end
 * and is answered then; without an attempt (0) nothing is done and false returned. */
bool transaction_inspect(struct transaction *t, uint32_t attempt, int64_t now);
/* Tells what was seen last once more, for a hub that is new to it. */
void transaction_tell_probes(struct transaction *t, int64_t now);
/* The connection to the hub has ended, and with it the numbering of attempts. */
void transaction_lost(struct transaction *t);

void transaction_fetched(struct transaction *t, const uint8_t *bundle, size_t len);
void transaction_reply(struct transaction *t, const struct reply *reply, int64_t now);
/* `seen` has view.count elements, of which the wanted ones are read: served, fingerprint, text, milliseconds. */
void transaction_probed(struct transaction *t, const struct message_probe *seen, int64_t now);
void transaction_waited(struct transaction *t);

bool transaction_rests(const struct transaction *t);
/* Returns whether files are switched and neither committed nor undone; that is not the moment to stop. */
bool transaction_is_switched(const struct transaction *t);
const char *transaction_state_name(const struct transaction *t);

#endif
