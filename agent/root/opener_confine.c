#include "agent/root/opener_confine.h"
#include "agent/root/opener.h"
#include "lib/core/confine.h"
#include "lib/core/mem.h"

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* The sanitizers reserve terabytes of address space. */
#if defined(__SANITIZE_ADDRESS__)
#define MEMORY_MAX RLIM_INFINITY
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MEMORY_MAX RLIM_INFINITY
#endif
#endif
#ifndef MEMORY_MAX
#define MEMORY_MAX (512u * 1024 * 1024)
#endif

enum { CPU_SECONDS = 60 };

static int limit(int resource, rlim_t most)
{
	const struct rlimit value = {most, most};
	return setrlimit(resource, &value);
}

/* A kernel without Landlock is no failure: without descriptors nothing is opened either. */
static int drop_the_rest(void)
{
	const struct confinement c = confine(&(const struct confine){.descriptors = 1});
	errno = c.code;
	return c.state == CONFINEMENT_REFUSED ? -1 : 0;
}

static int become_no_one(void)
{
	if (geteuid() != 0)
		return 0;
	/* This comes before the change of user, which takes the right to do it. */
	if (confine_privileges() < 0 || setgroups(0, NULL) < 0 || setresgid(OPENER_USER, OPENER_USER, OPENER_USER) < 0)
		return -1;
	return setresuid(OPENER_USER, OPENER_USER, OPENER_USER);
}

/* The limit is raised as far as possible before the right to raise it goes. */
static void raise_lock_limit(void)
{
	struct rlimit had;
	if (getrlimit(RLIMIT_MEMLOCK, &had) == 0 && limit(RLIMIT_MEMLOCK, RLIM_INFINITY) < 0)
		limit(RLIMIT_MEMLOCK, had.rlim_max);
}

int opener_confine(int socket, pid_t parent)
{
	if (dup2(socket, 0) < 0 || close_range(1, ~0u, 0) < 0)
		return -1;
	if (limit(RLIMIT_FSIZE, 0) < 0 || limit(RLIMIT_CPU, CPU_SECONDS) < 0 || limit(RLIMIT_AS, MEMORY_MAX) < 0 ||
		limit(RLIMIT_NPROC, 0) < 0)
		return -1;
	raise_lock_limit();
	if (become_no_one() < 0 || drop_the_rest() < 0)
		return -1;
	/* Keys come here, and a child does not inherit the root half's locks. Where locking is refused, the child goes
	 * on without it, as the root half does. */
	mem_lock();
	/* The change of user clears the first of these. The name is for people who look at processes: this is no longer
	 * the root half. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || prctl(PR_SET_NAME, "certsync-opener") < 0 || getppid() != parent)
		return -1;
	/* The child's socket is open already. A process that can have no further descriptor opens neither file nor
	 * socket, on any kernel, so it needs no network namespace of its own, which takes the kernel milliseconds to
	 * make. */
	return limit(RLIMIT_NOFILE, 0);
}
