/* When to try the hub again: exponential backoff with full jitter over one or several hubs in turn, within what
 * fail2ban forgives. It does no I/O: the clock (monotonic milliseconds) and the random number are parameters.
 */
#ifndef CERTSYNC_AGENT_DAEMON_BACKOFF_H
#define CERTSYNC_AGENT_DAEMON_BACKOFF_H

#include <stddef.h>
#include <stdint.h>

enum {
	BACKOFF_FIRST = 1000,         /* ms: the window of the first try again */
	BACKOFF_LAST = 300000,        /* ms: the widest window */
	BACKOFF_WELCOMED = 2,         /* rounds of failures that a welcome leaves standing at most */
	BACKOFF_DENIED = 200000,      /* ms: never sooner after a login that failed … */
	BACKOFF_DENIED_SPAN = 600000, /* … and never more than BACKOFF_DENIED_MOST of them in this time, */
	BACKOFF_DENIED_MOST = 3,      /* not even for a person: Debian's filter bans at five in ten minutes */
	BACKOFF_HUBS_MAX = 8,
};

struct backoff {
	size_t hubs;
	size_t hub;        /* the one to try next */
	uint32_t failures; /* in a row */
	struct {
		int64_t denied[BACKOFF_DENIED_MOST]; /* the newest first */
		size_t count;
	} record[BACKOFF_HUBS_MAX];
};

void backoff_init(struct backoff *b, size_t hubs);
/* The hub that was tried last failed; `denied` says that there was no login, because it or the host key was refused.
 * The next hub's turn comes. */
void backoff_failed(struct backoff *b, int denied, int64_t now);
/* The hub let us in. What it refused before is forgotten, and a hub that is restarted again and again is found within
 * seconds; the window stays wide enough for one that closes at once. */
void backoff_welcomed(struct backoff *b);
/* A connection that had lasted has ended, so the next failure is the first one, and the first hub's turn comes: it is
 * the preferred one, and when it was only restarted it is found again at once. */
void backoff_lasted(struct backoff *b);
/* Returns how long to wait before trying b->hub. */
int64_t backoff_delay(const struct backoff *b, int64_t now, uint32_t random);
/* Returns the same for when a person asks: 0, except for the limit of refused logins. */
int64_t backoff_delay_at_once(const struct backoff *b, int64_t now);

#endif
