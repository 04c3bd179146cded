/* A confined process: what it may do still works, what it may not is refused by the kernel, and where the kernel has no
 * Landlock everything works and a sentence says so. Each case runs in a child of its own, since there is no way
 * back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/core/confine.h"
#include "scratch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

/* What a case needs is made before it is confined. */
struct scene {
	char base[256], inside[300], outside[300], program[300];
	struct sockaddr_in server; /* somebody listens there */
	uint16_t free_port;
	int status; /* /proc/self/status, opened */
	pid_t stranger;
};

typedef void case_run(struct scene *s);

#define check(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition, strerror(errno)); \
			_exit(1); \
		} \
	} while (0)

/* Whether Landlock refused this call. */
#define is_refused(call) ((call) < 0 && errno == EACCES)

static void write_text(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, mode);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static int listen_here(struct sockaddr_in *ret)
{
	socklen_t len = sizeof(*ret);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	*ret = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	assert_int_equal(bind(fd, (struct sockaddr *)ret, sizeof(*ret)), 0);
	assert_int_equal(listen(fd, 5), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)ret, &len), 0);
	return fd;
}

static void in_a_child(void **state, case_run *run)
{
	const struct scratch *scratch = *state;
	struct scene s = {.stranger = getpid()};
	struct sockaddr_in other;
	int server = listen_here(&s.server), spare = listen_here(&other);
	close(spare);
	s.free_port = ntohs(other.sin_port);
	snprintf(s.base, sizeof(s.base), "%s", scratch->path);
	snprintf(s.inside, sizeof(s.inside), "%s/inside", s.base);
	snprintf(s.outside, sizeof(s.outside), "%s/outside", s.base);
	snprintf(s.program, sizeof(s.program), "/bin/true");
	for (int i = 0; i < 2; i++) {
		char path[800];
		const char *directory = i ? s.outside : s.inside;
		assert_int_equal(mkdir(directory, 0700), 0);
		snprintf(path, sizeof(path), "%s/file", directory);
		write_text(path, "text", 0600);
		snprintf(path, sizeof(path), "%s/other", directory);
		assert_int_equal(mkdir(path, 0700), 0);
	}
	pid_t pid = fork();
	if (pid == 0) {
		s.status = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
		run(&s);
		_exit(0);
	}
	int status = -1;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(server);
	assert_int_equal(status, 0);
}

/* Returns the number behind `name:` in the process's own /proc/self/status. */
static uint64_t told(const struct scene *s, const char *name)
{
	static char text[8192];
	ssize_t got = pread(s->status, text, sizeof(text) - 1, 0);
	check(got > 0);
	text[got] = '\0';
	const char *line = strstr(text, name);
	check(line);
	return strtoull(line + strlen(name) + 1, NULL, 16);
}

static int try_open(const char *directory, const char *name, int flags)
{
	char path[800];
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	int fd = open(path, flags | O_CLOEXEC, 0600), code = errno;
	if (fd >= 0)
		close(fd);
	errno = code;
	return fd < 0 ? -1 : 0;
}

static int try_rename(const char *from_directory, const char *from, const char *to_directory, const char *to)
{
	char old[800], new[800];
	snprintf(old, sizeof(old), "%s/%s", from_directory, from);
	snprintf(new, sizeof(new), "%s/%s", to_directory, to);
	return rename(old, new);
}

static int try_connect(const struct scene *s)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int result = connect(fd, (const struct sockaddr *)&s->server, sizeof(s->server)), code = errno;
	close(fd);
	errno = code;
	return result;
}

static int try_listen(uint16_t port)
{
	const struct sockaddr_in at = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	int result = bind(fd, (const struct sockaddr *)&at, sizeof(at)), code = errno;
	close(fd);
	errno = code;
	return result;
}

static int try_run(const char *program)
{
	char *const argv[] = {(char *)(uintptr_t)program, NULL}, *const none[] = {NULL};
	int status = -1;
	pid_t pid = fork();
	if (pid == 0) {
		execve(program, argv, none);
		_exit(errno == EACCES ? 126 : 127);
	}
	check(pid > 0 && waitpid(pid, &status, 0) == pid);
	return WEXITSTATUS(status);
}

