/* What `adopt --apply` must still know after a crash: which files it changes, what they held, and whom to tell.
 *
 * ROOT_STATE/adopt.json is written, durably, before the first backup, and removed when the services serve what
 * they are to, or when all is as it was. Backups stand beside their files, with owner and mode, as
 * .NAME.certsync-DATE: with a dot in front, so that no service takes them for configuration.
 */
#ifndef CERTSYNC_AGENT_ADOPT_JOURNAL_H
#define CERTSYNC_AGENT_ADOPT_JOURNAL_H

#include "agent/common/config.h"
#include "agent/cli/adopt/edit.h"
#include "lib/crypto/chain.h"
#include "lib/wire/json.h"

struct adopt_journal {
	int directory; /* ROOT_STATE; -1: not open */
	int lock;
	cJSON *state; /* owned; NULL: nothing is under way */
};

#define auto_adopt_journal __attribute__((cleanup(adopt_journal_close)))
/* Opens it for this process alone, and reads what an interruption left in `state`. */
int adopt_journal_open(const struct agent_config *config, struct adopt_journal *ret, struct error *err);
void adopt_journal_close(struct adopt_journal *j);
/* Whether there is one, without a lock or any right to change it. */
bool adopt_journal_is_there(const struct agent_config *config);

/* Begins: which files, which services. Then the backups, then the files; each call can fail half-way. */
int adopt_journal_begin(struct adopt_journal *j, const struct edit *edit, int64_t now, struct error *err);
int adopt_journal_service(struct adopt_journal *j, const char *certificate, const char *service);
int adopt_journal_write(struct adopt_journal *j, struct error *err);
int adopt_journal_backup(const struct adopt_journal *j, const struct edit *edit, struct error *err);

/* Puts each file back that is as we have written it, and removes its backup; one that somebody has changed since
 * stays, its backup too. Prints a line each. 0 all are as they were, 1 some stayed, -1: some could not be put back. */
int adopt_journal_put_back(const struct adopt_journal *j, struct error *err);
/* It is over. */
int adopt_journal_end(struct adopt_journal *j, struct error *err);

#endif
