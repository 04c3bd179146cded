/* A simulated fleet and the test's own books about it, for the random histories of test_rollout_random: the books say
 * who serves what, what was published when, and what was sent and not dealt with yet. All chance comes from a seed, so
 * that a history can be repeated. */
#ifndef CERTSYNC_TESTS_HISTORY_H
#define CERTSYNC_TESTS_HISTORY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hub/daemon/rollout/rollout.h"
#include "hub/daemon/rollout/window.h"
#include "lib/core/mem.h"

enum {
	HISTORIES = 20000,
	STEPS = 150,
	AGENTS_MAX = 5,
	QUEUE_MAX = 64,
	REVISIONS_MAX = STEPS * 2 + 16,
	STAGE_TIMEOUT = 600,
	ACTIVATE_TIMEOUT = 300,
	PROCEED_AFTER = 86400,
	SOAK = 300,
	DAY = 86400,
	HOLD = 4 * 3600,
	/* Once nothing fails any more, the slowest convergence is the longest backoff, a full staging, the barrier's
	 * wait, and a full activation. */
	BOUND = ROLLOUT_BACKOFF_MAX + 3 * STAGE_TIMEOUT + 2 * ACTIVATE_TIMEOUT + SOAK,
};

struct order { /* what the hub sent and the agent has not dealt with yet */
	enum rollout_action_type type;
	struct revision revision;
	uint32_t attempt;
};

struct node {
	bool up, test_broken, reload_broken;
	struct revision served, high_water;
	struct order queue[QUEUE_MAX];
	size_t queued;
	struct message old; /* an answer that was given once, and may be told again */
	int64_t repaired;

	/* What the test itself writes down about this node: */
	int64_t seen, held_until, held_for;
	uint32_t served_told;    /* what the hub was told that it serves */
	uint32_t staged, passed; /* the newest revision that the hub was told of */
	uint32_t failed_first;   /* the revision at whose activation it failed without ever having had it */
	uint32_t activated;      /* the revision that it was told to activate last … */
	int64_t activated_at;    /* … and when; 0: something since then excuses another one */
	int64_t told_at;         /* the same time, but nothing excuses another one */
};

/* A revision that was published, and what its content is. */
struct book {
	uint32_t content;
	int64_t not_before, not_after;
	bool rollback, urgent;
};

struct history {
	uint64_t random;
	int64_t now, started;
	struct rollout r;
	struct hub_window window;
	struct hub_certificate certificate;
	struct node nodes[AGENTS_MAX];
	struct book books[REVISIONS_MAX];
	size_t count, canaries;
	uint32_t published;
	uint32_t rolled_back; /* the revision that was rolled back last */
	bool calm;            /* nothing fails any more */
	bool opened;          /* somebody has passed, or all have staged */
	bool proceed, roll_back;
};

static int64_t zone; /* seconds east of Greenwich */

static inline int minute_of(int64_t wall)
{
	return (int)((wall + zone) / 60 % 1440);
}

static inline uint32_t draw(struct history *h, uint32_t below)
{
	h->random ^= h->random << 13;
	h->random ^= h->random >> 7;
	h->random ^= h->random << 17;
	return (uint32_t)(h->random >> 33) % below;
}

static inline void digest_of(const struct history *h, struct revision r, uint8_t ret[CHAIN_SHA256_SIZE])
{
	uint32_t content = r.number < REVISIONS_MAX ? h->books[r.number].content : r.number;
	memset(ret, 1, CHAIN_SHA256_SIZE);
	memcpy(ret, &content, sizeof(content));
}

static inline const struct book *current(const struct history *h)
{
	return &h->books[h->published];
}

static inline bool is_nearly_over(const struct book *b, int64_t now, int part)
{
	return b->not_after - now < (b->not_after - b->not_before) / part;
}

#endif
