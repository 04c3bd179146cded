/* Which of a certificate's authorities is asked, where hub.conf names several. This does no I/O: what became of the
 * tries so far and the clock go in, the number of one comes out.
 *
 * The first is asked for as long as it may still issue. The next one is asked when that one is down, limits us, or
 * refuses what another may issue; and for whatever other reason it has failed when life gets short. The first is
 * asked again at the next renewal.
 */
#ifndef CERTSYNC_HUB_DAEMON_ACME_AUTHORITY_H
#define CERTSYNC_HUB_DAEMON_ACME_AUTHORITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum authority_trouble {
	AUTHORITY_WELL,    /* it has not failed in this renewal */
	AUTHORITY_FAILED,  /* another would meet the same: a name does not lead here, a record did not appear */
	AUTHORITY_DOWN,    /* there is no answer, or none of ACME, or the authority has a fault of its own */
	AUTHORITY_LIMITS,  /* it has issued, or let fail, as much as it does in a while */
	AUTHORITY_REFUSES, /* it does not issue this, whoever asks */
};

/* So many failures in a row make one that is down, which may be a restart, one that is left. */
enum { AUTHORITY_DOWN_TRIES = 3 };

/* What became of the tries at one authority since the last certificate. All 0: there was none. */
struct authority {
	enum authority_trouble trouble; /* of the last failure */
	uint32_t failures;              /* in a row */
	int64_t last_failure;           /* wall clock; 0 none */
	int64_t retry_after;            /* seconds that it asked for then; 0 none */
	int64_t held_until;             /* wall clock until which its limits leave no room; 0 none */
};

/* Returns whether less than a quarter of this life is left: then a renewal cannot wait for one authority. What is not
 * there yet has no life that ends. */
bool authority_life_is_short(int64_t not_before, int64_t not_after, int64_t now);

/* Returns the number of the authority to ask. `begun` is the one that has an order under way, which is not left as long
 * as it may issue; `count` says that there is none. When every one is to be left, they take turns: next is the one that
 * may be asked again soonest. */
size_t authority_choose(const struct authority *list, size_t count, size_t begun, bool life_is_short, int64_t now);

/* A trouble as records and workers have it, "failed", "down", "limits", "refuses"; another word counts as the first. */
const char *authority_word(enum authority_trouble trouble);
enum authority_trouble authority_trouble(const char *word);

#endif
