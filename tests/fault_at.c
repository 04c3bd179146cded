/* Is preloaded into a program (LD_PRELOAD) and counts the calls that change a file. KILL_AT=N ends the program with
 * SIGKILL just before the Nth, FAIL_AT=N lets the Nth fail as on a full disk. At the end the count is written to
 * FAULT_COUNT=FILE. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static long calls;

static long number(const char *variable)
{
	const char *text = getenv(variable);
	return text ? atol(text) : 0;
}

/* Whether this call is the one to fail. */
static int step(void)
{
	static long kill_at, fail_at;
	if (calls == 0) {
		kill_at = number("KILL_AT");
		fail_at = number("FAIL_AT");
	}
	if (++calls == kill_at)
		kill(getpid(), SIGKILL);
	if (calls != fail_at)
		return 0;
	errno = ENOSPC;
	return 1;
}

__attribute__((destructor)) static void tell(void)
{
	const char *path = getenv("FAULT_COUNT");
	FILE *file = path ? fopen(path, "w") : NULL;
	if (!file)
		return;
	fprintf(file, "%ld\n", calls);
	fclose(file);
}

/* Each function stands in for libc's own and calls it. */
#define STEP(result, function, declared, passed, counts) \
	result function declared; \
	result function declared \
	{ \
		static result(*next) declared; \
		if (!next) \
			*(void **)&next = dlsym(RTLD_NEXT, #function); \
		return (counts) && step() ? -1 : next passed; \
	}

/* Pipes and sockets are no files, so calls on them do not count. */
static int is_file(int fd)
{
	struct stat st;
	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && fd > STDERR_FILENO;
}

STEP(int, fsync, (int fd), (fd), 1)
STEP(int, fchmod, (int fd, mode_t mode), (fd, mode), 1)
STEP(int, mkdirat, (int dir, const char *path, mode_t mode), (dir, path, mode), 1)
STEP(int, unlinkat, (int dir, const char *path, int flags), (dir, path, flags), 1)
STEP(int, symlinkat, (const char *target, int dir, const char *path), (target, dir, path), 1)
STEP(int, renameat, (int from_dir, const char *from, int to_dir, const char *to), (from_dir, from, to_dir, to), 1)
STEP(int, renameat2, (int from_dir, const char *from, int to_dir, const char *to, unsigned flags),
	(from_dir, from, to_dir, to, flags), 1)
STEP(ssize_t, write, (int fd, const void *data, size_t len), (fd, data, len), is_file(fd))

int openat(int dir, const char *path, int flags, ...)
{
	static int (*next)(int, const char *, int, ...);
	mode_t mode = 0;
	va_list args;
	va_start(args, flags);
	if (flags & O_CREAT)
		mode = va_arg(args, mode_t);
	va_end(args);
	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "openat");
	return (flags & O_CREAT) && step() ? -1 : next(dir, path, flags, mode);
}
