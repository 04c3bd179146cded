#include "agent/common/adopt_lock.h"
#include "lib/core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

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
	if (flock(lock, LOCK_EX | LOCK_NB) < 0)
		return error_set(err, ERROR_RETRY,
			"another certsync-agent adopt is at work, or certsync-agent is activating a certificate: run "
			"this again in a minute");
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
