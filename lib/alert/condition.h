/* What a person must know of, as the hub or an agent sees it now, and when they are told of it. Each condition is one
 * state machine, which does no I/O.
 *
 * Modules report everything that they see by conditions_add on every round; what is missing from a round has ended. A
 * condition is known by its kind and subject. It is told when it has held for `hold`, and again after each `repeat`; if
 * its beginning was told, its end is told too, with how long it lasted. What is told at one moment is one notice, so
 * that forty endpoints that go down together are one message. The hub's and the agent's alert modules keep the book on
 * disk, so that a restart neither repeats nor forgets anything.
 */
#ifndef CERTSYNC_LIB_ALERT_CONDITION_H
#define CERTSYNC_LIB_ALERT_CONDITION_H

#include "lib/core/error.h"
#include "lib/wire/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum condition_kind {
	CONDITION_EXPIRING,      /* subject: certificate */
	CONDITION_RENEWAL,       /* it fails; certificate */
	CONDITION_AUTHORITY,     /* another than the first one is asked; certificate */
	CONDITION_SOURCE,        /* a watched path cannot be read, or what is there is refused; certificate */
	CONDITION_ROLLOUT,       /* stuck or failed; "certificate agent" */
	CONDITION_AWAY,          /* agent; at an agent: the hub */
	CONDITION_CLONE,         /* agent */
	CONDITION_ROTATION,      /* its keys are being changed; agent */
	CONDITION_OLD_KEY,       /* somebody comes in with one that it has no more; agent */
	CONDITION_KEYS,          /* somebody changed them; "agent #serial" */
	CONDITION_SIGNING,       /* the hub's signing key is being replaced, or a list of its keys is refused; "hub" */
	CONDITION_AHEAD,         /* the hub was restored from a backup; "certificate agent" */
	CONDITION_DRIFT,         /* "certificate agent" */
	CONDITION_CONTRADICTION, /* an agent says what cannot be; "certificate agent" */
	CONDITION_MISMATCH,      /* endpoint: "name address:port" */
	CONDITION_UNTRUSTED,     /* endpoint */
	CONDITION_UNREACHABLE,   /* endpoint */
	CONDITION_STORE,         /* disk or store trouble; what it is about */
	CONDITION_CLOCK,         /* skew between hub and agent; agent */
	CONDITION_CHANNEL,       /* a way to tell a person fails; its name */
	CONDITION_KINDS,
};
const char *condition_kind_name(enum condition_kind kind);

enum { CONDITION_SUBJECT_MAX = 400, CONDITION_TEXT_MAX = 1024, CONDITIONS_MAX = 20000 };

/* A condition as one round has seen it. */
struct condition {
	enum condition_kind kind;
	bool critical; /* else a warning */
	char *subject; /* owned */
	char *text;    /* owned; what, where, why, what to do; may change while the condition holds */
};
struct conditions {
	struct condition *list; /* owned */
	size_t count;
};
void conditions_release(struct conditions *c);
#define auto_conditions __attribute__((cleanup(conditions_release)))
/* Where one round has the same kind and subject twice, the first one stays. */
void conditions_add(struct conditions *c, enum condition_kind kind, bool critical, const char *subject, const char *fmt,
	...) __attribute__((format(printf, 5, 6)));

/* What is known of a condition from round to round. All times are of the wall clock. */
struct condition_entry {
	enum condition_kind kind;
	bool critical;
	bool told_critical;   /* what it was when it was told */
	char *subject, *text; /* owned */
	int64_t since;        /* when it began */
	int64_t told;         /* when it was told last; 0: not yet */
};
struct condition_book {
	struct condition_entry *entries; /* owned; by kind and subject */
	size_t count;
};
void condition_book_release(struct condition_book *b);
/* The encoder and decoder of the record on disk. A fault leaves an empty book. */
cJSON *condition_book_encode(const struct condition_book *b); /* the caller's */
int condition_book_decode(const cJSON *record, struct condition_book *ret, struct error *err);

enum condition_event { CONDITION_RAISED, CONDITION_WORSE, CONDITION_REPEATED, CONDITION_RESOLVED };
const char *condition_event_name(enum condition_event event);
struct condition_told {
	enum condition_event event;
	struct condition_entry entry; /* owned */
	int64_t lasted;               /* seconds so far */
};
void condition_told_copy(const struct condition_told *t, struct condition_told *ret);
void condition_told_release(struct condition_told *t);
/* The encoder and decoder of what a message says of one condition (man/certsync-hub.conf.5, ALERT MESSAGES). A fault
 * leaves nothing in `ret`. When the entry was told is not in it. */
cJSON *condition_told_encode(const struct condition_told *t); /* the caller's */
int condition_told_decode(const cJSON *o, struct condition_told *ret, struct error *err);

struct condition_notice {
	struct condition_told *told; /* owned; those that are resolved come last */
	size_t count;
};
void condition_notice_release(struct condition_notice *n);
#define auto_notice __attribute__((cleanup(condition_notice_release)))

struct condition_policy {
	int64_t hold, repeat; /* seconds; repeat 0: told once */
};
enum { CONDITION_GROUP = 60 }; /* what would be told within these seconds is told along */

/* Takes one round; `out` gets what is to be told now (count 0 when there is nothing). Returns true when the book has
 * changed. A clock that was set back makes nobody wait longer than the policy says. */
bool condition_round(struct condition_book *b, const struct conditions *seen, const struct condition_policy *policy,
	int64_t now, struct condition_notice *out);
/* Returns when a round is of use though nothing changes, since something is to be told then, or INT64_MAX. */
int64_t condition_next(const struct condition_book *b, const struct condition_policy *policy);

#endif
