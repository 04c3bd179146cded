#include "agent/daemon/backoff.h"

void backoff_init(struct backoff *b, size_t hubs)
{
	*b = (struct backoff){.hubs = hubs < BACKOFF_HUBS_MAX ? hubs : BACKOFF_HUBS_MAX};
}

void backoff_failed(struct backoff *b, int denied, int64_t now)
{
	if (denied) {
		int64_t *times = b->record[b->hub].denied;
		for (size_t i = BACKOFF_DENIED_MOST - 1; i > 0; i--)
			times[i] = times[i - 1];
		times[0] = now;
		if (b->record[b->hub].count < BACKOFF_DENIED_MOST)
			b->record[b->hub].count++;
	}
	if (b->failures < UINT32_MAX)
		b->failures++;
	b->hub = (b->hub + 1) % b->hubs;
}

void backoff_welcomed(struct backoff *b)
{
	uint32_t most = BACKOFF_WELCOMED * (uint32_t)b->hubs;
	b->record[b->hub].count = 0;
	b->failures = b->failures < most ? b->failures : most;
}

void backoff_lasted(struct backoff *b)
{
	b->failures = 0;
	b->hub = 0;
}

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

int64_t backoff_delay_at_once(const struct backoff *b, int64_t now)
{
	if (b->record[b->hub].count < BACKOFF_DENIED_MOST)
		return 0;
	return later(0, b->record[b->hub].denied[BACKOFF_DENIED_MOST - 1] + BACKOFF_DENIED_SPAN - now);
}

/* The jitter is full: any moment in a window that doubles with each round over the hubs. */
static int64_t window(const struct backoff *b)
{
	int64_t size = BACKOFF_FIRST;
	for (uint32_t round = b->failures / (uint32_t)b->hubs; round > 1 && size < BACKOFF_LAST; round--)
		size *= 2;
	return size < BACKOFF_LAST ? size : BACKOFF_LAST;
}

int64_t backoff_delay(const struct backoff *b, int64_t now, uint32_t random)
{
	int64_t delay = (int64_t)random % (window(b) + 1);
	/* The jitter is added to the floor, or all agents that were refused together would come back together. */
	if (b->record[b->hub].count)
		delay = later(delay, b->record[b->hub].denied[0] + BACKOFF_DENIED + delay - now);
	return later(delay, backoff_delay_at_once(b, now));
}
