#include "hub/scan.h"
#include "lib/fs.h"
#include "lib/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

struct rights {
	uid_t uid;
	gid_t gid;
};

void scan_release(struct scan *s)
{
	for (size_t i = 0; i < FILES_MAX; i++)
		buf_release(&s->content[i]);
	s->files.count = 0;
}

/* The first owner other than root of a component of `path`, links not followed. 1 found, 0 all root's, -1. */
static int foreign_owner(const char *path, struct rights *ret, struct error *err)
{
	auto_free char *copy = mem_strdup(path);
	for (char *p = copy + 1;; p++) {
		struct stat st;
		const char kept = *p;
		if (kept != '/' && kept != '\0')
			continue;
		*p = '\0';
		if (lstat(copy, &st) < 0)
			return error_errno(err, "cannot look at %s", copy);
		*p = kept;
		if (st.st_uid != 0) {
			*ret = (struct rights){st.st_uid, st.st_gid};
			return 1;
		}
		if (!kept)
			return 0;
	}
}

static int find_rights(const char *directory, struct rights *ret, struct error *err)
{
	char resolved[PATH_MAX];
	*ret = (struct rights){0, 0};
	int found = foreign_owner(directory, ret, err);
	if (found != 0)
		return found < 0 ? -1 : 0;
	if (!realpath(directory, resolved))
		return error_errno(err, "cannot follow %s", directory);
	return foreign_owner(resolved, ret, err) < 0 ? -1 : 0;
}

/* setfsuid also takes the capabilities that override permissions out of force, and gives them back. */
static int take_rights(struct rights rights, struct error *err)
{
	setfsgid(rights.gid);
	setfsuid(rights.uid);
	/* They report what was before; only a second call tells whether the first one worked. */
	if (setfsuid((uid_t)-1) != (int)rights.uid || setfsgid((gid_t)-1) != (int)rights.gid)
		return error_set(
			err, ERROR_PERMANENT, "cannot take the rights of user %u", (unsigned)rights.uid);
	return 0;
}

static bool is_candidate(const char *name)
{
	static const char *const endings[] = {".pem", ".key", ".crt", ".cer"};
	size_t len = strlen(name);
	if (name[0] == '.' || len < 5)
		return false;
	for (size_t i = 0; i < COUNT(endings); i++)
		if (strcmp(name + len - 4, endings[i]) == 0)
			return true;
	return false;
}

static int name_compare(const void *left, const void *right)
{
	const char *const *a = left, *const *b = right;
	return strcmp(*a, *b);
}

/* The candidates' names, sorted, at most FILES_MAX + 1. */
static size_t list_names(int dirfd, char *names[FILES_MAX + 1], struct error *err)
{
	size_t count = 0;
	auto_close int copy = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;
	if (!dir) {
		error_errno(err, "cannot list it");
		return 0;
	}
	steal_fd(&copy);
	while (count <= FILES_MAX && (entry = readdir(dir))) {
		struct stat st;
		if (!is_candidate(entry->d_name) || fstatat(dirfd, entry->d_name, &st, 0) < 0)
			continue;
		if (S_ISREG(st.st_mode) && st.st_size <= FILES_FILE_MAX)
			names[count++] = mem_strdup(entry->d_name);
	}
	closedir(dir);
	qsort(names, count, sizeof(*names), name_compare);
	return count;
}

static int read_one(int dirfd, const char *name, struct scan *ret, struct error *err)
{
	struct buf *content = &ret->content[ret->files.count];
	*content = BUF_INIT(FILES_FILE_MAX);
	errno = 0;
	if (fs_read(dirfd, name, true, content, err) < 0) {
		buf_release(content);
		/* It went away or was swapped since it was listed: the next event brings the rest. */
		return errno == ENOENT ? 0 : -1;
	}
	return files_add(&ret->files, name, content->data, content->len);
}

static int read_all(const char *directory, struct scan *ret, struct error *err)
{
	char *names[FILES_MAX + 1];
	auto_close int dirfd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return error_errno(err, "cannot open it");
	*err = (struct error){.kind = ERROR_NONE};
	size_t count = list_names(dirfd, names, err);
	int result = err->kind == ERROR_NONE ? 0 : -1;
	if (count > FILES_MAX)
		result = error_set(err, ERROR_PERMANENT,
			"it holds more than %d files *.pem *.key *.crt *.cer: watch a "
			"directory of this certificate alone",
			FILES_MAX);
	for (size_t i = 0; i < count; i++) {
		if (result == 0)
			result = read_one(dirfd, names[i], ret, err);
		free(names[i]);
	}
	return result;
}

int scan_directory(const char *directory, const char *label, struct scan *ret, struct error *err)
{
	memset(ret, 0, sizeof(*ret));
	snprintf(ret->files.label, sizeof(ret->files.label), "%s", label);
	const bool root = geteuid() == 0;
	struct rights rights = {0, 0};
	struct error restored;
	if (root && find_rights(directory, &rights, err) < 0)
		return error_wrap(err, "watched directory %s", directory);
	int result = root ? take_rights(rights, err) : 0;
	if (result == 0)
		result = read_all(directory, ret, err);
	if (root && take_rights((struct rights){0, 0}, &restored) < 0)
		abort(); /* cannot happen, and nothing would be right afterwards */
	if (result < 0) {
		scan_release(ret);
		error_wrap(err, "watched directory %s", directory);
	}
	return result;
}
