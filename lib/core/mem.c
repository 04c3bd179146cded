#include "lib/core/mem.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Above the limit, memory that a locked process asks for is refused, and that would end it. So the limit must have room
 * for much more than the process has at its start. */
enum { LOCK_ROOM = 4 };

/* Writes to standard error without allocating. */
static void say(const char *text)
{
	ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
	(void)ignored;
}

static void *checked(void *memory)
{
	if (!memory) {
		say("certsync: out of memory\n");
		abort();
	}
	return memory;
}

void mem_abort(const char *where)
{
	say("certsync: ");
	say(where);
	say(": out of memory, or a defect of the program\n");
	abort();
}

void *mem_alloc(size_t size)
{
	return checked(calloc(1, size ? size : 1));
}

void *mem_array(size_t count, size_t size)
{
	return checked(calloc(count ? count : 1, size ? size : 1));
}

void *mem_grow(void *array, size_t count, size_t size)
{
	return checked(reallocarray(array, count ? count : 1, size ? size : 1));
}

char *mem_strdup(const char *text)
{
	return checked(strdup(text));
}

char *mem_strndup(const char *text, size_t len)
{
	return checked(strndup(text, len));
}

char *mem_printf(const char *fmt, ...)
{
	char *text = NULL;
	va_list args;
	va_start(args, fmt);
	int len = vasprintf(&text, fmt, args);
	va_end(args);
	return checked(len < 0 ? NULL : text);
}

/* Returns how many bytes are mapped, or 0 when that cannot be known. */
static unsigned long long mapped(void)
{
	char text[64] = "";
	FILE *file = fopen("/proc/self/statm", "re");
	if (file && !fgets(text, sizeof(text), file))
		text[0] = '\0';
	if (file)
		fclose(file);
	return strtoull(text, NULL, 10) * (unsigned long long)sysconf(_SC_PAGESIZE);
}

static bool knows_no_limit(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[2];
	return syscall(SYS_capget, &header, sets) == 0 && (sets[0].effective & 1u << CAP_IPC_LOCK);
}

int mem_lock(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0)
		return -1;
	if (!knows_no_limit() && limit.rlim_cur != RLIM_INFINITY) {
		unsigned long long now = mapped();
		if (!now || limit.rlim_cur / LOCK_ROOM < now) {
			errno = ENOMEM;
			return -1;
		}
	}
	return mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
}

void mem_free_cleanup(void *pointer_to_pointer)
{
	void **pointer = pointer_to_pointer;
	free(*pointer);
	*pointer = NULL;
}

void mem_close_cleanup(const int *fd)
{
	if (*fd >= 0) {
		int saved = errno;
		close(*fd);
		errno = saved;
	}
}
