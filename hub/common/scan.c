#include "hub/common/scan.h"
#include "hub/common/rights.h"
#include "lib/core/frame.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CANDIDATES_MAX = 50 * 1000, FILE_OVERHEAD = FILES_NAME_MAX + 16 };

void scan_release(struct scan *s)
{
	for (size_t i = 0; i < FILES_MAX; i++)
		buf_release(&s->content[i]);
	s->files.count = 0;
}

/* An entry of a directory. */

struct candidate {
	char *name;
	bool named, link;
	struct timespec modified;
	off_t size;
};

struct listing {
	struct candidate *items;
	size_t count;
};

static void listing_release(struct listing *l)
{
	for (size_t i = 0; i < l->count; i++)
		free(l->items[i].name);
	free(steal(l->items));
	l->count = 0;
}

static bool is_candidate(const char *name)
{
	static const char *const endings[] = {".pem", ".key", ".crt", ".cer"};
	size_t len = strlen(name);
	if (name[0] == '.' || len < 5 || len > 240)
		return false;
	for (size_t i = 0; i < COUNT(endings); i++)
		if (strcmp(name + len - 4, endings[i]) == 0)
			return true;
	return false;
}

/* lego's names are "mail.domain.pl.crt" for mail.domain.pl, and "_.domain.pl.key" for *.domain.pl. */
static bool is_named(const char *file, const char *const *names)
{
	for (; *names; names++) {
		const char *name = *names[0] == '*' ? *names + 1 : *names;
		const char *at = *names[0] == '*' && file[0] == '_' ? file + 1 : file;
		size_t len = strlen(name);
		if ((*names[0] != '*' || file[0] == '_') && strncasecmp(at, name, len) == 0 && at[len] == '.')
			return true;
	}
	return false;
}

static int list_names(int dirfd, const char *const *names, struct listing *ret, struct error *err)
{
	auto_close int copy = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;
	if (!dir)
		return error_errno(err, "cannot list it");
	steal_fd(&copy);
	while (ret->count < CANDIDATES_MAX && (entry = readdir(dir))) {
		if (!is_candidate(entry->d_name))
			continue;
		if ((ret->count & (ret->count - 1)) == 0)
			ret->items = mem_grow(ret->items, ret->count ? 2 * ret->count : 1, sizeof(*ret->items));
		ret->items[ret->count++] =
			(struct candidate){.name = mem_strdup(entry->d_name), .named = is_named(entry->d_name, names)};
	}
	closedir(dir);
	return 0;
}

/* Keeps those for which `keep` is true. */
static void filter(struct listing *l, bool (*keep)(struct candidate *item, int dirfd), int dirfd)
{
	size_t kept = 0;
	for (size_t i = 0; i < l->count; i++) {
		if (keep(&l->items[i], dirfd))
			l->items[kept++] = l->items[i];
		else
			free(l->items[i].name);
	}
	l->count = kept;
}

static bool keep_named(struct candidate *item, int dirfd)
{
	(void)dirfd;
	return item->named;
}

