#include "agent/common/adopt_lock.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

enum { WAIT_MS = 5 * 60 * 1000, ASK_AGAIN_MS = 200 };

static const char name[] = "adopt.lock";

static int open_lock(int root_state)
{
	return openat(root_state, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

int adopt_lock_take(int root_state, struct error *err)
{
	auto_close int lock = open_lock(root_state);
	if (lock < 0)
		return error_errno(err, "cannot open %s in root_state", name);
	int64_t deadline = clock_monotonic_ms() + WAIT_MS;
	for (bool told = false; flock(lock, LOCK_EX | LOCK_NB) < 0; told = true) {
		/* An activation lets others share, which an adopt does not. */
		if (flock(lock, LOCK_SH | LOCK_NB) < 0)
			return error_set(err, ERROR_RETRY, "another certsync-agent adopt is at work");
		flock(lock, LOCK_UN);
		if (clock_monotonic_ms() >= deadline)
			return error_set(err, ERROR_RETRY,
				"certsync-agent is still activating a certificate after %d minutes (certsync-agent "
				"status): run this again when it is done",
				WAIT_MS / 60000);
		if (!told)
			fprintf(stderr, "certsync-agent is activating a certificate: waiting for its end\n");
		poll(NULL, 0, ASK_AGAIN_MS);
	}
	return steal_fd(&lock);
}

int adopt_lock_share(int root_state)
{
	auto_close int lock = open_lock(root_state);
	return lock < 0 || flock(lock, LOCK_SH | LOCK_NB) < 0 ? -1 : steal_fd(&lock);
}

bool adopt_lock_is_taken(int root_state)
{
	auto_close int lock = open_lock(root_state);
	return lock >= 0 && flock(lock, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}
