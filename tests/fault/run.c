#include "tests/fault/run.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SAID_MAX = 64 * 1024, LIMIT = 120, SITES_MAX = 8192, LEAKED = 86, SHOWN = 12 };

/* LeakSanitizer has this function, where it is linked. */
int __lsan_do_recoverable_leak_check(void) __attribute__((weak));
const char *__asan_default_options(void);

/* A report of the sanitizer gives an exit status that no story has. */
const char *__asan_default_options(void)
{
	return "exitcode=87:detect_leaks=1:malloc_context_size=12:quarantine_size_mb=8";
}

struct run {
	const struct run_story *story;
	struct fault_seen *seen;
	char said[SAID_MAX];
	void *sites[SITES_MAX];
	size_t site_count;
	long runs, refused, aborted, theirs, wrong;
};

static void fail(const char *what)
{
	perror(what);
	exit(2);
}

static void said_path(const struct run *r, char path[4096])
{
	snprintf(path, 4096, "%s/err", r->story->scratch);
}

static void read_said(struct run *r)
{
	char path[4096];
	said_path(r, path);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? 0 : read(fd, r->said, sizeof(r->said) - 1);
	r->said[got < 0 ? 0 : got] = '\0';
	if (fd >= 0)
		close(fd);
}

static void redirect(const struct run *r, const char *name, int to, int flags)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/%s", r->story->scratch, name);
	int fd = open(path, O_WRONLY | O_CREAT | flags, 0600);
	if (fd < 0 || dup2(fd, to) < 0)
		fail(path);
	if (fd != to)
		close(fd);
}

static int without_leaks(int status)
{
	return status <= 1 && __lsan_do_recoverable_leak_check && __lsan_do_recoverable_leak_check() ? LEAKED : status;
}

/* Runs the story with this call failing, and returns its wait status. Its standard output is appended to `said`, for a
 * judge. */
