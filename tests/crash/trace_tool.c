/* Runs a program under ptrace(2) and does something at its Nth system call, or at all of them.
 *
 *   trace_tool [-p PROGRAM] [-m] [-u] [-c FILE] count       -- COMMAND…
 *   trace_tool [-p PROGRAM] [-m] [-u] [-a] [-c FILE] kill N -- COMMAND…
 *   trace_tool [-p PROGRAM] [-m] [-c FILE] fail N ERRNO     -- COMMAND…   the Nth call fails, and is not made
 *   trace_tool [-p PROGRAM] [-m] [-c FILE] fail-from N ERRNO -- COMMAND…  … and so does every later one of its kind
 *   trace_tool [-k N] record ROOT LOG                       -- COMMAND…
 *
 * record appends to LOG what is done below ROOT (tests/crash/record.c); with -k the program is killed after N lines of
 * it.
 * -p: only the calls of processes whose program has this name count. -m: only those after the first write to standard
 * output count. -u: only those after the program got SIGUSR1 count. -a: all processes are killed, as when a node goes
 * down; SIGTERM does so, too. -c: how many calls were counted is written to FILE, with the kind (a number) of the one
 * that was hit, and then a line "KIND AT" for each kind that there was, with where it was met first.
 * The program's exit status is passed on, and is 137 after SIGKILL. Children are followed. Calls that cannot fail, or
 * whose failure nobody could survive (exit, sigreturn, execve's own memory), are counted and never fail.
 */
#include "tests/crash/trace.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#if !defined(__x86_64__)
#error "a system call is made to fail through the registers of x86-64: write the same for this machine"
#endif

enum mode { COUNT_CALLS, KILL_AT, FAIL_AT, FAIL_FROM, RECORD };
enum { KINDS = 512 };

struct process {
	pid_t pid;
	bool inside;  /* it is between entry and exit of a call */
	bool counts;  /* it runs the program that is meant */
	bool failing; /* the call that it is in is made to fail */
	struct call call;
};

static struct {
	enum mode mode;
	const char *program, *count_file;
	bool after_mark, marked, all, ending;
	long at;
	int error;
	long counted;
	long first_at[KINDS]; /* by kind: the number of the first such call */
	long hit;             /* the code of the call that was hit; -1: none */
	pid_t first;
	int status;
	struct process processes[256];
	size_t process_count;
} t = {.hit = -1};

static volatile sig_atomic_t told_to_count = 1, told_to_end;

static void on_signal(int number)
{
	if (number == SIGUSR1)
		told_to_count = 1;
	else
		told_to_end = 1;
}

static void die(const char *what)
{
	perror(what);
	exit(125);
}

static struct process *find(pid_t pid)
{
	for (size_t i = 0; i < t.process_count; i++)
		if (t.processes[i].pid == pid)
			return &t.processes[i];
	if (t.process_count == sizeof(t.processes) / sizeof(t.processes[0]))
		die("too many processes");
	struct process *p = &t.processes[t.process_count++];
	*p = (struct process){.pid = pid};
	return p;
}

static void forget(pid_t pid)
{
	for (size_t i = 0; i < t.process_count; i++)
		if (t.processes[i].pid == pid)
			t.processes[i] = t.processes[--t.process_count];
	record_forget(pid);
}

/* Whether the process runs the program whose calls count. */
static bool is_meant(pid_t pid)
{
	char path[64], program[PATH_MAX];
	if (!t.program)
		return true;
	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	ssize_t len = readlink(path, program, sizeof(program) - 1);
	if (len <= 0)
		return false;
	program[len] = '\0';
	const char *slash = strrchr(program, '/');
	return strcmp(slash ? slash + 1 : program, t.program) == 0;
}

static bool can_fail(uint64_t number)
{
	static const long never[] = {SYS_exit, SYS_exit_group, SYS_rt_sigreturn, SYS_execve, SYS_brk, SYS_munmap,
		SYS_close, SYS_mprotect, SYS_getpid, SYS_gettid, SYS_geteuid, SYS_getuid, SYS_getegid, SYS_getgid,
		SYS_umask, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_sigaltstack, SYS_clock_gettime,
		SYS_set_robust_list, SYS_madvise, SYS_set_tid_address, SYS_rseq, SYS_arch_prctl, SYS_sched_yield,
		SYS_futex, SYS_tgkill, SYS_kill};
	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
		if ((uint64_t)never[i] == number)
			return false;
	return true;
}

static void make_fail(struct process *p)
{
	struct user_regs_struct regs;
	if (!can_fail(p->call.number) || ptrace(PTRACE_GETREGS, p->pid, NULL, &regs) < 0)
		return;
	regs.orig_rax = (unsigned long long)-1;
	if (ptrace(PTRACE_SETREGS, p->pid, NULL, &regs) == 0)
		p->failing = true;
}

static void finish_failing(struct process *p)
{
	struct user_regs_struct regs;
	p->failing = false;
	if (ptrace(PTRACE_GETREGS, p->pid, NULL, &regs) < 0)
		return;
	regs.rax = (unsigned long long)-(long long)t.error;
	ptrace(PTRACE_SETREGS, p->pid, NULL, &regs);
}

static void kill_all(void)
{
	t.ending = true; /* a process that is only being born dies at its first stop */
	for (size_t i = 0; i < t.process_count; i++)
		kill(t.processes[i].pid, SIGKILL);
}

