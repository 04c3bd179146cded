#include "lib/core/owned.h"
#include "lib/core/mem.h"

#include <limits.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { LINKS_MAX = 40 };

struct walk {
	char done[PATH_MAX]; /* what has passed, without links in it; "" is the root directory */
	char *rest;          /* owned; what is to come */
	int links;
};

static int judge(const char *path, const struct stat *st, const struct proc_user *also, struct error *err)
{
	bool sticky = S_ISDIR(st->st_mode) && (st->st_mode & S_ISVTX);
	mode_t others = also && st->st_gid == also->gid ? S_IWOTH : S_IWGRP | S_IWOTH;
	if (st->st_uid != 0 && st->st_uid != geteuid() && (!also || st->st_uid != also->uid))
		return error_set(err, ERROR_PERMANENT,
			"%s belongs to user %u, who could change what root uses: chown root %s", path,
			(unsigned)st->st_uid, path);
	/* A link has no mode of its own. Whoever may write to a socket may speak to it, but cannot put another one in
	 * its place. */
	if (!S_ISLNK(st->st_mode) && !S_ISSOCK(st->st_mode) && !sticky && (st->st_mode & others))
		return error_set(err, ERROR_PERMANENT, "%s can be written by %s than its owner: chmod go-w %s", path,
			st->st_mode & S_IWOTH ? "others" : "a group other", path);
	return 0;
}

static int follow(struct walk *w, const char *link, struct error *err)
{
	char target[PATH_MAX];
	ssize_t len = readlink(link, target, sizeof(target) - 1);
	if (len < 0)
		return error_errno(err, "cannot read the link %s", link);
	if (++w->links > LINKS_MAX)
		return error_set(err, ERROR_PERMANENT, "%s: too many symbolic links", link);
	target[len] = '\0';
	if (target[0] == '/')
		w->done[0] = '\0';
	char *rest = mem_printf("%s/%s", target, w->rest);
	free(w->rest);
	w->rest = rest;
	return 0;
}

/* A link of /proc/PID/fd leads to the open file itself, whatever its text says: nobody can put another one there. */
static bool is_descriptor(const struct walk *w)
{
	struct statfs st;
	size_t len = strlen(w->done);
	return len > 3 && strcmp(w->done + len - 3, "/fd") == 0 && statfs(w->done, &st) == 0 &&
		st.f_type == PROC_SUPER_MAGIC;
}

static int step(struct walk *w, const char *name, const struct proc_user *also, struct error *err)
{
	struct stat st;
	if (strcmp(name, "..") == 0) {
		char *slash = strrchr(w->done, '/');
		if (slash)
			*slash = '\0';
		return 0;
	}
	auto_free char *path = mem_printf("%s/%s", w->done, name);
	if (strlen(path) >= sizeof(w->done))
		return error_set(err, ERROR_PERMANENT, "%s: the path is too long", path);
	if (lstat(path, &st) < 0)
		return error_errno(err, "cannot look at %s", path);
	if (judge(path, &st, also, err) < 0)
		return -1;
	if (S_ISLNK(st.st_mode) && is_descriptor(w) && w->rest[0] == '\0')
		return stat(path, &st) < 0 ? error_errno(err, "cannot look at %s", path) : judge(path, &st, also, err);
	if (S_ISLNK(st.st_mode))
		return follow(w, path, err);
	strcpy(w->done, path);
	return 0;
}

static char *absolute(const char *path)
{
	char here[PATH_MAX];
	if (path[0] == '/' || !getcwd(here, sizeof(here)))
		return mem_strdup(path);
	return mem_printf("%s/%s", here, path);
}

int owned_check(const char *path, const struct proc_user *also, struct error *err)
{
	struct stat st;
	struct walk w = {.rest = absolute(path)};
	int result = stat("/", &st) < 0 ? error_errno(err, "cannot look at /") : judge("/", &st, also, err);
	while (result == 0 && w.rest[0]) {
		size_t start = strspn(w.rest, "/"), len = strcspn(w.rest + start, "/");
		auto_free char *name = mem_strndup(w.rest + start, len);
		memmove(w.rest, w.rest + start + len, strlen(w.rest + start + len) + 1);
		if (len && strcmp(name, ".") != 0)
			result = step(&w, name, also, err);
	}
	free(w.rest);
	return result;
}
