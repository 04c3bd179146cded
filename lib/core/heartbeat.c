#include "lib/core/heartbeat.h"

#include <poll.h>

void heartbeat_heard(struct heartbeat *h, int64_t now)
{
	*h = (struct heartbeat){.heard_at = now};
}

int64_t heartbeat_due(const struct heartbeat *h)
{
	return h->doubted_at ? h->doubted_at + HEARTBEAT_DOUBT_MS : h->heard_at + HEARTBEAT_SILENT_MS;
}

bool heartbeat_stopped(struct heartbeat *h, int fd, int64_t now)
{
	struct pollfd waiting = {.fd = fd, .events = POLLIN};
	if (now < heartbeat_due(h))
		return false;
	if (poll(&waiting, 1, 0) != 0) {
		heartbeat_heard(h, now);
		return false;
	}
	if (h->doubted_at)
		return true;
	h->doubted_at = now;
	return false;
}
