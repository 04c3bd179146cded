#include "hub/daemon/acme/authority.h"
#include "lib/core/mem.h"

#include <string.h>

/* A limit that comes without a time, and most are those of an hour. */
enum { LIMITED_FOR = 3600 };

static const char *const words[] = {
	[AUTHORITY_WELL] = "",
	[AUTHORITY_FAILED] = "failed",
	[AUTHORITY_DOWN] = "down",
	[AUTHORITY_LIMITS] = "limits",
	[AUTHORITY_REFUSES] = "refuses",
};

const char *authority_word(enum authority_trouble trouble)
{
	return words[trouble];
}

enum authority_trouble authority_trouble(const char *word)
{
	for (size_t i = 0; i < COUNT(words); i++)
		if (strcmp(words[i], word) == 0)
			return (enum authority_trouble)i;
	return AUTHORITY_FAILED;
}

bool authority_life_is_short(int64_t not_before, int64_t not_after, int64_t now)
{
	return not_after > not_before && not_after - now < (not_after - not_before) / 4;
}

/* A failure that lies ahead, since the clock was set back, holds nothing up. */
static bool is_limited(const struct authority *a, int64_t now)
{
	int64_t wait = a->retry_after ? a->retry_after : LIMITED_FOR;
	return a->held_until > now || (a->last_failure <= now && a->last_failure + wait > now);
}

static bool is_left(const struct authority *a, bool life_is_short, int64_t now)
{
	switch (a->trouble) {
	case AUTHORITY_WELL:
		return false;
	case AUTHORITY_FAILED:
		return life_is_short;
	case AUTHORITY_DOWN:
		return life_is_short || a->failures >= AUTHORITY_DOWN_TRIES;
	case AUTHORITY_LIMITS:
		return is_limited(a, now);
	case AUTHORITY_REFUSES:
		return true;
	}
	return false;
}

/* Of two that have asked for nothing this is the one that failed longer ago. */
static int64_t may_be_asked(const struct authority *a)
{
	int64_t again = a->last_failure + a->retry_after;
	return a->held_until > again ? a->held_until : again;
}

size_t authority_choose(const struct authority *list, size_t count, size_t begun, bool life_is_short, int64_t now)
{
	size_t soonest = 0;
	if (begun < count && !is_left(&list[begun], life_is_short, now))
		return begun;
	for (size_t i = 0; i < count; i++)
		if (!is_left(&list[i], life_is_short, now))
			return i;
	for (size_t i = 1; i < count; i++)
		if (may_be_asked(&list[i]) < may_be_asked(&list[soonest]))
			soonest = i;
	return soonest;
}
