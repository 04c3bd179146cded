/* What became of each revision, for `certsync history`: when all agents had converged to it, who held it up, and what took
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

enum { OUTCOMES_MAX = 200, HISTORY_FAILED_MAX = 400 };

struct history {
	struct revision revision;
	int64_t started;
	int64_t verified;                /* everywhere, for the first time; 0: not yet, or never */
	int64_t superseded;              /* before that; 0: no */
	char failed[HISTORY_FAILED_MAX]; /* the first failure: "AGENT at STEP: TEXT"; "": none */
};

struct history_book {
	struct history list[OUTCOMES_MAX]; /* oldest first */
	size_t count;
};

/* Takes in how the rollout stands. Returns true when the book has changed. */
bool history_update(struct history_book *b, const struct rollout *r, int64_t now);
const struct history *history_find(const struct history_book *b, struct revision revision); /* NULL: not known */
/* Writes one sentence, or "". */
void history_text(const struct history *o, char *ret, size_t size);

/* These are the encoder and decoder of the record. */
cJSON *history_encode(const struct history_book *b); /* the caller's */
int history_decode(const cJSON *record, struct history_book *ret, struct error *err);

/* These are the daemon's: one notes how this rollout stands, the other finds what was noted. */
void history_note(struct hub *hub, const struct rollout *r);
const struct history *history_of(struct hub *hub, const char *certificate, struct revision revision);
void history_close(struct hub *hub);

#endif