static int run_child(struct run *r, const struct fault_plan *plan)
{
	int status;
	pid_t pid = fork();
	if (pid < 0)
		fail("fork");
	if (pid == 0) {
		setpgid(0, 0);
		redirect(r, "said", STDOUT_FILENO, O_APPEND);
		redirect(r, "err", STDERR_FILENO, O_TRUNC);
		alarm(LIMIT);
		fault_begin(plan, r->seen);
		int result = r->story->run(r->story->context);
		fault_end();
		_exit(without_leaks(result));
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			fail("waitpid");
	kill(-pid, SIGKILL); /* kills what the story may have left running */
	return status;
}

static int judge_child(struct run *r)
{
	int status;
	if (!r->story->judge)
		return 0;
	pid_t pid = fork();
	if (pid < 0)
		fail("fork");
	if (pid == 0) {
		redirect(r, "err", STDERR_FILENO, O_TRUNC);
		if (dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
			fail("dup2");
		alarm(LIMIT);
		int result = r->story->judge(r->story->context);
		fflush(stdout);
		_exit(result);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			fail("waitpid");
	return status;
}

static bool names_a_reason(const struct run *r)
{
	if (r->story->may_be_mute)
		return true;
	size_t len = strlen(r->story->name);
	const char *at = strstr(r->said, r->story->name);
	return at && strncmp(at + len, ": ", 2) == 0 && strcspn(at + len + 2, "\n") >= 12;
}

/* Whether the program ended for want of memory, by design and with a word about it (lib/core/mem.h). */
static bool is_out_of_memory(const struct run *r, int status)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT &&
		(r->story->may_abort || (strstr(r->said, "certsync: ") && strstr(r->said, "out of memory")));
}

/* OpenSSL 3.0 itself leaks when an allocation fails inside one of its calls: a pair of 16 bytes and the name that it
 * copied for it. The report is checked for these two and nothing else. */
static bool is_leak_of_libcrypto(const struct run *r)
{
	return strstr(r->said, "Direct leak of 16 byte(s) in 1 object(s)") && strstr(r->said, " in CRYPTO_zalloc ") &&
		strstr(r->said, " in CRYPTO_strndup ") && strstr(r->said, "leaked in 2 allocation(s)");
}

static const char *what_is_wrong(struct run *r, const struct fault_plan *plan, int status)
{
	if (r->story->secret && strstr(r->said, r->story->secret))
		return "it tells a key";
	if (is_out_of_memory(r, status)) {
		r->aborted++;
		return NULL;
	}
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == SIGALRM ? "it hangs" : strsignal(WTERMSIG(status));
	if (WEXITSTATUS(status) == LEAKED && plan->call == FAULT_ALLOCATION && is_leak_of_libcrypto(r)) {
		r->theirs++;
		return NULL;
	}
	if (WEXITSTATUS(status) == LEAKED)
		return "it leaks";
	if (WEXITSTATUS(status) > 1)
		return "it ends with a status of its own";
	if (WEXITSTATUS(status) == 0)
		return NULL;
	r->refused++;
	return names_a_reason(r) ? NULL : "no word of why";
}

static void complain(struct run *r, const struct fault_plan *plan, const char *what)
{
	if (++r->wrong <= SHOWN)
		printf("%s: %s %s %ld, at %p: %s:\n%.6000s\n", r->story->name, plan->on ? "for ever" : "once",
			fault_name(plan->call), plan->at, r->seen->site, what, r->said);
}

static void add_site(struct run *r)
{
	for (size_t i = 0; i < r->site_count; i++)
		if (r->sites[i] == r->seen->site)
			return;
	if (r->seen->site && r->site_count < SITES_MAX)
		r->sites[r->site_count++] = r->seen->site;
}

static void run_once(struct run *r, const struct fault_plan *plan)
{
	memset(r->seen, 0, sizeof(*r->seen));
	if (r->story->prepare)
		r->story->prepare(r->story->context);
	int status = run_child(r, plan);
	r->runs++;
	add_site(r);
	read_said(r);
	const char *what = what_is_wrong(r, plan, status);
	if (what) {
		complain(r, plan, what);
		return;
	}
	status = judge_child(r);
	if (status == 0)
		return;
	read_said(r);
	complain(r, plan, WIFSIGNALED(status) ? "afterwards it dies" : "afterwards");
}

static void run_call(struct run *r, size_t call, double from, double step, long count)
{
	for (double at = from; at < (double)count; at += step) {
		struct fault_plan plan = {.call = call, .at = 1 + (long)at};
		run_once(r, &plan);
		plan.on = true;
		run_once(r, &plan);
	}
}

/* Runs with every call of every function failing, or with evenly so many of them as there is time for, the first one of
 * each function always among them. */
static void run_calls(struct run *r, const struct run_budget *budget, const long *counts)
{
	long all = 0;
	for (size_t i = 1; i < fault_calls(); i++)
		all += counts[i];
	double step = 2.0 * (double)all / (double)(budget->calls ? budget->calls : 1);
	for (size_t i = 1; budget->calls && i < fault_calls(); i++)
		run_call(r, i, 0, step < 1 ? 1 : step, counts[i]);
	step = 2.0 * (double)counts[FAULT_ALLOCATION] / (double)(budget->allocations ? budget->allocations : 1);
	step = step < 1 ? 1 : step;
	if (budget->allocations)
		run_call(r, FAULT_ALLOCATION, step * (budget->seed % 997) / 997, step, counts[FAULT_ALLOCATION]);
}

static double seconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Writes the sites that were reached to the file CERTSYNC_FAULT_SITES, from which addr2line(1) tells their lines. */
static void tell_sites(const struct run *r)
{
	const char *path = getenv("CERTSYNC_FAULT_SITES");
	FILE *file = path ? fopen(path, "a") : NULL;
	extern char __executable_start;
	for (size_t i = 0; file && i < r->site_count; i++)
		fprintf(file, "%#lx\n", (unsigned long)((char *)r->sites[i] - &__executable_start));
	if (file)
		fclose(file);
}

static void tell(const struct run *r, const long *counts, double began)
{
	long all = 0;
	for (size_t i = 1; i < fault_calls(); i++)
		all += counts[i];
	printf("%s: %ld runs (%ld refused, %ld out of memory, %ld leaks of libcrypto's own), %zu places, of %ld calls and %ld "
	       "allocations, %ld wrong, %.0f s\n",
		r->story->name, r->runs, r->refused, r->aborted, r->theirs, r->site_count, all,
		counts[FAULT_ALLOCATION], r->wrong, seconds() - began);
	tell_sites(r);
}

long run_all(const struct run_story *story, const struct run_budget *budget)
{
	static struct run r;
	const struct fault_plan none = {0};
	static long counts[FAULT_CALLS_MAX];
	double began = seconds();
	if (!r.seen) {
		r.seen = mmap(NULL, sizeof(*r.seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (r.seen == MAP_FAILED)
			fail("mmap");
	}
	struct fault_seen *seen = r.seen;
	memset(&r, 0, sizeof(r));
	r.seen = seen;
	r.story = story;
	setvbuf(stdout, NULL, _IOLBF, 0);
	run_once(&r, &none);
	if (r.wrong || r.refused) {
		printf("%s: it does not succeed when nothing fails: %s\n", story->name, r.said);
		return -1;
	}
	memcpy(counts, r.seen->counts, sizeof(counts));
	r.runs = 0;
	run_calls(&r, budget, counts);
	tell(&r, counts, began);
	return r.wrong;
}
