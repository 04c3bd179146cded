/* What became of each revision, for `certsync history`: when it was verified everywhere, who held it up, and what took
 * its place. It is noted as the rollout goes on, and nothing depends on it.
 *
 * The record in the store is of kind "outcomes" in the certificate's NAME: state.json has the newest OUTCOMES_MAX
 * revisions.
 */
#ifndef CERTSYNC_HUB_DAEMON_ROLLOUT_HISTORY_H
#define CERTSYNC_HUB_DAEMON_ROLLOUT_HISTORY_H

#include "hub/daemon/hub.h"
#include "hub/daemon/rollout/rollout.h"
#include "lib/wire/json.h"

enum { OUTCOMES_MAX = 200, OUTCOME_FAILED_MAX = 400 };

struct outcome {
	struct revision revision;
	int64_t started;
	int64_t verified;                /* everywhere, for the first time; 0: not yet, or never */
	int64_t superseded;              /* before that; 0: no */
	char failed[OUTCOME_FAILED_MAX]; /* the first failure: "AGENT at STEP: TEXT"; "": none */
};

struct outcome_book {
	struct outcome list[OUTCOMES_MAX]; /* oldest first */
	size_t count;
};

/* Takes in how the rollout stands. Returns true when the book has changed. */
bool outcome_update(struct outcome_book *b, const struct rollout *r, int64_t now);
const struct outcome *outcome_find(const struct outcome_book *b, struct revision revision); /* NULL: not known */
/* Writes one sentence, or "". */
void outcome_text(const struct outcome *o, char *ret, size_t size);

/* These are the encoder and decoder of the record. */
cJSON *outcome_encode(const struct outcome_book *b); /* the caller's */
int outcome_decode(const cJSON *record, struct outcome_book *ret, struct error *err);

/* These are the daemon's: one notes how this rollout stands, the other finds what was noted. */
void outcome_note(struct hub *hub, const struct rollout *r);
const struct outcome *outcome_of(struct hub *hub, const char *certificate, struct revision revision);
void outcome_close(struct hub *hub);

#endif
