/* One certificate as it stands on this node: its journal, its sets in the archive, and what is installed.
 *
 * At every instant exactly one revision is wanted: `pending` of the journal if there is one (`previous` once it is
 * being undone), else `served`. root_certificate_start (agent/root/resume.h) and root_certificate_repair make what is
 * installed agree with it; agent/root/operation.h changes it.
 */
#ifndef CERTSYNC_AGENT_ROOT_CERTIFICATE_H
#define CERTSYNC_AGENT_ROOT_CERTIFICATE_H

#include "agent/root/install.h"
#include "agent/root/journal.h"
#include "agent/root/digests.h"
#include "agent/common/root_request.h"
#include "agent/common/service.h"

/* The daemon may have hooks run this often: in a burst, then once in each interval (root_certificate_may_run). */
enum root_certificate_hook {
	ROOT_CERTIFICATE_RUNNING,
	ROOT_CERTIFICATE_TEST,
	ROOT_CERTIFICATE_ACTIVATE,
	ROOT_CERTIFICATE_RELOAD,
	ROOT_CERTIFICATE_HOOKS
};

enum { ROOT_CERTIFICATE_MARKS = 3 }; /* served, pending or staged, previous */

struct root_certificate {
	const struct agent_config *config;           /* borrowed */
	const struct agent_certificate *certificate; /* borrowed */
	int root_state;                              /* borrowed: directory of the journals */
	int stop_fd;                                 /* borrowed: ends a running hook (agent/common/service.h) */
	struct install install;
	struct journal journal;
	struct digests marks[ROOT_CERTIFICATE_MARKS]; /* of sets that were seen whole, the one used last first */
	int64_t undo_at_ms; /* monotonic; when pending is undone; meaningless without pending */
	int adopt_lock;     /* while something is pending (agent/common/adopt_lock.h); -1: not held */
	bool ready;         /* root_certificate_start has succeeded */
	/* The previous files are going back, or are back, and the journal does not say so yet: only the undo goes
	 * on. */
	bool undoing;
	int64_t paced_ms[ROOT_CERTIFICATE_HOOKS]; /* monotonic; up to when its runs are used up */
	int64_t running_ms[REQUEST_SERVICES_MAX]; /* monotonic; when a service was last seen running; 0: not known */
	struct error fault;                       /* why it is not ready */
	bool drifted;                             /* the archive's own set was changed beyond repair: said once */
	int64_t held_until_ms; /* monotonic; until then nothing is put right: a person is at work; 0: not held */
	int64_t repaired;      /* wall clock; when files were last put right; 0: not yet */
	bool grown; /* agent.conf names files newly since it was read again: what is written first puts nothing right */
};

int root_certificate_open(struct root_certificate *k, const struct agent_config *config,
	const struct agent_certificate *certificate, int root_state, int stop_fd, struct error *err);
void root_certificate_close(struct root_certificate *k);

const struct content *root_certificate_wanted(const struct root_certificate *k);
bool root_certificate_is_pending(const struct root_certificate *k);
/* Returns the milliseconds until root_certificate_tick has something to do, or -1 when nothing is pending. */
int64_t root_certificate_due(const struct root_certificate *k);
/* Keeps everything from being put right for so many seconds; 0 ends that. It logs. */
void root_certificate_hold(struct root_certificate *k, uint32_t seconds);
/* Returns the milliseconds until the hold ends, or 0. */
int64_t root_certificate_held(const struct root_certificate *k);
/* Rewrites what differs from the wanted revision, and logs what it did. Returns how many files were changed, or -1 when
 * something could not be put right. It does nothing during a hold, nor while an adopt is at work. */
int root_certificate_repair(struct root_certificate *k);
void root_certificate_inventory(const struct root_certificate *k, struct inventory *ret);

/* Returns 0 when a request that has hooks run may do so now, which is then counted, else -1 with when it may again:
 * whoever has taken over the daemon must not be able to reload a mail server in a loop. What the root half does by
 * itself is not counted. */
int root_certificate_may_run(
	struct root_certificate *k, enum root_certificate_hook hook, int64_t now_ms, struct error *err);

/* The rest is for agent/root/operation.c and resume.c. This reads the set of an entry from the archive, with the
 * entry's content or an error. When somebody has changed files of it, and what is left still has that content, it is
 * written anew, and that is logged. */
enum root_certificate_found {
	ROOT_CERTIFICATE_WHOLE,
	ROOT_CERTIFICATE_RESTORED, /* written anew */
	ROOT_CERTIFICATE_BROKEN,   /* read from what is left; writing it anew failed */
};
int root_certificate_read(
	struct root_certificate *k, const struct content *entry, struct file_set *ret, struct error *err);
/* Writes a set again that could be read although its files in the archive are not as they were written; `why` says how
 * they differ. It logs. */
enum root_certificate_found root_certificate_write_anew(
	struct root_certificate *k, const struct file_set *s, const struct error *why);
/* Writes a set into the archive. */
int root_certificate_write(struct root_certificate *k, const struct file_set *s, struct error *err);
enum root_certificate_effort {
	ROOT_CERTIFICATE_STRICT, /* the symlink is not switched unless every own file is right */
	ROOT_CERTIFICATE_ALL,    /* whatever can be put right is */
};
/* Makes the certificate's own files, then the symlink, those of this entry. Returns how many were changed, or -1 with
 * the first failure. */
int root_certificate_place(struct root_certificate *k, const struct content *entry, enum root_certificate_effort effort,
	struct error *err);
int root_certificate_save(struct root_certificate *k, struct error *err);
/* Removes what nobody needs from the archive; a failure is only logged. */
void root_certificate_prune(struct root_certificate *k);

#endif
