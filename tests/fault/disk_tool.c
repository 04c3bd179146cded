/* disk_tool [-n RUNS] [-m RUNS] [-s SEED] DIR STORY… runs the stories of tests/crash/story.h with each of their calls
 * failing in turn (tests/fault/run.h; -m: each of their allocations). tests/crash/Crash.pm has made them ready in DIR,
 * with DIR/base/STORY and what had been said until then. After each run the disk is judged as it was left, the product
 * starts again on it, and one more revision goes all the way (tests/crash/check.h). The exit code is 0, or 1 when
 * anything is wrong. */
#include "lib/core/log.h"
#include "tests/crash/check.h"
#include "tests/crash/story.h"
#include "tests/fault/run.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_SIZE = 4096 };

struct disk {
	char dir[PATH_SIZE], base[PATH_SIZE], scratch[PATH_SIZE + 16];
	const char *story;
};

static char text[1 << 16];

static void must(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(2);
}

static void remove_tree(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	while (dir && (entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (entry->d_type == DT_DIR)
			remove_tree(fd, entry->d_name);
		else
			must(unlinkat(fd, entry->d_name, 0) == 0, entry->d_name);
	}
	if (dir)
		closedir(dir);
	must(unlinkat(at, name, AT_REMOVEDIR) == 0 || errno == ENOENT, name);
}

static void copy_file(int from, int to, const char *name, const struct stat *st)
{
	int in = openat(from, name, O_RDONLY | O_CLOEXEC);
	int out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, st->st_mode & 07777);
	must(in >= 0 && out >= 0 && fchmod(out, st->st_mode & 07777) == 0, name);
	ssize_t got;
	while ((got = read(in, text, sizeof(text))) > 0)
		must(write(out, text, (size_t)got) == got, name);
	must(got == 0 && futimens(out, (struct timespec[]){st->st_atim, st->st_mtim}) == 0, name);
	close(in);
	close(out);
}

static void copy_tree(int from_parent, const char *from_name, int to_parent, const char *to_name)
{
	struct stat st;
	int from = openat(from_parent, from_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(from >= 0 && fstat(from, &st) == 0 && mkdirat(to_parent, to_name, 0700) == 0, from_name);
	int to = openat(to_parent, to_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(to >= 0 && fchmod(to, st.st_mode & 07777) == 0, to_name);
	DIR *dir = fdopendir(from);
	const struct dirent *entry;
	while ((entry = readdir(dir))) {
		char target[PATH_SIZE] = "";
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		must(fstatat(from, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0, entry->d_name);
		if (S_ISDIR(st.st_mode))
			copy_tree(from, entry->d_name, to, entry->d_name);
		else if (S_ISREG(st.st_mode))
			copy_file(from, to, entry->d_name, &st);
		else if (S_ISLNK(st.st_mode))
			must(readlinkat(from, entry->d_name, target, sizeof(target) - 1) > 0 &&
					symlinkat(target, to, entry->d_name) == 0,
				entry->d_name);
	}
	closedir(dir);
	close(to);
}

static void prepare(void *context)
{
	const struct disk *d = context;
	char path[2 * PATH_SIZE];
	snprintf(path, sizeof(path), "%s/disk", d->dir);
	remove_tree(AT_FDCWD, path);
	copy_tree(AT_FDCWD, d->base, AT_FDCWD, path);
	snprintf(path, sizeof(path), "%s/said", d->scratch);
	unlink(path);
	snprintf(path, sizeof(path), "%s.said", d->base);
	int from = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "%s/said", d->scratch);
	int to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	must(from >= 0 && to >= 0, path);
	ssize_t got = read(from, text, sizeof(text));
	must(got >= 0 && write(to, text, (size_t)got) == got, path);
	close(from);
	close(to);
}

static int run(void *context)
{
	const struct disk *d = context;
	return story_run(d->dir, d->story);
}

static int check(const char *dir, bool recovered, const char *when)
{
	char disk[PATH_SIZE + 16], why[1024];
	snprintf(disk, sizeof(disk), "%s/disk", dir);
	if (crash_check(disk, text, recovered, why, sizeof(why)) == 0)
		return 0;
	printf("%s: %s\n", when, why);
	return 1;
}

static int judge(void *context)
{
	const struct disk *d = context;
	char path[2 * PATH_SIZE];
	snprintf(path, sizeof(path), "%s/said", d->scratch);
	FILE *file = fopen(path, "r");
	must(file != NULL, path);
	text[fread(text, 1, sizeof(text) - 32, file)] = '\0';
	fclose(file);
	story_quiet = true;
	if (check(d->dir, false, "as it was left") || story_recover(d->dir) || check(d->dir, true, "after the start") ||
		story_resume(d->dir))
		return 1;
	strcat(text, "\ndoing resumption\n");
	return check(d->dir, true, "after one more revision");
}

/* Returns a line of one of the private keys that the stories publish. */
static const char *secret_of(const char *dir)
{
	static char line[80];
	char path[PATH_SIZE + 16];
	snprintf(path, sizeof(path), "%s/pem/2.pem", dir);
	FILE *file = fopen(path, "r");
	must(file && fgets(line, sizeof(line), file) && fgets(line, sizeof(line), file), path);
	fclose(file);
	line[strcspn(line, "\n")] = '\0';
	return line;
}

static long run_story(struct disk *d, const char *top, const char *name, const struct run_budget *budget)
{
	snprintf(d->base, sizeof(d->base), "%.4000s/base/%.64s", top, name);
	snprintf(d->scratch, sizeof(d->scratch), "%s", d->dir);
	d->story = name;
	const struct run_story story = {.name = name,
		.run = run,
		.prepare = prepare,
		.judge = judge,
		.context = d,
		.scratch = d->scratch,
		.secret = secret_of(d->dir)};
	return run_all(&story, budget);
}

/* Each program has a disk of its own, so that stories may run beside each other. */
static void open_disk(struct disk *d, const char *top)
{
	char path[2 * PATH_SIZE];
	snprintf(d->dir, sizeof(d->dir), "%.4000s/runs.XXXXXX", top);
	must(mkdtemp(d->dir) != NULL, d->dir);
	int at = open(d->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(path, sizeof(path), "%s/pem", top);
	copy_tree(AT_FDCWD, path, at, "pem");
	snprintf(path, sizeof(path), "%s/hooks", top);
	copy_tree(AT_FDCWD, path, at, "hooks");
	close(at);
}

int main(int argc, char **argv)
{
	struct run_budget budget = {.calls = 1000000, .allocations = 1000000};
	static struct disk d;
	long wrong = 0;
	int option;
	while ((option = getopt(argc, argv, "n:m:s:")) != -1) {
		if (option == '?')
			return 2;
		if (option == 's')
			budget.seed = (unsigned)strtoul(optarg, NULL, 10);
		else
			*(option == 'n' ? &budget.calls : &budget.allocations) = strtol(optarg, NULL, 10);
	}
	if (optind + 2 > argc) {
		fputs("usage: disk_tool [-n RUNS] [-m RUNS] [-s SEED] DIR STORY...\n", stderr);
		return 2;
	}
	log_open("disk_tool");
	umask(077);
	open_disk(&d, argv[optind]);
	for (int i = optind + 1; i < argc; i++) {
		long found = run_story(&d, argv[optind], argv[i], &budget);
		wrong += found < 0 ? 1 : found;
	}
	remove_tree(AT_FDCWD, d.dir);
	return wrong ? 1 : 0;
}