/* ---- cases ---- */

static void nothing(struct scene *s)
{
	const struct confine may = {0};
	struct confinement c = confine(&may);
	check(c.state == CONFINEMENT_WHOLE && !confine_fault(&c).text && c.code == 0);
	check(told(s, "NoNewPrivs") == 1);
	check(told(s, "CapEff") == 0 && told(s, "CapPrm") == 0 && told(s, "CapInh") == 0);
	check(geteuid() != 0 || told(s, "CapBnd") == 0); /* only with CAP_SETPCAP can it be emptied */
	check(prctl(PR_GET_DUMPABLE) == 0);
	struct rlimit core;
	check(getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_max == 0);
	check(is_refused(try_open(s->inside, "file", O_RDONLY)));
	check(is_refused(try_open(s->inside, "file", O_WRONLY)));
	check(is_refused(try_open(s->inside, "new", O_WRONLY | O_CREAT)));
	check(is_refused(try_open("/etc", "passwd", O_RDONLY)));
	check(is_refused(try_open("/dev", "null", O_RDWR)));
	check(try_run("/bin/true") == 126);
	check(c.version < 4 || (is_refused(try_connect(s)) && is_refused(try_listen(s->free_port))));
	check(c.version < 6 || (kill(s->stranger, 0) < 0 && errno == EPERM));
}

static void nothing_is_left_to_who_may_do_nothing(void **state)
{
	in_a_child(state, nothing);
}

static void reading(struct scene *s)
{
	const struct confine_path paths[] = {
		{CONFINE_READ, s->inside}, {CONFINE_READ, NULL}, {CONFINE_READ, "/nonexistent"}};
	const struct confine may = {.paths = paths, .path_count = COUNT(paths)};
	check(confine(&may).state == CONFINEMENT_WHOLE);
	check(try_open(s->inside, "file", O_RDONLY) == 0);
	check(try_open(s->inside, ".", O_RDONLY | O_DIRECTORY) == 0);
	check(is_refused(try_open(s->inside, "file", O_RDWR)));
	check(is_refused(try_open(s->inside, "new", O_WRONLY | O_CREAT)));
	check(is_refused(try_rename(s->inside, "file", s->inside, "new")));
	check(is_refused(try_open(s->outside, "file", O_RDONLY)));
}

static void who_reads_does_not_write(void **state)
{
	in_a_child(state, reading);
}

static void writing(struct scene *s)
{
	const struct confine_path paths[] = {{CONFINE_WRITE, s->inside}, {CONFINE_WRITE, "/dev/null"}};
	const struct confine may = {.paths = paths, .path_count = COUNT(paths)};
	check(confine(&may).state == CONFINEMENT_WHOLE);
	check(try_open(s->inside, "file", O_RDWR | O_TRUNC) == 0);
	check(try_open("/dev", "null", O_RDWR) == 0);
	check(is_refused(try_open(s->inside, "new", O_WRONLY | O_CREAT)));
	check(is_refused(try_rename(s->inside, "file", s->inside, "new")));
}

static void who_writes_makes_no_file(void **state)
{
	in_a_child(state, writing);
}

static void changing(struct scene *s)
{
	const struct confine_path paths[] = {{CONFINE_CHANGE, s->inside}};
	const struct confine may = {.paths = paths, .path_count = COUNT(paths)};
	char deeper[400], link_path[400];
	struct confinement c = confine(&may);
	check(c.state == CONFINEMENT_WHOLE);
	snprintf(deeper, sizeof(deeper), "%s/other", s->inside);
	snprintf(link_path, sizeof(link_path), "%s/link", s->inside);
	check(try_open(s->inside, "new", O_WRONLY | O_CREAT) == 0);
	check(try_rename(s->inside, "new", s->inside, "newer") == 0);
	/* this needs the right REFER, and fails with EXDEV without it */
	check(try_rename(s->inside, "newer", deeper, "moved") == 0);
	check(symlink("other", link_path) == 0 && unlink(link_path) == 0);
	check(mkdir(link_path, 0700) == 0 && rmdir(link_path) == 0);
	check(is_refused(mkfifo(link_path, 0600)));
	check(is_refused(try_open(s->outside, "new", O_WRONLY | O_CREAT)));
	check(try_rename(deeper, "moved", s->outside, "moved") < 0 && (errno == EACCES || errno == EXDEV));
	check(try_rename(s->outside, "file", s->inside, "taken") < 0 && (errno == EACCES || errno == EXDEV));
}