static void before(struct process *p)
{
	const struct call *c = &p->call;
	if (t.mode == RECORD && t.at && record_lines() >= t.at) {
		kill(p->pid, SIGKILL);
		return;
	}
	if (t.mode == RECORD) {
		record_before(c);
		return;
	}
	if (t.after_mark && !t.marked) {
		t.marked = c->number == SYS_write && c->args[0] == STDOUT_FILENO;
		return;
	}
	if (!p->counts || !told_to_count)
		return;
	t.counted++;
	if (c->number < KINDS && !t.first_at[c->number])
		t.first_at[c->number] = t.counted;
	bool at = t.counted == t.at;
	if (at)
		t.hit = (long)c->number;
	if (at && t.mode == KILL_AT && t.all)
		kill_all();
	else if (at && t.mode == KILL_AT)
		kill(p->pid, SIGKILL);
	else if ((at && t.mode == FAIL_AT) || (t.mode == FAIL_FROM && t.counted >= t.at && t.hit == (long)c->number))
		make_fail(p);
}

static void on_call(struct process *p)
{
	struct __ptrace_syscall_info info;
	if (ptrace((enum __ptrace_request)PTRACE_GET_SYSCALL_INFO, p->pid, (void *)sizeof(info), &info) <= 0)
		return;
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
		p->call = (struct call){.pid = p->pid, .number = info.entry.nr};
		memcpy(p->call.args, info.entry.args, sizeof(p->call.args));
		p->inside = true;
		before(p);
	} else if (info.op == PTRACE_SYSCALL_INFO_EXIT && p->inside) {
		p->inside = false;
		if (p->failing)
			finish_failing(p);
		p->call.result = info.exit.rval;
		if (t.mode == RECORD)
			record_after(&p->call);
	}
}

/* Returns the signal that is delivered when the process goes on; 0: none. */
static int on_stop(struct process *p, int status)
{
	int signal_number = WSTOPSIG(status);
	int event = status >> 16;
	if (signal_number == (SIGTRAP | 0x80)) {
		on_call(p);
		return 0;
	}
	if (event == PTRACE_EVENT_EXEC || event == PTRACE_EVENT_STOP || event) {
		p->counts = is_meant(p->pid);
		return 0;
	}
	return signal_number == SIGSTOP || signal_number == SIGTRAP ? 0 : signal_number;
}

static void watch(void)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
		if (told_to_end) {
			told_to_end = 0;
			kill_all();
		}
		if (pid < 0)
			continue;
		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			if (pid == t.first)
				t.status = status;
			forget(pid);
			continue;
		}
		if (t.ending)
			kill(pid, SIGKILL);
		struct process *p = find(pid);
		if (!p->counts && !p->inside)
			p->counts = is_meant(pid);
		int deliver = on_stop(p, status);
		ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(long)deliver);
	}
}

static void start(char **command)
{
	const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
		PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC;
	int status;
	t.first = fork();
	if (t.first < 0)
		die("fork");
	if (t.first == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		execvp(command[0], command);
		perror(command[0]);
		_exit(127);
	}
	if (waitpid(t.first, &status, 0) < 0 || !WIFSTOPPED(status) ||
		ptrace(PTRACE_SETOPTIONS, t.first, NULL, (void *)options) < 0)
		die("ptrace");
	/* The program's calls count from its own first instruction on, and not from here. */
	find(t.first)->counts = false;
	ptrace(PTRACE_SYSCALL, t.first, NULL, NULL);
}

static void tell(void)
{
	FILE *file = t.count_file ? fopen(t.count_file, "w") : NULL;
	if (!file)
		return;
	fprintf(file, "%ld %ld\n", t.counted, t.hit);
	for (long kind = 0; kind < KINDS; kind++)
		if (t.first_at[kind])
			fprintf(file, "%ld %ld\n", kind, t.first_at[kind]);
	fclose(file);
}

static int take_mode(int argc, char **argv, int at)
{
	static const char *const names[] = {"count", "kill", "fail", "fail-from", "record"};
	static const int words[] = {0, 1, 2, 2, 2};
	for (size_t i = 0; at < argc && i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(argv[at], names[i]) != 0 || at + words[i] + 2 >= argc ||
			strcmp(argv[at + words[i] + 1], "--") != 0)
			continue;
		t.mode = (enum mode)i;
		if (t.mode == RECORD)
			record_start(argv[at + 1], argv[at + 2]);
		else if (words[i] > 0)
			t.at = atol(argv[at + 1]);
		t.error = t.mode == RECORD || words[i] < 2 ? 0 : atoi(argv[at + 2]);
		return at + words[i] + 2;
	}
	fputs("usage: see the head of tests/crash/trace_tool.c\n", stderr);
	exit(125);
}

int main(int argc, char **argv)
{
	int option;
	struct sigaction action = {.sa_handler = on_signal};
	while ((option = getopt(argc, argv, "+p:muac:k:")) != -1) {
		if (option == 'p')
			t.program = optarg;
		else if (option == 'm')
			t.after_mark = true;
		else if (option == 'u')
			told_to_count = 0;
		else if (option == 'a')
			t.all = true;
		else if (option == 'k')
			t.at = atol(optarg);
		else if (option == 'c')
			t.count_file = optarg;
		else
			return 125;
	}
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	start(argv + take_mode(argc, argv, optind));
	watch();
	tell();
	return WIFSIGNALED(t.status) ? 128 + WTERMSIG(t.status) : WEXITSTATUS(t.status);
}
