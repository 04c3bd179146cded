#include "hub/root/supervisor.h"
#include "lib/core/clock.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BACKOFF_MIN = 1000, BACKOFF_MAX = 30 * 1000, HEALTHY_AFTER = 60 * 1000, STOP_TIME = 10 * 1000 };
enum { OUT_MAX = FRAME_FILES_MAX + 2 * FRAME_RECORD_MAX };

void supervisor_init(struct supervisor *s)
{
	s->fd = s->link = -1;
	s->out = BUF_INIT(OUT_MAX);
	s->backoff = BACKOFF_MIN;
}

/* A child ends when one of its sockets does. */
static void disconnect(struct supervisor *s)
{
	if (s->fd >= 0)
		close(s->fd);
	if (s->link >= 0)
		close(s->link);
	s->fd = s->link = -1;
	frame_stream_release(&s->in);
	buf_release(&s->out);
}

void supervisor_release(struct supervisor *s)
{
	disconnect(s);
}

/* A child writes a line's level only where JOURNAL_STREAM says that the journal reads it. */
static const char *const *environment(void)
{
	static const char *list[3] = {PROC_PATH, NULL, NULL};
	const char *journal = getenv("JOURNAL_STREAM");
	if (journal && !list[1])
		list[1] = mem_printf("JOURNAL_STREAM=%s", journal);
	return list;
}

static int spawn(struct supervisor *s, int root_end, int link_end, struct error *err)
{
	const struct proc_spec spec = {.argv = s->argv,
		.envp = environment(),
		.user = s->has_user ? &s->user : NULL,
		.in = -1,
		.out = -1,
		.err = PROC_INHERIT,
		.extra = root_end,
		.link = &link_end,
		.listen = s->listen,
		.die_with_parent = true,
		.powerless = true};
	s->pid = proc_spawn(&spec, err);
	if (s->pid > 0)
		return 0;
	s->pid = 0;
	return -1;
}

static int start(struct supervisor *s, struct error *err)
{
	int root[2] = {-1, -1}, link[2];
	if (s->frame && proc_socketpair(root, err) < 0)
		return -1;
	auto_close int ours = root[0];
	auto_close int theirs = root[1];
	if (ours >= 0 && fcntl(ours, F_SETFL, O_NONBLOCK) < 0)
		return error_errno(err, "cannot set up the socket of %s", s->name);
	if (s->pair(link, err) < 0)
		return -1;
	auto_close int other_end = link[0];
	auto_close int its_end = link[1];
	if (spawn(s, theirs, its_end, err) < 0)
		return -1;
	s->fd = steal_fd(&ours);
	s->link = steal_fd(&other_end);
	frame_stream_init(&s->in, s->fd, s->allowed);
	return 0;
}

static void start_later(struct supervisor *s, int64_t now)
{
	s->start_at = now + s->backoff;
	s->backoff = s->backoff * 2 > BACKOFF_MAX ? BACKOFF_MAX : s->backoff * 2;
}

static bool is_watched(const struct supervisor *s)
{
	return s->beats && s->pid && s->fd >= 0 && !s->kill_at;
}

bool supervisor_tick(struct supervisor *s, int64_t now)
{
	struct error err;
	if (s->pid && s->kill_at && now >= s->kill_at)
		kill(s->pid, SIGKILL);
	if (is_watched(s) && heartbeat_stopped(&s->heartbeat, s->fd, now))
		supervisor_kill(s, "it has said nothing for minutes: it hangs");
	if (s->pid || now < s->start_at)
		return false;
	s->started_at = now;
	s->kill_at = 0;
	heartbeat_heard(&s->heartbeat, now);
	if (start(s, &err) == 0) {
		log_event(LOG_LEVEL_NOTICE, "child", "name=%s pid=%d result=started", s->name, (int)s->pid);
		return true;
	}
	log_event(LOG_LEVEL_ERROR, "child", "name=%s error=\"%s\" again_ms=%lld", s->name, err.message,
		(long long)s->backoff);
	start_later(s, now);
	return false;
}

int64_t supervisor_due(const struct supervisor *s)
{
	if (!s->pid)
		return s->start_at;
	if (is_watched(s))
		return heartbeat_due(&s->heartbeat);
	return s->kill_at ? s->kill_at : INT64_MAX;
}

bool supervisor_is_idle(const struct supervisor *s)
{
	return s->fd >= 0 && s->out.len == 0;
}

void supervisor_send(struct supervisor *s, enum frame_type type, const void *data, size_t len)
{
	if (s->fd < 0)
		return;
	if (frame_encode(&s->out, type, data, len) == 0)
		return;
	/* Requests are only read while there is room, so this child asks and does not listen. */
	supervisor_kill(s, "it does not read what it asked for");
}

short supervisor_events(const struct supervisor *s)
{
	return (short)((s->out.len < OUT_MAX / 2 ? POLLIN : 0) | (s->out.len ? POLLOUT : 0));
}

static int flush(struct supervisor *s)
{
	while (s->out.len) {
		ssize_t put = send(s->fd, s->out.data, s->out.len, MSG_NOSIGNAL);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return errno == EAGAIN ? 0 : -1;
		buf_consume(&s->out, (size_t)put);
	}
	/* The buffer had keys in it, and is wiped. */
	buf_release(&s->out);
	return 0;
}

/* Returns 1 to go on, 0 when the stream has ended, or -1 with the reason. */
static int take_frames(struct supervisor *s, void *context, struct error *err)
{
	struct frame frame;
	int found, filled = frame_fill(&s->in, err);
	if (filled < 0)
		return -1;
	/* A reply may end the connection. */
	while (s->fd >= 0 && (found = frame_next(&s->in, &frame, err)) != 0)
		if (found < 0 || s->frame(&frame, context, err) < 0)
			return -1;
	return filled;
}

void supervisor_io(struct supervisor *s, short revents, int64_t now, void *context)
{
	struct error err;
	if (s->fd < 0)
		return;
	if ((revents & POLLOUT) && flush(s) < 0) {
		supervisor_stop(s, now);
		disconnect(s);
		return;
	}
	if (!(revents & (POLLIN | POLLHUP | POLLERR)))
		return;
	heartbeat_heard(&s->heartbeat, now);
	int result = take_frames(s, context, &err);
	if (result < 0) {
		supervisor_kill(s, err.message);
	} else if (result == 0) {
		supervisor_stop(s, now);
		disconnect(s);
	}
}

bool supervisor_reap(struct supervisor *s, int64_t now)
{
	int status;
	if (!s->pid || waitpid(s->pid, &status, WNOHANG) != s->pid)
		return false;
	if (now - s->started_at >= HEALTHY_AFTER)
		s->backoff = BACKOFF_MIN;
	log_event(LOG_LEVEL_WARNING, "child", "name=%s pid=%d result=\"%s\" again_ms=%lld", s->name, (int)s->pid,
		proc_status_text(status), (long long)s->backoff);
	s->pid = 0;
	disconnect(s);
	start_later(s, now);
	return true;
}

void supervisor_stop(struct supervisor *s, int64_t now)
{
	if (!s->pid || s->kill_at)
		return;
	kill(s->pid, SIGTERM);
	s->kill_at = now + STOP_TIME;
}

void supervisor_kill(struct supervisor *s, const char *reason)
{
	log_event(LOG_LEVEL_ERROR, "child", "name=%s pid=%d error=\"%s\" result=killed", s->name, (int)s->pid, reason);
	if (s->pid)
		kill(s->pid, SIGKILL);
	disconnect(s);
}