static void who_changes_does_so_below_its_directory(void **state)
{
	in_a_child(state, changing);
}

static void running(struct scene *s)
{
	const struct confine_path paths[] = {{CONFINE_EXECUTE, s->program}};
	const struct confine may = {.paths = paths, .path_count = COUNT(paths), .resolves = true};
	check(confine(&may).state == CONFINEMENT_WHOLE);
	check(try_run(s->program) == 0);
	check(try_run("/bin/sh") == 126);
	check(try_open("/etc", "resolv.conf", O_RDONLY) == 0);
	check(is_refused(try_open("/etc", "resolv.conf", O_WRONLY)));
	check(is_refused(try_open(s->outside, "file", O_RDONLY)));
}

static void who_runs_one_program_runs_no_other(void **state)
{
	in_a_child(state, running);
}

static void connecting(struct scene *s)
{
	const struct confine may = {.connects = true};
	check(confine(&may).state == CONFINEMENT_WHOLE);
	check(try_connect(s) == 0);
	check(confine_version() < 4 || is_refused(try_listen(s->free_port)));
}

static void listening(struct scene *s)
{
	const uint16_t ports[] = {s->free_port, 0};
	const struct confine may = {.ports = ports};
	check(confine(&may).state == CONFINEMENT_WHOLE);
	check(try_listen(s->free_port) == 0);
	check(confine_version() < 4 || is_refused(try_connect(s)));
	check(confine_version() < 4 || is_refused(try_listen(s->free_port == 9 ? 10 : 9)));
}

static void ports_are_told_one_by_one(void **state)
{
	in_a_child(state, connecting);
	const struct scratch *scratch = *state;
	struct error err;
	char path[300];
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", scratch->path, i ? "outside" : "inside");
		assert_int_equal(fs_remove_tree(AT_FDCWD, path, &err), 0);
	}
	in_a_child(state, listening);
}

static void signalling(struct scene *s)
{
	const struct confine may = {.signals = true};
	pid_t own = fork();
	if (own == 0)
		for (;;)
			pause();
	check(confine(&may).state == CONFINEMENT_WHOLE);
	check(kill(s->stranger, 0) == 0 || geteuid() != getuid());
	check(kill(own, SIGKILL) == 0 && waitpid(own, NULL, 0) == own);
}

static void who_may_signal_does(void **state)
{
	in_a_child(state, signalling);
}

static void alone(struct scene *s)
{
	(void)s;
	const struct confine may = {.descriptors = 4};
	check(close(s->status) == 0);
	for (int fd = 3; fd < 100; fd++)
		close(fd);
	check(confine(&may).state == CONFINEMENT_WHOLE);
	int ends[2];
	check(pipe(ends) < 0 && errno == EMFILE);
	check(dup(0) == 3 && dup(0) < 0 && errno == EMFILE);
	check(geteuid() == 0 || (fork() < 0 && errno == EAGAIN));
}

static void who_has_all_it_needs_opens_and_starts_no_more(void **state)
{
	in_a_child(state, alone);
}

/* This process is root and keeps the one right that it needs. */
static void keeping(struct scene *s)
{
	const struct confine may = {.capabilities = UINT64_C(1) << CAP_DAC_READ_SEARCH};
	if (geteuid() != 0)
		return;
	check(confine(&may).state == CONFINEMENT_WHOLE);
	check(told(s, "CapEff") == may.capabilities && told(s, "CapPrm") == may.capabilities);
	check(told(s, "CapBnd") == 0);
}

