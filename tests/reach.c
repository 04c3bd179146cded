/* Is loaded into every program of a story (/etc/ld.so.preload), and lets those of certsync say what they can reach. At
 * SIGRTMIN + 7 a process tries what the file `ask` beside this library lists, a line each:
 *
 *   list PATH · read PATH · write PATH · make PATH · run PATH · connect PORT · bind PORT · signal PID
 *
 * It writes the lines, each with 0 or the number of the error, and END behind them, to PID.said in the first directory
 * where it can, of those that the file `where` beside this library lists. Both files are opened when the program
 * starts, since afterwards it may be able to open none. They get the highest descriptors that there are, so that the
 * lowest free one stays what it was.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int ask = -1, said = -1;

static int opens(const char *path, int flags)
{
	int fd = open(path, flags | O_NONBLOCK | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

static int makes(const char *path)
{
	int code = opens(path, O_WRONLY | O_CREAT | O_EXCL);
	if (code == 0 && unlink(path) < 0)
		code = errno;
	return code;
}

static int runs(const char *path)
{
	char *const argv[] = {(char *)path, NULL};
	volatile int code = 0;
	pid_t pid = vfork();
	if (pid == 0) {
		execve(path, argv, environ);
		code = errno;
		_exit(1);
	}
	if (pid < 0)
		return errno;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return code;
}

static int at_port(const char *port, int (*use)(int, const struct sockaddr *, socklen_t))
{
	const struct sockaddr_in at = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)atoi(port)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return errno;
	int code = use(fd, (const struct sockaddr *)&at, sizeof(at)) < 0 ? errno : 0;
	close(fd);
	return code;
}

static int try(const char *what, const char *at)
{
	return strcmp(what, "list") == 0       ? opens(at, O_RDONLY | O_DIRECTORY)
		: strcmp(what, "read") == 0    ? opens(at, O_RDONLY)
		: strcmp(what, "write") == 0   ? opens(at, O_WRONLY)
		: strcmp(what, "make") == 0    ? makes(at)
		: strcmp(what, "run") == 0     ? runs(at)
		: strcmp(what, "connect") == 0 ? at_port(at, connect)
		: strcmp(what, "bind") == 0    ? at_port(at, bind)
		: kill(atoi(at), 0) < 0        ? errno
					       : 0;
}

/* A signal handler may use only system calls, and functions that work on a text of its own. */
static void on_ask(int number)
{
	(void)number;
	static char text[16384], line[PATH_MAX];
	int saved = errno;
	char *rest = NULL;
	ssize_t got = pread(ask, text, sizeof(text) - 1, 0);
	text[got > 0 ? got : 0] = '\0';
	off_t at = 0;
	for (char *what = strtok_r(text, "\n", &rest); what; what = strtok_r(NULL, "\n", &rest)) {
		char *space = strchr(what, ' ');
		if (!space)
			continue;
		*space = '\0';
		int code = try(what, space + 1);
		int len = snprintf(line, sizeof(line), "%s %s %d\n", what, space + 1, code);
		at += pwrite(said, line, (size_t)len, at);
	}
	at += pwrite(said, "END\n", 4, at);
	if (ftruncate(said, at) < 0)
		abort();
	errno = saved;
}

static int move_high(int fd)
{
	struct rlimit limit;
	int high = fd < 0 || getrlimit(RLIMIT_NOFILE, &limit) < 0
		? -1
		: fcntl(fd, F_DUPFD_CLOEXEC, (int)limit.rlim_cur - 16);
	close(fd);
	return high;
}

static int open_beside(const char *name)
{
	Dl_info self;
	char directory[PATH_MAX], path[PATH_MAX + 32];
	if (!dladdr((void *)(uintptr_t)open_beside, &self))
		return -1;
	snprintf(directory, sizeof(directory), "%s", self.dli_fname);
	snprintf(path, sizeof(path), "%s/%s", dirname(directory), name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static int open_said(void)
{
	char text[4096], path[PATH_MAX], *rest = NULL;
	int where = open_beside("where"), fd = -1;
	ssize_t got = where < 0 ? -1 : read(where, text, sizeof(text) - 1);
	close(where);
	text[got > 0 ? got : 0] = '\0';
	for (char *line = strtok_r(text, "\n", &rest); line && fd < 0; line = strtok_r(NULL, "\n", &rest)) {
		snprintf(path, sizeof(path), "%.3000s/%d.said", line, (int)getpid());
		fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	}
	return fd;
}

__attribute__((constructor)) static void listen_for_it(void)
{
	if (strncmp(program_invocation_short_name, "certsync", 8) != 0 &&
		strncmp(program_invocation_short_name, "-certsync", 9) != 0)
		return;
	ask = move_high(open_beside("ask"));
	said = move_high(open_said());
	struct sigaction action = {.sa_handler = on_ask, .sa_flags = SA_RESTART};
	if (ask >= 0 && said >= 0)
		sigaction(SIGRTMIN + 7, &action, NULL);
}
