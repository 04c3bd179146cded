/* Gives a program under valgrind what it lacks there.
 *
 * Its process would have the tool's name, and stories find it by its own.
 * valgrind before 3.21 does not know pidfd_open(2); here it returns a pipe that becomes readable as the descriptor of
 * the process would, because a thread closes its other end when the child has ended.
 *
 * valgrind's own files and programs lie outside of what a program confines itself to, so there is no Landlock here.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

__attribute__((constructor)) static void name_process(void)
{
	prctl(PR_SET_NAME, program_invocation_short_name);
}

struct awaited {
	pid_t pid;
	int end;
};

static void *await(void *context)
{
	struct awaited *a = context;
	siginfo_t ignored;
	while (waitid(P_PID, (id_t)a->pid, &ignored, WEXITED | WNOWAIT) < 0 && errno == EINTR)
		continue;
	close(a->end);
	free(a);
	return NULL;
}

/* The thread takes no signals, which are meant for the program's own threads. */
static int start(struct awaited *a)
{
	pthread_t thread;
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	int status = pthread_create(&thread, NULL, await, a);
	if (status == 0)
		pthread_detach(thread);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return status;
}

static int pidfd_open_here(pid_t pid)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	struct awaited *a = malloc(sizeof(*a));
	if (a)
		*a = (struct awaited){.pid = pid, .end = ends[1]};
	int status = a ? start(a) : ENOMEM;
	if (status == 0)
		return ends[0];
	free(a);
	close(ends[0]);
	close(ends[1]);
	errno = status;
	return -1;
}

long syscall(long number, ...)
{
	static long (*next)(long, long, long, long, long, long, long);
	long word[6];
	va_list args;
	if (number >= SYS_landlock_create_ruleset && number <= SYS_landlock_restrict_self) {
		errno = ENOSYS;
		return -1;
	}
	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "syscall");
	va_start(args, number);
	for (int i = 0; i < 6; i++)
		word[i] = va_arg(args, long);
	va_end(args);
	if (number == SYS_pidfd_open)
		return pidfd_open_here((pid_t)word[0]);
	return next(number, word[0], word[1], word[2], word[3], word[4], word[5]);
}
