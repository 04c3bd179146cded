#include "lib/core/fs.h"
#include "lib/core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_LEAST = 255, READ_MOST = 16384 };

int fs_read(int dirfd, const char *path, bool follow, struct buf *out, struct error *err)
{
	/* O_NONBLOCK keeps a FIFO from stopping us before fstat can refuse it. */
	int flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (follow ? 0 : O_NOFOLLOW);
	auto_close int fd = openat(dirfd, path, flags);
	struct stat st;
	if (fd < 0)
		return error_errno(err, "cannot open %s", path);
	if (fstat(fd, &st) < 0)
		return error_errno(err, "cannot look at %s", path);
	if (!S_ISREG(st.st_mode))
		return error_set(err, ERROR_PERMANENT, "%s is not a regular file", path);
	/* Room is made for what the file has now and one byte more, to see its end, since all that is reserved is
	 * zeroed and wiped. Files of /proc say that they have 0 bytes. */
	size_t wanted = st.st_size < READ_LEAST ? READ_LEAST
		: st.st_size < READ_MOST        ? (size_t)st.st_size + 1
						: READ_MOST;
	size_t whole = 0;
	for (;;) {
		size_t room = out->max - out->len;
		size_t take = room < wanted ? room : wanted;
		uint8_t probe[1];
		uint8_t *at = room ? buf_reserve(out, take) : probe;
		ssize_t got = read(fd, at, room ? take : 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_errno(err, "cannot read %s", path);
		if (got == 0)
			return 0;
		if (!room)
			return error_set(err, ERROR_PERMANENT, "%s is longer than %zu bytes", path, out->max);
		buf_added(out, (size_t)got);
		whole += (size_t)got;
		if ((size_t)got < take && whole == (size_t)st.st_size)
			return 0;
	}
}

/* Opens the directory part of `path`; *ret_name is the file part, borrowed from `path`. */
static int open_parent(int dirfd, const char *path, const char **ret_name, struct error *err)
{
	const char *slash = strrchr(path, '/');
	*ret_name = slash ? slash + 1 : path;
	auto_free char *parent = !slash ? mem_strdup(".")
		: slash == path         ? mem_strdup("/")
					: mem_strndup(path, (size_t)(slash - path));
	int fd = openat(dirfd, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_errno(err, "cannot open the directory %s", parent);
	return fd;
}

static void temporary_name(const char *name, char *out, size_t size)
{
	uint64_t number = 0;
	if (getrandom(&number, sizeof(number), 0) != sizeof(number))
		mem_abort(__func__);
	/* The name has a leading dot because HAProxy passes such names over in a crt directory. */
	snprintf(out, size, FS_TEMPORARY "%.100s.%08x", name, (unsigned)number);
}

static int write_all(int fd, const uint8_t *data, size_t len)
{
	while (len) {
		ssize_t put = write(fd, data, len);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -1;
		data += put;
		len -= (size_t)put;
	}
	return 0;
}

static int own(int fd, struct fs_owner owner)
{
	bool given = owner.uid != (uid_t)-1 || owner.gid != (gid_t)-1;
	if (given && fchown(fd, owner.uid, owner.gid) < 0)
		return -1;
	return fchmod(fd, owner.mode);
}

static int fill(int fd, const void *data, size_t len, struct fs_owner owner)
{
	if (write_all(fd, data, len) < 0 || own(fd, owner) < 0)
		return -1;
	return fsync(fd);
}

int fs_write(int dirfd, const char *path, const void *data, size_t len, struct fs_owner owner, struct error *err)
{
	const char *name;
	auto_close int parent = open_parent(dirfd, path, &name, err);
	if (parent < 0)
		return error_wrap(err, "cannot write %s", path);
	char temporary[NAME_MAX];
	temporary_name(name, temporary, sizeof(temporary));
	auto_close int fd = openat(parent, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_errno(err, "cannot write %s: cannot create a file beside it", path);
	if (fill(fd, data, len, owner) < 0 || renameat(parent, temporary, parent, name) < 0) {
		error_errno(err, "cannot write %s", path);
		unlinkat(parent, temporary, 0);
		return -1;
	}
	if (fs_sync_directory(parent, err) < 0)
		return error_wrap(err, "cannot write %s", path);
	return 0;
}

/* Makes a file with mode 0600 and sets its content on the way to the disk. Returns a descriptor or -1. */
static int create(int dirfd, const struct fs_new *file, struct error *err)
{
	auto_close int fd = openat(dirfd, file->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || write_all(fd, file->data, file->len) < 0 || own(fd, file->owner) < 0)
		return error_errno(err, "cannot write %s", file->name);
	/* This only starts the writing; fsync says whether it came to its end. */
	sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	return steal_fd(&fd);
}

int fs_fill_directory(int dirfd, const struct fs_new *files, size_t count, struct error *err)
{
	int fds[FS_NEW_MAX], result = 0;
	size_t made = 0;
	if (count > FS_NEW_MAX)
		mem_abort(__func__);
	while (result == 0 && made < count) {
		fds[made] = create(dirfd, &files[made], err);
		if (fds[made] < 0)
			result = -1;
		else
			made++;
	}
	for (size_t i = 0; i < made; i++) {
		if (result == 0 && fsync(fds[i]) < 0)
			result = error_errno(err, "cannot write %s", files[i].name);
		close(fds[i]);
	}
	return result < 0 ? -1 : fs_sync_directory(dirfd, err);
}

int fs_link(int dirfd, const char *path, const char *target, struct error *err)
{
	const char *name;
	auto_close int parent = open_parent(dirfd, path, &name, err);
	if (parent < 0)
		return error_wrap(err, "cannot link %s", path);
	char temporary[NAME_MAX];
	temporary_name(name, temporary, sizeof(temporary));
	if (symlinkat(target, parent, temporary) < 0)
		return error_errno(err, "cannot link %s", path);
	if (renameat(parent, temporary, parent, name) < 0) {
		error_errno(err, "cannot link %s", path);
		unlinkat(parent, temporary, 0);
		return -1;
	}
	if (fs_sync_directory(parent, err) < 0)
		return error_wrap(err, "cannot link %s", path);
	return 0;
}

/* Makes one directory and makes it durable in its parent. An existing one is made durable too, since whoever made it
 * may have been killed before he did. A parent that belongs to others may not be open to us, and is then theirs to see
 * to. */
static int make_one(const char *path, mode_t mode, struct error *err)
{
	const char *name;
	struct stat st;
	if (mkdir(path, mode) == 0) {
		auto_close int parent = open_parent(AT_FDCWD, path, &name, err);
		return parent < 0 ? -1 : fs_sync_directory(parent, err);
	}
	if (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
		struct error ignored;
		auto_close int parent = st.st_uid == geteuid() ? open_parent(AT_FDCWD, path, &name, &ignored) : -1;
		return parent < 0 || fsync(parent) == 0 || errno != EIO
			? 0
			: error_errno(err, "cannot sync the directory of %s", path);
	}
	if (errno == EEXIST)
		errno = ENOTDIR;
	return error_errno(err, "cannot make the directory %s", path);
}

int fs_make_directories(const char *path, mode_t mode, struct error *err)
{
	auto_free char *copy = mem_strdup(path);
	for (char *p = copy + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (make_one(copy, mode, err) < 0)
			return -1;
		*p = '/';
	}
	return make_one(copy, mode, err);
}

int fs_open_directory(int dirfd, const char *path, struct error *err)
{
	int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return error_errno(err, "cannot open the directory %s", path);
	return fd;
}

int fs_sync_directory(int dirfd, struct error *err)
{
	if (fsync(dirfd) < 0)
		return error_errno(err, "cannot sync a directory");
	return 0;
}

DIR *fs_list(int dirfd, struct error *err)
{
	/* A duplicate of `dirfd` would share its position, so the directory is opened anew. */
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		error_errno(err, "cannot list a directory");
		if (fd >= 0)
			close(fd);
	}
	return dir;
}

static int remove_contents(int fd, struct error *err);

static int remove_entry(int dirfd, const char *name, struct error *err)
{
	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return error_errno(err, "cannot remove %s", name);
	auto_close int sub = fs_open_directory(dirfd, name, err);
	if (sub < 0 || remove_contents(sub, err) < 0)
		return -1;
	if (unlinkat(dirfd, name, AT_REMOVEDIR) < 0)
		return error_errno(err, "cannot remove the directory %s", name);
	return 0;
}

static int remove_contents(int fd, struct error *err)
{
	DIR *dir = fs_list(fd, err);
	if (!dir)
		return -1;
	int result = 0;
	const struct dirent *entry;
	while (result == 0 && (entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			result = remove_entry(fd, entry->d_name, err);
	closedir(dir);
	return result;
}

static int remove_tree(int dirfd, const char *path, bool sync, struct error *err)
{
	const char *name;
	auto_close int parent = open_parent(dirfd, path, &name, err);
	if (parent < 0)
		return err->kind == ERROR_PERMANENT && errno == ENOENT ? 0 : -1;
	if (remove_entry(parent, name, err) < 0)
		return error_wrap(err, "cannot remove %s", path);
	return sync ? fs_sync_directory(parent, err) : 0;
}

int fs_remove_tree(int dirfd, const char *path, struct error *err)
{
	return remove_tree(dirfd, path, true, err);
}

int fs_discard_tree(int dirfd, const char *path, struct error *err)
{
	return remove_tree(dirfd, path, false, err);
}

int fs_wipe(int dirfd, const char *path, struct error *err)
{
	static const uint8_t zeros[4096];
	struct stat st;
	auto_close int fd = openat(dirfd, path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_errno(err, "cannot overwrite %s", path);
	if (!S_ISREG(st.st_mode))
		return error_set(err, ERROR_PERMANENT, "%s is not a regular file", path);
	for (off_t left = st.st_size; left > 0; left -= (off_t)sizeof(zeros))
		if (write_all(fd, zeros, left < (off_t)sizeof(zeros) ? (size_t)left : sizeof(zeros)) < 0)
			return error_errno(err, "cannot overwrite %s", path);
	if (fdatasync(fd) < 0 || (unlinkat(dirfd, path, 0) < 0 && errno != ENOENT))
		return error_errno(err, "cannot remove %s", path);
	return 0;
}

void fs_sweep(int dirfd)
{
	struct error ignored;
	DIR *dir = fs_list(dirfd, &ignored);
	if (!dir)
		return;
	const struct dirent *entry;
	while ((entry = readdir(dir)))
		if (strncmp(entry->d_name, FS_TEMPORARY, strlen(FS_TEMPORARY)) == 0)
			unlinkat(dirfd, entry->d_name, 0);
	closedir(dir);
}

void fs_sweep_beside(const char *path)
{
	struct error ignored;
	const char *slash = strrchr(path, '/');
	auto_free char *directory = slash ? mem_strndup(path, (size_t)(slash + 1 - path)) : mem_strdup(".");
	auto_close int fd = fs_open_directory(AT_FDCWD, directory, &ignored);
	if (fd >= 0)
		fs_sweep(fd);
}

const char *fs_program_directory(void)
{
	static char path[PATH_MAX];
	if (!path[0]) {
		char self[PATH_MAX];
		ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
		if (len <= 0) {
			fputs("certsync: /proc is not mounted: mount it, then start again\n", stderr);
			mem_abort(__func__);
		}
		self[len] = '\0';
		snprintf(path, sizeof(path), "%s", dirname(self));
	}
	return path;
}

/* ---- paths that others may have a hand in ---- */

static int step_into(int *fd, const char *component, const char *path, struct error *err)
{
	if (strcmp(component, "..") == 0)
		return error_set(err, ERROR_USAGE, "%s: \"..\" is not taken in a path", path);
	int next = openat(*fd, component, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (next < 0 && (errno == ELOOP || errno == ENOTDIR))
		return error_set(err, ERROR_PERMANENT,
			"%s: %s on the way is a symbolic link or no directory: name the real directory", path,
			component);
	if (next < 0)
		return error_errno(err, "%s: cannot open the directory %s on the way", path, component);
	close(*fd);
	*fd = next;
	return 0;
}

int fs_open_parent(const char *path, const char **ret_name, struct error *err)
{
	const char *slash = strrchr(path, '/');
	if (path[0] != '/' || !slash[1])
		return error_set(err, ERROR_USAGE, "%s is not an absolute path of a file", path);
	auto_free char *directories = mem_strndup(path, (size_t)(slash - path));
	auto_close int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_errno(err, "cannot open /");
	char *rest = NULL;
	for (char *c = strtok_r(directories, "/", &rest); c; c = strtok_r(NULL, "/", &rest))
		if (step_into(&fd, c, path, err) < 0)
			return -1;
	*ret_name = slash + 1;
	return steal_fd(&fd);
}
