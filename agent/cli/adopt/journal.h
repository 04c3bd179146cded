/* What `adopt --apply` must still know after a crash: which files it changes, what they contained, and which services
 * to reload.
 *
 * ROOT_STATE/adopt.json is written, durably, before the first backup, and removed when the services serve what they
 * should, or when all is as it was. Backups stand beside their files, with owner and mode, as .NAME.certsync-DATE; the
 * dot in front keeps services from taking them for configuration.
 */
#ifndef CERTSYNC_AGENT_CLI_ADOPT_JOURNAL_H
#define CERTSYNC_AGENT_CLI_ADOPT_JOURNAL_H

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
/* Opens the journal for this process alone, and reads what an interruption left in `state`. */
int adopt_journal_open(const struct agent_config *config, struct adopt_journal *ret, struct error *err);
void adopt_journal_close(struct adopt_journal *j);
/* Returns whether there is a journal, without a lock or any right to change it. */
bool adopt_journal_is_there(const struct agent_config *config);

/* Begins with which files and which services are concerned. Then come the backups, then the files. Each call can fail
 * half-way. */
int adopt_journal_begin(struct adopt_journal *j, const struct edit *edit, int64_t now, struct error *err);
int adopt_journal_service(struct adopt_journal *j, const char *certificate, const char *service);
int adopt_journal_write(struct adopt_journal *j, struct error *err);
int adopt_journal_backup(const struct adopt_journal *j, const struct edit *edit, struct error *err);

/* Puts each file back that is as we have written it, and removes its backup. A file that somebody has changed since
 * then stays, and its backup too. Prints a line for each. Returns 0 when all files are as they were, 1 when some
 * stayed, or -1 when some could not be put back. */
int adopt_journal_put_back(const struct adopt_journal *j, struct error *err);
/* Removes the journal, since all is over. */
int adopt_journal_end(struct adopt_journal *j, struct error *err);

#endif