static void one_capability_can_stay(void **state)
{
	in_a_child(state, keeping);
}

/* ---- kernels that have less ---- */

static const char *fallback(struct scene *s, int version, enum confinement_state expected)
{
	const struct confine_path paths[] = {{CONFINE_CHANGE, s->inside}};
	const struct confine may = {.paths = paths, .path_count = COUNT(paths)};
	struct confinement c = confine_at(&may, version);
	check(c.state == expected);
	check(told(s, "NoNewPrivs") == 1 && told(s, "CapEff") == 0 && prctl(PR_GET_DUMPABLE) == 0);
	check(try_open(s->inside, "new", O_WRONLY | O_CREAT) == 0);
	check(try_connect(s) == 0 && try_run("/bin/true") == 0);
	check(confine_fault(&c).text);
	return confine_fault(&c).remedy;
}

static void not_built(struct scene *s)
{
	check(strstr(fallback(s, -ENOSYS, CONFINEMENT_NOT_BUILT), "CONFIG_SECURITY_LANDLOCK"));
}

static void disabled(struct scene *s)
{
	check(strstr(fallback(s, -EOPNOTSUPP, CONFINEMENT_DISABLED), "lsm="));
}

static void filtered(struct scene *s)
{
	check(strstr(fallback(s, -EPERM, CONFINEMENT_FILTERED), "SystemCallFilter="));
}

static void first_version(struct scene *s)
{
	check(strstr(fallback(s, 1, CONFINEMENT_TOO_OLD), "5.19"));
}

static void first_version_for_who_renames_nothing(struct scene *s)
{
	const struct confine_path paths[] = {{CONFINE_READ, s->inside}};
	const struct confine may = {.paths = paths, .path_count = COUNT(paths)};
	check(confine_at(&may, 1).state == CONFINEMENT_WHOLE);
	check(try_open(s->inside, "file", O_RDONLY) == 0 && is_refused(try_open(s->outside, "file", O_RDONLY)));
	check(try_connect(s) == 0);
}

static void third_version(struct scene *s)
{
	const struct confine_path paths[] = {{CONFINE_CHANGE, s->inside}};
	const struct confine may = {.paths = paths, .path_count = COUNT(paths)};
	check(confine_at(&may, 3).state == CONFINEMENT_WHOLE);
	check(try_open(s->inside, "new", O_WRONLY | O_CREAT | O_TRUNC) == 0 &&
		is_refused(try_open(s->outside, "file", O_RDONLY)));
	check(try_connect(s) == 0 && kill(s->stranger, 0) == 0);
}

static void no_landlock_is_no_failure(void **state)
{
	static case_run *const runs[] = {
		not_built, disabled, filtered, first_version, first_version_for_who_renames_nothing, third_version};
	const struct scratch *scratch = *state;
	struct error err;
	for (size_t i = 0; i < COUNT(runs); i++) {
		in_a_child(state, runs[i]);
		char path[300];
		for (int k = 0; k < 2; k++) {
			snprintf(path, sizeof(path), "%s/%s", scratch->path, k ? "outside" : "inside");
			assert_int_equal(fs_remove_tree(AT_FDCWD, path, &err), 0);
		}
	}
}

int main(void)
{
	if (confine_look().state != CONFINEMENT_WHOLE) {
		struct confinement c = confine_look();
		fprintf(stderr, "this machine cannot judge: %s\n", confine_fault(&c).text);
		return 1;
	}
#define in_scratch(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)
	const struct CMUnitTest tests[] = {
		in_scratch(nothing_is_left_to_who_may_do_nothing),
		in_scratch(who_reads_does_not_write),
		in_scratch(who_writes_makes_no_file),
		in_scratch(who_changes_does_so_below_its_directory),
		in_scratch(who_runs_one_program_runs_no_other),
		in_scratch(ports_are_told_one_by_one),
		in_scratch(who_may_signal_does),
		in_scratch(who_has_all_it_needs_opens_and_starts_no_more),
		in_scratch(one_capability_can_stay),
		in_scratch(no_landlock_is_no_failure),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