static bool keep_regular(struct candidate *item, int dirfd)
{
	struct stat st, own;
	if (fstatat(dirfd, item->name, &st, 0) < 0 || !S_ISREG(st.st_mode) || st.st_size > FILES_FILE_MAX)
		return false;
	item->link = fstatat(dirfd, item->name, &own, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(own.st_mode);
	item->modified = st.st_mtim;
	item->size = st.st_size;
	return true;
}

static int compare_rank(const void *left, const void *right)
{
	const struct candidate *a = left, *b = right;
	if (a->link != b->link)
		return a->link ? -1 : 1;
	if (a->modified.tv_sec != b->modified.tv_sec)
		return a->modified.tv_sec > b->modified.tv_sec ? -1 : 1;
	if (a->modified.tv_nsec != b->modified.tv_nsec)
		return a->modified.tv_nsec > b->modified.tv_nsec ? -1 : 1;
	return -strverscmp(a->name, b->name);
}

static int compare_name(const void *left, const void *right)
{
	const struct candidate *a = left, *b = right;
	return strcmp(a->name, b->name);
}

/* What one path may take of the frame. */
struct share {
	size_t files, bytes;
};

/* Keeps those that fit, from the first one on. */
static void keep_fitting(struct listing *l, struct share share)
{
	size_t kept = 0;
	for (size_t i = 0; i < l->count; i++) {
		const size_t bytes = (size_t)l->items[i].size + FILE_OVERHEAD;
		if (kept < share.files && bytes <= share.bytes) {
			share.bytes -= bytes;
			l->items[kept++] = l->items[i];
		} else {
			free(l->items[i].name);
		}
	}
	l->count = kept;
}

/* Lists the files to read, sorted by name; the others are counted. */
static int list_files(int dirfd, const char *const *names, struct share share, struct listing *ret,
	size_t *ret_left_out, struct error *err)
{
	bool any_named = false;
	if (list_names(dirfd, names, ret, err) < 0)
		return -1;
	size_t all = ret->count;
	if (!all)
		return 0;
	for (size_t i = 0; i < all && !any_named; i++)
		any_named = ret->items[i].named;
	if (all > share.files && any_named)
		filter(ret, keep_named, dirfd);
	*ret_left_out += all - ret->count;
	filter(ret, keep_regular, dirfd);
	size_t regular = ret->count;
	qsort(ret->items, ret->count, sizeof(*ret->items), compare_rank);
	keep_fitting(ret, share);
	*ret_left_out += regular - ret->count;
	qsort(ret->items, ret->count, sizeof(*ret->items), compare_name);
	return 0;
}

/* ---- reading ---- */

static int read_one(int dirfd, const char *path, const char *name, struct scan *ret, struct error *err)
{
	struct buf *content = &ret->content[ret->files.count];
	*content = BUF_INIT(FILES_FILE_MAX);
	if (fs_read(dirfd, path, true, content, err) < 0)
		return -1;
	return files_add(&ret->files, name, content->data, content->len);
}

/* A link of root's may lead to where another user has a say. */
static int read_link(const char *path, const char *name, struct scan *ret, struct error *err)
{
	struct rights rights;
	if (rights_enter(path, &rights, err) < 0)
		return -1;
	int result = read_one(AT_FDCWD, path, name, ret, err), code = errno;
	rights_leave();
	errno = code;
	return result;
}

static int read_directory(int dirfd, const char *path, bool roots, size_t number, const char *const *names,
	struct share share, struct scan *ret, struct error *err)
{
	struct listing list = {0};
	int result = list_files(dirfd, names, share, &list, &ret->left_out, err);
	for (size_t i = 0; i < list.count && result == 0; i++) {
		char name[FILES_NAME_MAX];
		snprintf(name, sizeof(name), "%u/%.240s", (unsigned)number, list.items[i].name);
		auto_free char *link =
			roots && list.items[i].link ? mem_printf("%s/%s", path, list.items[i].name) : NULL;
		errno = 0;
		result = link ? read_link(link, name, ret, err) : read_one(dirfd, list.items[i].name, name, ret, err);
		/* The file went away or was swapped since it was listed; the next event brings the rest. */
		if (result < 0 && errno == ENOENT) {
			buf_release(&ret->content[ret->files.count]);
			result = 0;
		}
	}
	listing_release(&list);
	return result;
}

static int read_path(const char *path, bool roots, size_t number, const char *const *names, struct share share,
	struct scan *ret, struct error *err)
{
	char name[FILES_NAME_MAX];
	auto_close int dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd >= 0)
		return read_directory(dirfd, path, roots, number, names, share, ret, err);
	if (errno != ENOTDIR)
		return error_errno(err, "cannot open it");
	const char *base = strrchr(path, '/');
	snprintf(name, sizeof(name), "%u/%.240s", (unsigned)number, base ? base + 1 : path);
	return read_one(AT_FDCWD, path, name, ret, err);
}

/* Says why what root could read is not read. */
static int tell_rights(const struct rights *rights, struct error *err)
{
	if (rights->shared && rights->gid == RIGHTS_NOBODY)
		return error_wrap(err,
			"everybody, or whom its access control list names, may write in a directory of it, so it is read with nobody's rights");
	if (rights->shared)
		return error_wrap(err,
			"group %u may write in a directory of it, so it is read with that group's rights alone "
			"(let the group read the files, or take its right to write away)",
			(unsigned)rights->gid);
	if (rights->uid)
		return error_wrap(
			err, "a part of it belongs to user %u, so it is read with his rights", (unsigned)rights->uid);
	return -1;
}

static int scan_path(const char *path, size_t number, const char *const *names, struct share share, struct scan *ret,
	struct error *err)
{
	struct rights rights;
	if (rights_enter(path, &rights, err) < 0)
		return error_wrap(err, "watched path %s", path);
	int result = read_path(path, geteuid() == 0 && !rights.uid, number, names, share, ret, err);
	rights_leave();
	if (result == 0)
		return 0;
	tell_rights(&rights, err);
	return error_wrap(err, "watched path %s", path);
}

int scan_paths(
	const char *const *paths, const char *label, const char *const *names, struct scan *ret, struct error *err)
{
	size_t count = 0;
	memset(ret, 0, sizeof(*ret));
	snprintf(ret->files.label, sizeof(ret->files.label), "%s", label);
	while (paths[count])
		count++;
	for (size_t i = 0; i < count; i++) {
		const struct share share = {FILES_MAX / count, (FRAME_FILES_MAX - FILES_LABEL_MAX) / count};
		if (scan_path(paths[i], i, names, share, ret, err) < 0) {
			scan_release(ret);
			return -1;
		}
	}
	return 0;
}

/* Says what can be told without the right to read the path. Returns 1, 0 when it does not exist or is out of sight, or
 * -1. */
static int check_type(const char *path, struct error *err)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return errno == ENOENT || (errno == EACCES && geteuid() != 0) ? 0
									      : error_errno(err, "cannot be reached");
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		return error_set(err, ERROR_USAGE, "is neither a directory nor a file");
	return 1;
}

int scan_check(const char *path, struct error *err)
{
	struct rights rights;
	int there = check_type(path, err);
	if (there <= 0 || !rights_are_ours_to_take())
		return there < 0 ? -1 : 0;
	if (rights_enter(path, &rights, err) < 0)
		return -1;
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	const int code = errno;
	rights_leave();
	if (fd >= 0)
		return 0;
	errno = code;
	if (rights.uid && !rights.shared)
		return error_errno(err, "cannot be read by user %u, to whom a part of the path belongs, so not for him",
			(unsigned)rights.uid);
	error_errno(err, "cannot be opened");
	return tell_rights(&rights, err);
}
