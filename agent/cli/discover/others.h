/* What serves TLS on this node and is none of the services that discovery knows, so that no port is passed over in
 * silence: whatever program it is, and whoever's. Nothing that is said of it is more than a line for a person.
 */
#ifndef CERTSYNC_AGENT_CLI_DISCOVER_OTHERS_H
#define CERTSYNC_AGENT_CLI_DISCOVER_OTHERS_H

#include "agent/cli/discover/served.h"

/* The programs, and one look at each of their ports that serves TLS. `served` borrows from `programs`. */
struct others {
	struct found programs;
	struct served served;
	struct buf unasked; /* lines about ports of others than root, whom root does not ask */
	size_t left_out;    /* more programs than OTHERS_MAX */
};

enum { OTHERS_MAX = 64, OTHERS_SECONDS = 3 };

#define auto_others __attribute__((cleanup(others_release)))
void others_release(struct others *o);

/* Looks at what listens besides the services of `known`, asking for `names`, ended by NULL. What cannot be looked at is
 * not there. */
void others_look(const struct found *known, const struct listening *l, const char *const *names, struct others *ret);

/* Returns what is served there, of any kind of key, or NULL. Looks that ask for a name are only there to find it. */
const struct present *others_present(const struct served_look *look);
/* Returns a line that says what serves what, and what a person can do; the caller frees it. */
char *others_line(const struct served_look *look);

#endif
