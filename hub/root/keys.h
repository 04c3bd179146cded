/* certsync-keys as the root half sees it: its directories, the socket of operators' commands, whether it lives, and
 * which answers are due from it.
 */
#ifndef CERTSYNC_HUB_ROOT_KEYS_H
#define CERTSYNC_HUB_ROOT_KEYS_H

#include "hub/root/children.h"

struct keys_watch {
	pid_t pid;        /* of the one that has been seen to run; 0: none yet */
	int64_t asked_at; /* it owes an answer since then; 0: it does not. Monotonic milliseconds, as all times here */
	int64_t ping_at;
	int64_t move_at; /* when the keys of an older store are to be moved; INT64_MAX: that is done */
};

/* Makes RUN-keys/keys.sock for the operators' group: that of its directory, which is root's and has the set-group-ID
 * bit. Returns a listening descriptor, or -1. */
int keys_listen(const char *run, struct error *err);

/* Does what is due, and logs: it moves the keys of an older store and then lets the daemon start; it asks whether
 * certsync-keys lives, and kills it when it does not answer. Returns true when certsync-keys was started anew, so that
 * what it was asked is void. */
bool keys_watch_tick(struct keys_watch *w, struct children *c, const char *state, int64_t now);
int64_t keys_watch_due(const struct keys_watch *w, const struct children *c);

/* Returns whether it may be asked now, because it has answered everything. */
bool keys_watch_is_idle(const struct keys_watch *w, struct children *c);
void keys_watch_asked(struct keys_watch *w, int64_t now);
void keys_watch_answered(struct keys_watch *w, int64_t now);

#endif
