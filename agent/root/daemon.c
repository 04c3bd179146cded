#include "agent/root/daemon.h"
#include "lib/core/clock.h"
#include "lib/core/fs.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"
#include "lib/core/proc.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILD_WAIT_MIN_MS = 1000, CHILD_WAIT_MAX_MS = 30000, CHILD_STOP_MS = 5000, CHILD_SEND_SECONDS = 10 };

void daemon_process_init(struct daemon_process *c, const char *config_path, const struct proc_user *user)
{
	*c = (struct daemon_process){
		.config_path = config_path, .user = user, .pid = -1, .pidfd = -1, .wait_ms = CHILD_WAIT_MIN_MS};
	c->stream.fd = -1;
}

int64_t daemon_process_due(const struct daemon_process *c)
{
	int64_t left = (c->pid >= 0 ? heartbeat_due(&c->heartbeat) : c->start_at_ms) - clock_monotonic_ms();
	return left > 0 ? left : 0;
}

static void start_later(struct daemon_process *c)
{
	c->start_at_ms = clock_monotonic_ms() + c->wait_ms;
	c->wait_ms = c->wait_ms * 2 < CHILD_WAIT_MAX_MS ? c->wait_ms * 2 : CHILD_WAIT_MAX_MS;
}

static pid_t spawn(const struct daemon_process *c, int socket, struct error *err)
{
	auto_free char *path = mem_printf("%s/certsync-agent", fs_program_directory());
	const char *const argv[] = {path, "run", "-c", c->config_path, NULL};
	/* Under systemd the daemon's lines go to the journal as ours do. */
	auto_free char *journal =
		mem_printf("JOURNAL_STREAM=%s", getenv("JOURNAL_STREAM") ? getenv("JOURNAL_STREAM") : "");
	const char *const envp[] = {PROC_PATH, getenv("JOURNAL_STREAM") ? journal : NULL, NULL};
	const struct proc_spec spec = {
		.argv = argv,
		.envp = envp,
		.user = c->user,
		.in = -1,
		.out = -1,
		.err = PROC_INHERIT,
		.extra = socket,
		.die_with_parent = true,
		.powerless = true,
	};
	return proc_spawn(&spec, err);
}

static int start(struct daemon_process *c, struct error *err)
{
	int pair[2];
	/* The daemon must not hold us for ever by not reading. */
	const struct timeval limit = {.tv_sec = CHILD_SEND_SECONDS};
	if (proc_socketpair(pair, err) < 0)
		return -1;
	setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	c->pid = spawn(c, pair[1], err);
	close(pair[1]);
	if (c->pid < 0) {
		close(pair[0]);
		return -1;
	}
	c->pidfd = proc_pidfd_open(c->pid);
	if (c->pidfd < 0)
		mem_abort(__func__);
	c->heard = false;
	frame_stream_init(&c->stream, pair[0], 1u << FRAME_RECORD | 1u << FRAME_BUNDLE);
	c->started_ms = clock_monotonic_ms();
	heartbeat_heard(&c->heartbeat, c->started_ms);
	return 0;
}

static bool wait_ended(const struct daemon_process *c, int milliseconds)
{
	struct pollfd fd = {.fd = c->pidfd, .events = POLLIN};
	return poll(&fd, 1, milliseconds) > 0;
}

static int reap(struct daemon_process *c)
{
	int status = 0;
	while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
		;
	close(c->pidfd);
	close(c->stream.fd);
	frame_stream_release(&c->stream);
	c->pid = c->pidfd = c->stream.fd = -1;
	return status;
}

void daemon_process_ended(struct daemon_process *c, const char *why)
{
	if (c->pid < 0)
		return;
	if (!wait_ended(c, 0))
		kill(c->pid, SIGKILL);
	/* A daemon that has run for a while did not fail at its start. */
	if (clock_monotonic_ms() - c->started_ms > 2 * CHILD_WAIT_MAX_MS)
		c->wait_ms = CHILD_WAIT_MIN_MS;
	int status = reap(c);
	log_event(LOG_LEVEL_WARNING, "child", "error=\"certsync-agent %s%s%s\" text=\"started again in %lld ms\"",
		proc_status_text(status), why ? ": " : "", why ? why : "", (long long)c->wait_ms);
	start_later(c);
}

void daemon_process_tick(struct daemon_process *c)
{
	struct error err;
	if (daemon_process_due(c) != 0)
		return;
	if (c->pid >= 0) {
		if (heartbeat_stopped(&c->heartbeat, c->stream.fd, clock_monotonic_ms()))
			daemon_process_ended(c, "it has said nothing for minutes: it hangs");
		return;
	}
	if (start(c, &err) == 0)
		return;
	c->pid = -1;
	log_event(LOG_LEVEL_ERROR, "child", "error=\"%s\" text=\"tried again in %lld ms\"", err.message,
		(long long)c->wait_ms);
	start_later(c);
}

void daemon_process_heard(struct daemon_process *c)
{
	c->heard = true;
	heartbeat_heard(&c->heartbeat, clock_monotonic_ms());
}

void daemon_process_signal(const struct daemon_process *c, int number)
{
	if (c->pid >= 0)
		kill(c->pid, number);
}

void daemon_process_stop(struct daemon_process *c)
{
	if (c->pid < 0)
		return;
	kill(c->pid, SIGTERM);
	if (!wait_ended(c, CHILD_STOP_MS))
		kill(c->pid, SIGKILL);
	reap(c);
}
