/* Preloaded into a program (LD_PRELOAD): ends it with SIGKILL just before its KILL_AT-th call that changes a
 * file. With KILL_COUNT=FILE it writes at the end how many such calls there were.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static long calls;

static void step(void)
{
	static long kill_at = -1;
	if (kill_at < 0) {
		const char *text = getenv("KILL_AT");
		kill_at = text ? atol(text) : 0;
	}
	if (++calls == kill_at)
		kill(getpid(), SIGKILL);
}

__attribute__((destructor)) static void tell(void)
{
	const char *path = getenv("KILL_COUNT");
	FILE *file = path ? fopen(path, "w") : NULL;
	if (!file)
		return;
	fprintf(file, "%ld\n", calls);
	fclose(file);
}

/* Each stands in for libc's own and then calls it. */
#define STEP(result, function, declared, passed) \
	result function declared; \
	result function declared \
	{ \
		static result(*next) declared; \
		if (!next) \
			*(void **)&next = dlsym(RTLD_NEXT, #function); \
		step(); \
		return next passed; \
	}

STEP(int, fsync, (int fd), (fd))
STEP(int, fchmod, (int fd, mode_t mode), (fd, mode))
STEP(int, mkdirat, (int dir, const char *path, mode_t mode), (dir, path, mode))
STEP(int, unlinkat, (int dir, const char *path, int flags), (dir, path, flags))
STEP(int, symlinkat, (const char *target, int dir, const char *path), (target, dir, path))
STEP(int, renameat, (int from_dir, const char *from, int to_dir, const char *to),
	(from_dir, from, to_dir, to))
STEP(int, renameat2, (int from_dir, const char *from, int to_dir, const char *to, unsigned flags),
	(from_dir, from, to_dir, to, flags))
STEP(ssize_t, write, (int fd, const void *data, size_t len), (fd, data, len))

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
	if (flags & O_CREAT)
		step();
	return next(dir, path, flags, mode);
}
