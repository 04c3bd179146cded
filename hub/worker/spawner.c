#include "hub/worker/spawner.h"
#include "hub/common/child.h"
#include "hub/common/spawn.h"
#include "lib/core/fs.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"
#include "lib/core/pass.h"
#include "lib/core/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct job {
	uint32_t id;
	pid_t pid;
};

struct spawner {
	char *program;
	struct job *jobs;
	size_t count;
	int signals;
};

int spawner_is_asked(void)
{
	int type = 0;
	socklen_t size = sizeof(type);
	return getsockopt(CHILD_LINK_FD, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET;
}

/* ---- the end of a job ---- */

/* Kills what jobs had started that have ended. */
static void kill_orphans(const struct spawner *s)
{
	pid_t *known = mem_array(s->count + 1, sizeof(*known));
	for (size_t i = 0; i < s->count; i++)
		known[i] = s->jobs[i].pid;
	proc_kill_orphans(known, s->count);
	free(known);
}

/* Returns the wait status of the job, which has ended or is killed now; everything that it started is dead then. */
static int bury(struct spawner *s, size_t at)
{
	int status = 0;
	pid_t pid = s->jobs[at].pid;
	/* The job has not been waited for yet, so the number is still its own. */
	kill(-pid, SIGKILL);
	kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	s->jobs[at] = s->jobs[--s->count];
	kill_orphans(s);
	return status;
}

static int say_ended(uint32_t id, int wait_status, int start_errno, struct error *err)
{
	const struct spawn_record ended = {
		.op = SPAWN_ENDED, .id = id, .wait_status = wait_status, .start_errno = start_errno};
	uint8_t record[SPAWN_RECORD_SIZE];
	spawn_encode(&ended, record);
	/* A daemon that is gone is noticed where its requests are read. */
	return pass_send(CHILD_LINK_FD, record, sizeof(record), -1, err) == 0 || errno == EPIPE ? 0 : -1;
}

static int reap(struct spawner *s, struct error *err)
{
	for (size_t i = 0; i < s->count;) {
		siginfo_t info = {0};
		if (waitid(P_PID, (id_t)s->jobs[i].pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0) {
			i++;
			continue;
		}
		uint32_t id = s->jobs[i].id;
		if (say_ended(id, bury(s, i), 0, err) < 0)
			return -1;
	}
	/* The process belonged to a worker that did not wait for its orphans. */
	kill_orphans(s);
	return 0;
}

/* ---- what the daemon asks for ---- */

static int start(struct spawner *s, const struct spawn_record *r, int socket, struct error *err)
{
	const char *const argv[] = {s->program, worker_kind_name(r->kind), NULL};
	const struct proc_spec spec = {.argv = argv,
		.in = socket,
		.out = socket,
		.err = PROC_INHERIT,
		.extra = -1,
		.group = true,
		.die_with_parent = true};
	pid_t pid = proc_spawn(&spec, err);
	if (pid < 0) {
		int why = errno ? errno : EAGAIN;
		log_event(LOG_LEVEL_ERROR, "worker", "kind=%s error=\"%s\"", worker_kind_name(r->kind), err->message);
		return say_ended(r->id, 0, why, err);
	}
	s->jobs = mem_grow(s->jobs, s->count + 1, sizeof(*s->jobs));
	s->jobs[s->count++] = (struct job){.id = r->id, .pid = pid};
	return 0;
}

static void end(struct spawner *s, uint32_t id)
{
	for (size_t i = 0; i < s->count; i++) {
		if (s->jobs[i].id != id)
			continue;
		bury(s, i);
		return;
	}
}

/* Returns 1 to go on, 0 when the daemon is gone, or -1 with the reason. */
static int take_record(struct spawner *s, struct error *err)
{
	uint8_t record[SPAWN_RECORD_SIZE];
	struct spawn_record r;
	auto_close int socket = -1;
	long got = pass_receive(CHILD_LINK_FD, record, sizeof(record), &socket, err);
	if (got == PASS_NONE)
		return 1;
	if (got <= 0 || spawn_decode(record, (size_t)got, &r, err) < 0)
		return got == 0 ? 0 : -1;
	if (r.op == SPAWN_ENDED || (r.op == SPAWN_START) != (socket >= 0))
		return error_set(err, ERROR_PERMANENT, "the daemon asked for something that makes no sense");
	if (r.op == SPAWN_KILL)
		end(s, r.id);
	return r.op == SPAWN_START && start(s, &r, socket, err) < 0 ? -1 : 1;
}

static int take_signals(struct spawner *s, struct error *err)
{
	struct signalfd_siginfo info;
	bool ended = false;
	while (read(s->signals, &info, sizeof(info)) == sizeof(info))
		ended = ended || info.ssi_signo != SIGCHLD;
	return ended ? 0 : reap(s, err) < 0 ? -1 : 1;
}

static int serve(struct spawner *s, struct error *err)
{
	struct pollfd fds[] = {{CHILD_LINK_FD, POLLIN, 0}, {s->signals, POLLIN, 0}};
	int result = 1;
	while (result > 0) {
		if (poll(fds, COUNT(fds), -1) < 0)
			continue;
		if (fds[1].revents)
			result = take_signals(s, err);
		if (result > 0 && fds[0].revents)
			result = take_record(s, err);
	}
	return result;
}

static int open_signals(struct error *err)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	return fd < 0 ? error_errno(err, "cannot take signals") : fd;
}

static int prepare(struct spawner *s, struct error *err)
{
	/* Workers must not have the daemon's socket. */
	if (fcntl(CHILD_LINK_FD, F_SETFD, FD_CLOEXEC) < 0)
		return error_errno(err, "cannot keep the daemon's socket");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		return error_errno(err, "cannot confine the workers");
	s->signals = open_signals(err);
	return s->signals < 0 ? -1 : 0;
}

int spawner_main(void)
{
	struct error err;
	struct spawner s = {.program = mem_printf("%s/certsync-worker", fs_program_directory()), .signals = -1};
	log_open("certsync-worker");
	int result = prepare(&s, &err) == 0 ? serve(&s, &err) : -1;
	if (result < 0)
		log_event(LOG_LEVEL_ERROR, "ended", "error=\"%s\"", err.message);
	while (s.count)
		bury(&s, s.count - 1);
	free(s.jobs);
	free(s.program);
	if (s.signals >= 0)
		close(s.signals);
	return result < 0 ? 1 : 0;
}
