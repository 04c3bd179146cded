/* What a person must know of, as the hub's modules see it now, and when they are told: one state machine per condition, pure.
 *
 * Modules report what they see by conditions_add, all of it on every round; what is missing from a round has ended. A
 * condition is known by its kind and subject. It is told when it has held for `hold`, again after each `repeat`, and its end is told,
 * with how long it lasted, if its beginning was. What is told at one moment is one notice, so that forty endpoints that go down
 * together are one message. Kept in the store by hub/alert, so that a restart neither repeats nor forgets anything.
 */
#ifndef CERTSYNC_HUB_CONDITION_H
#define CERTSYNC_HUB_CONDITION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum condition_kind {
	CONDITION_EXPIRING,    /* subject: certificate */
	CONDITION_RENEWAL,     /* it fails; certificate */
	CONDITION_SOURCE,      /* a watched path cannot be read, or what is there is refused; certificate */
	CONDITION_ROLLOUT,     /* stuck or failed; "certificate agent" */
	CONDITION_AWAY,        /* agent */
	CONDITION_CLONE,       /* agent */
	CONDITION_AHEAD,       /* the hub was restored from a backup; "certificate agent" */
	CONDITION_DRIFT,       /* "certificate agent" */
	CONDITION_MISMATCH,    /* endpoint: "name address:port" */
	CONDITION_UNTRUSTED,   /* endpoint */
	CONDITION_UNREACHABLE, /* endpoint */
	CONDITION_STORE,       /* disk or store trouble; what it is about */
	CONDITION_CLOCK,       /* skew between hub and agent; agent */
	CONDITION_CHANNEL,     /* a way to tell a person fails; its name */
	CONDITION_KINDS,
};
const char *condition_kind_name(enum condition_kind kind);

enum { CONDITION_SUBJECT_MAX = 400, CONDITION_TEXT_MAX = 1024, CONDITIONS_MAX = 20000 };

/* What one round has seen. */
struct condition {
	enum condition_kind kind;
	bool critical;  /* else a warning */
	char *subject;  /* owned */
	char *text;     /* owned; what, where, why, what to do; may change while the condition holds */
};
struct conditions {
	struct condition *list; /* owned */
	size_t count;
};
void conditions_release(struct conditions *c);
#define auto_conditions __attribute__((cleanup(conditions_release)))
/* The same kind and subject twice in a round: the first stays. */
void conditions_add(struct conditions *c, enum condition_kind kind, bool critical, const char *subject, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

#endif
