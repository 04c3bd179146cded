/* What became of each revision, for `certsync history`: when it was verified everywhere, by whom it was held up, what took its
 * place. Noted as the rollout goes on; nothing depends on it.
 *
 * Record in the store: kind "outcomes", NAME of the certificate: state.json, of the newest OUTCOMES_MAX revisions.
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

/* Takes in how the rollout stands. True when the book has changed. */
bool outcome_update(struct outcome_book *b, const struct rollout *r, int64_t now);
const struct outcome *outcome_find(const struct outcome_book *b, struct revision revision); /* NULL: not known */
/* One sentence, or "". */
void outcome_text(const struct outcome *o, char *ret, size_t size);

/* The record: encoder and decoder. */
cJSON *outcome_encode(const struct outcome_book *b); /* the caller's */
int outcome_decode(const cJSON *record, struct outcome_book *ret, struct error *err);

/* The daemon's: notes how this rollout stands, and finds what was noted. */
void outcome_note(struct hub *hub, const struct rollout *r);
const struct outcome *outcome_of(struct hub *hub, const char *certificate, struct revision revision);
void outcome_close(struct hub *hub);

#endif
