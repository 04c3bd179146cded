#include "lib/core/notify.h"

#include "lib/core/clock.h"
#include "lib/core/mem.h"

#include <inttypes.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void notify_manager(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t len = path ? strlen(path) : 0;
	if (len < 2 || len >= sizeof(address.sun_path) || (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(address.sun_path, path, len);
	if (path[0] == '@')
		address.sun_path[0] = '\0'; /* the abstract namespace: its length counts, not a terminator */
	auto_close int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0)
		(void)!sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&address,
			(socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
}

/* Returns the microseconds after which the manager takes this process for dead, or 0 when the manager does not watch
 * it. WATCHDOG_PID says which process is meant. */
static int64_t watchdog_us(void)
{
	const char *text = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	if (!text || (pid && strtoll(pid, NULL, 10) != getpid()))
		return 0;
	int64_t value = strtoll(text, NULL, 10);
	return value > 0 && value < INT64_MAX / 2 ? value : 0;
}

int notify_alive(int timeout)
{
	static int64_t due;
	int64_t half = watchdog_us() / 2000, now = clock_monotonic_ms();
	if (half == 0)
		return timeout;
	if (now >= due) {
		notify_manager("WATCHDOG=1");
		due = now + half;
	}
	int64_t left = due - now > INT_MAX ? INT_MAX : due - now;
	return timeout < 0 || timeout > left ? (int)left : timeout;
}

void notify_busy(int64_t seconds)
{
	int64_t usual = watchdog_us(), more = seconds * 1000000;
	char state[128];
	int len = 0;
	if (seconds)
		len = snprintf(state, sizeof(state), "EXTEND_TIMEOUT_USEC=%" PRId64 "\n", more + 10 * 1000000);
	if (usual)
		len += snprintf(state + len, sizeof(state) - (size_t)len, "WATCHDOG=1\nWATCHDOG_USEC=%" PRId64 "\n",
			usual + more);
	if (len)
		notify_manager(state);
}
