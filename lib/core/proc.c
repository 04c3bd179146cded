#include "lib/core/proc.h"
#include "lib/core/confine.h"
#include "lib/core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int proc_user_find(const char *name, struct proc_user *ret, struct error *err)
{
	errno = 0;
	const struct passwd *entry = getpwnam(name);
	if (!entry && errno && errno != ENOENT)
		return error_errno(err, "cannot look up the user %s", name);
	if (!entry)
		return error_set(
			err, ERROR_USAGE, "there is no user %s on this machine: create it, or configure another", name);
	ret->uid = entry->pw_uid;
	ret->gid = entry->pw_gid;
	snprintf(ret->name, sizeof(ret->name), "%s", name);
	return 0;
}

struct start {
	const struct proc_spec *spec;
	const struct proc_user *user; /* NULL: it stays who it is */
	pid_t parent;
	int report; /* takes the errno of a start that failed */
};

/* Everything below runs in the child until its exec. Mostly the child is a vfork's, which copies no page tables and
 * leaves no pages of the parent's to be copied at their next write: until the exec it lives in the parent's memory,
 * while the parent waits. So it makes only system calls, runs no signal handlers and allocates nothing. A change of
 * user is the exception: initgroups may load whatever nsswitch.conf names, which must not end up in the parent, so that
 * child is a fork's. Our programs have one thread. Each function returns -1 with errno. */

static int move_high(int fd)
{
	return fd < 0 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, 10);
}

static int place(int from, int target, int open_flags)
{
	if (from == PROC_INHERIT)
		return 0;
	if (from < 0)
		from = open("/dev/null", open_flags);
	if (from < 0 || dup2(from, target) < 0)
		return -1;
	return 0;
}

static int place_descriptors(const struct proc_spec *spec)
{
	int in = move_high(spec->in), out = move_high(spec->out), err = move_high(spec->err);
	int extra = move_high(spec->extra), link = spec->link ? move_high(*spec->link) : -1;
	int listening = spec->listen ? move_high(*spec->listen) : -1;
	if (place(in, 0, O_RDONLY) < 0 || place(out, 1, O_WRONLY) < 0 || place(err, 2, O_WRONLY) < 0)
		return -1;
	if (close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
		return -1;
	/* A descriptor that dup2 has placed no longer has the close-on-exec flag. */
	if (listening >= 0 && dup2(listening, 5) < 0)
		return -1;
	return (extra >= 0 && dup2(extra, 3) < 0) || (link >= 0 && dup2(link, 4) < 0) ? -1 : 0;
}

static int become(const struct proc_user *user)
{
	if (!user)
		return 0;
	if ((user->name[0] ? initgroups(user->name, user->gid) : setgroups(0, NULL)) < 0)
		return -1;
	if (setresgid(user->gid, user->gid, user->gid) < 0)
		return -1;
	return setresuid(user->uid, user->uid, user->uid);
}

/* Handlers are reset before any signal is let in again. */
static void default_signals(void)
{
	sigset_t none;
	for (int number = 1; number < NSIG; number++)
		if (number != SIGKILL && number != SIGSTOP)
			signal(number, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void child(const struct start *s)
{
	static const char *const fixed_environment[] = {PROC_PATH, NULL};
	const struct proc_spec *spec = s->spec;
	int report = move_high(s->report);
	default_signals();
	umask(077);
	if (spec->group && setpgid(0, 0) < 0)
		goto failed;
	/* This comes before the change of user, which takes the right to do it. */
	if (spec->powerless && confine_privileges() < 0)
		goto failed;
	if (place_descriptors(spec) < 0 || become(s->user) < 0)
		goto failed;
	/* This comes after the change of user, which clears it. */
	if (spec->die_with_parent && prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		goto failed;
	if (spec->die_with_parent && getppid() != s->parent)
		_exit(127);
	execve(spec->argv[0], (char *const *)(uintptr_t)spec->argv,
		(char *const *)(uintptr_t)(spec->envp ? spec->envp : fixed_environment));
failed:;
	int code = errno;
	ssize_t ignored = write(report, &code, sizeof(code));
	(void)ignored;
	_exit(127);
}

static pid_t start_child(const struct start *s)
{
	sigset_t all, before;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	/* NOLINTNEXTLINE(clang-analyzer-security.insecureAPI.vfork,clang-analyzer-unix.Vfork,bugprone-unsafe-functions,cert-msc24-c,cert-msc33-c): signals are blocked, and child() writes to nothing of its parent's */
	pid_t pid = s->user ? fork() : vfork();
	if (pid == 0)
		child(s);
	int code = errno;
	sigprocmask(SIG_SETMASK, &before, NULL);
	errno = code;
	return pid;
}

pid_t proc_spawn(const struct proc_spec *spec, struct error *err)
{
	int report[2];
	if (pipe2(report, O_CLOEXEC) < 0)
		return error_errno(err, "cannot start %s", spec->argv[0]);
	const struct start s = {
		.spec = spec, .user = geteuid() == 0 ? spec->user : NULL, .parent = getpid(), .report = report[1]};
	pid_t pid = start_child(&s);
	close(report[1]);
	if (pid < 0) {
		error_errno(err, "cannot start %s", spec->argv[0]);
		close(report[0]);
		return -1;
	}
	int code = 0;
	ssize_t got;
	do
		got = read(report[0], &code, sizeof(code));
	while (got < 0 && errno == EINTR);
	close(report[0]);
	if (got != sizeof(code))
		return pid;
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	errno = code;
	return error_errno(err, "cannot start %s", spec->argv[0]);
}

static bool is_known(pid_t pid, const pid_t *known, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (known[i] == pid)
			return true;
	return false;
}

/* Finds an orphan by proc(5), since waiting tells only of the dead. Returns 0 when there is none. */
static pid_t find_orphan(const pid_t *known, size_t count)
{
	char path[64];
	auto_free char *word = NULL;
	size_t size = 0;
	pid_t found = 0;
	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	FILE *children = fopen(path, "re");
	if (!children)
		return 0;
	while (!found && getdelim(&word, &size, ' ', children) > 0) {
		pid_t pid = (pid_t)strtol(word, NULL, 10);
		found = is_known(pid, known, count) ? 0 : pid;
	}
	fclose(children);
	return found;
}

void proc_kill_orphans(const pid_t *known, size_t count)
{
	pid_t pid;
	while ((pid = find_orphan(known, count)) > 0) {
		kill(pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
}

int proc_pidfd_open(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

int proc_pidfd_signal(int process, int number)
{
	return (int)syscall(SYS_pidfd_send_signal, process, number, NULL, 0);
}

const char *proc_status_text(int wait_status)
{
	static char text[80];
	if (WIFEXITED(wait_status))
		snprintf(text, sizeof(text), "exited %d", WEXITSTATUS(wait_status));
	else if (WIFSIGNALED(wait_status))
		snprintf(text, sizeof(text), "was killed by signal %d (%s)", WTERMSIG(wait_status),
			strsignal(WTERMSIG(wait_status)));
	else
		snprintf(text, sizeof(text), "ended with status %d", wait_status);
	return text;
}

void proc_harden(void)
{
	const struct rlimit none = {0, 0};
	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_DFL); /* ignored by whoever started us, it would leave nothing to wait for */
	umask(077);
}

int proc_socketpair(int ret_pair[2], struct error *err)
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret_pair) < 0)
		return error_errno(err, "cannot make a pair of sockets");
	return 0;
}
