/* Records what happens to files below one directory, one line for each thing, in the order in which it was done:
 *
 *   C DIR NAME INODE KIND MODE [TARGET]   a file (f), directory (d) or symbolic link (l) was made
 *   L DIR NAME INODE     a hard link      U DIR NAME              removed
 *   R DIR NAME DIR NAME FLAGS  renamed    W INODE OFFSET HEX      written
 *   T INODE SIZE         cut or grown     M INODE MODE            given another mode
 *   S INODE (0: all)     made durable     K HEX                   written to standard output: a mark of the story
 *
 * Directories and files are inode numbers, so the directory must be on a file system that gives none out twice (tmpfs).
 * The log begins with making what was there, and with making it durable. A call that could change a file and is not
 * understood ends the recording.
 */
#include "tests/crash/trace.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct where {
	bool inside; /* the file lies below the root */
	ino_t directory;
	char name[NAME_MAX + 1];
	char path[PATH_MAX];
};

static char root[PATH_MAX];
static FILE *out;
static struct {
	pid_t pid;
	struct where from, to;
	bool existed;
} pending[256];

static void fail(const char *what, const struct call *c)
{
	fprintf(stderr, "record: %s (call %llu of %d)\n", what, (unsigned long long)c->number, (int)c->pid);
	exit(125);
}

static bool is_below(const char *path)
{
	size_t len = strlen(root);
	return strncmp(path, root, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

static ino_t inode_of(const char *path)
{
	struct stat st;
	return lstat(path, &st) == 0 ? st.st_ino : 0;
}

static void put_hex(const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		fprintf(out, "%02x", data[i]);
	fputc('\n', out);
}

static void put_file(const char *path, ino_t inode)
{
	uint8_t data[65536];
	FILE *file = fopen(path, "r");
	size_t len = file ? fread(data, 1, sizeof(data), file) : 0;
	if (file)
		fclose(file);
	if (len) {
		fprintf(out, "W %lu 0 ", (unsigned long)inode);
		put_hex(data, len);
	}
}

static void put_made(ino_t directory, const char *name, const char *path)
{
	struct stat st;
	char target[PATH_MAX] = "";
	if (lstat(path, &st) < 0)
		return;
	char kind = S_ISDIR(st.st_mode) ? 'd' : S_ISLNK(st.st_mode) ? 'l' : 'f';
	if (kind == 'l' && readlink(path, target, sizeof(target) - 1) < 0)
		return;
	fprintf(out, "C %lu %s %lu %c %o %s\n", (unsigned long)directory, name, (unsigned long)st.st_ino, kind,
		(unsigned)(st.st_mode & 07777), target);
}

static void put_tree(const char *path, ino_t inode)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;
	while (dir && (entry = readdir(dir))) {
		char below[PATH_MAX + NAME_MAX + 2];
		struct stat st;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		snprintf(below, sizeof(below), "%s/%s", path, entry->d_name);
		if (lstat(below, &st) < 0)
			continue;
		put_made(inode, entry->d_name, below);
		if (S_ISDIR(st.st_mode))
			put_tree(below, st.st_ino);
		else if (S_ISREG(st.st_mode))
			put_file(below, st.st_ino);
		fprintf(out, "S %lu\n", (unsigned long)st.st_ino);
	}
	if (dir)
		closedir(dir);
	fprintf(out, "S %lu\n", (unsigned long)inode);
}

void record_start(const char *directory, const char *log_path)
{
	if (!realpath(directory, root) || !(out = fopen(log_path, "a"))) {
		perror(log_path);
		exit(125);
	}
	if (ftell(out) == 0) {
		fprintf(out, "D %lu\n", (unsigned long)inode_of(root));
		put_tree(root, inode_of(root));
	}
	fputs("B\n", out);
}

static long lines;

long record_lines(void)
{
	return lines;
}

/* Copies memory of the traced process. */
static size_t take(pid_t pid, uint64_t from, void *to, size_t len)
{
	struct iovec local = {to, len}, remote = {(void *)(uintptr_t)from, len};
	ssize_t got = process_vm_readv(pid, &local, 1, &remote, 1, 0);
	return got < 0 ? 0 : (size_t)got;
}

static void take_text(pid_t pid, uint64_t from, char *to, size_t size)
{
	size_t at = 0;
	while (at < size - 1 && take(pid, from + at, to + at, 1) == 1 && to[at])
		at++;
	to[at] = '\0';
}

static struct where locate(pid_t pid, int64_t directory, uint64_t name)
{
	struct where w = {0};
	char given[PATH_MAX], base[64], joined[2 * PATH_MAX], parent[PATH_MAX];
	take_text(pid, name, given, sizeof(given));
	if ((int)directory == AT_FDCWD)
		snprintf(base, sizeof(base), "/proc/%d/cwd", (int)pid);
	else
		snprintf(base, sizeof(base), "/proc/%d/fd/%d", (int)pid, (int)directory);
	if (given[0] == '/')
		snprintf(joined, sizeof(joined), "%s", given);
	else
		snprintf(joined, sizeof(joined), "%s/%s", base, given);
	char *slash = strrchr(joined, '/');
	snprintf(w.name, sizeof(w.name), "%s", slash + 1);
	*slash = '\0';
	if (!realpath(joined, parent))
		return w;
	w.inside = is_below(parent);
	w.directory = inode_of(parent);
	snprintf(w.path, sizeof(w.path), "%.3800s/%.250s", parent, w.name);
	return w;
}

/* Returns the inode of a descriptor's file if that is below the root, else 0. */
static ino_t of_descriptor(pid_t pid, int64_t fd)
{
	char link[64], path[PATH_MAX];
	struct stat st;
	snprintf(link, sizeof(link), "/proc/%d/fd/%d", (int)pid, (int)fd);
	ssize_t len = readlink(link, path, sizeof(path) - 1);
	if (len <= 0)
		return 0;
	path[len] = '\0';
	return is_below(path) && stat(link, &st) == 0 ? st.st_ino : 0;
}

static int slot_of(pid_t pid)
{
	int free_slot = -1;
	for (int i = 0; i < 256; i++) {
		if (pending[i].pid == pid)
			return i;
		if (!pending[i].pid && free_slot < 0)
			free_slot = i;
	}
	pending[free_slot].pid = pid;
	return free_slot;
}

void record_forget(pid_t pid)
{
	for (int i = 0; i < 256; i++)
		if (pending[i].pid == pid)
			pending[i].pid = 0;
}

/* Tells which arguments of a call name a file: the directory's descriptor (-1: there is none) and the path. */
static bool names(const struct call *c, int *directory, int *path)
{
	static const struct {
		long number;
		int directory, path;
	} table[] = {
		{SYS_openat, 0, 1},
		{SYS_mkdirat, 0, 1},
		{SYS_unlinkat, 0, 1},
		{SYS_symlinkat, 1, 2},
		{SYS_renameat, 0, 1},
		{SYS_renameat2, 0, 1},
		{SYS_fchmodat, 0, 1},
#ifdef SYS_open
		{SYS_open, -1, 0},
		{SYS_mkdir, -1, 0},
		{SYS_unlink, -1, 0},
		{SYS_rmdir, -1, 0},
		{SYS_symlink, -1, 1},
		{SYS_rename, -1, 0},
		{SYS_chmod, -1, 0},
		{SYS_creat, -1, 0},
#endif
	};
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if ((uint64_t)table[i].number != c->number)
			continue;
		*directory = table[i].directory;
		*path = table[i].path;
		return true;
	}
	return false;
}

static void refuse_unknown(const struct call *c)
{
	static const long on_descriptor[] = {SYS_pwrite64, SYS_pwritev, SYS_fallocate, SYS_sendfile,
		SYS_copy_file_range, SYS_splice}; /* sync_file_range is not here: it only begins what fsync promises */
	for (size_t i = 0; i < sizeof(on_descriptor) / sizeof(on_descriptor[0]); i++)
		if (c->number == (uint64_t)on_descriptor[i] && of_descriptor(c->pid, (int64_t)c->args[0]))
			fail("a way to write that is not understood", c);
	if (c->number == SYS_mmap && (c->args[2] & PROT_WRITE) && (c->args[3] & MAP_SHARED) &&
		!(c->args[3] & MAP_ANONYMOUS) && of_descriptor(c->pid, (int64_t)c->args[4]))
		fail("a shared mapping of a file", c);
	if (c->number == SYS_linkat || c->number == SYS_sync || c->number == SYS_truncate)
		fail("a call that is not understood", c);
}

void record_before(const struct call *c)
{
	int directory, path, slot = slot_of(c->pid);
	refuse_unknown(c);
	if (!names(c, &directory, &path))
		return;
	pending[slot].from = locate(c->pid, directory < 0 ? AT_FDCWD : (int64_t)c->args[directory], c->args[path]);
	pending[slot].existed = inode_of(pending[slot].from.path) != 0;
	if (c->number == SYS_renameat || c->number == SYS_renameat2)
		pending[slot].to = locate(c->pid, (int64_t)c->args[2], c->args[3]);
#ifdef SYS_rename
	if (c->number == SYS_rename)
		pending[slot].to = locate(c->pid, AT_FDCWD, c->args[1]);
#endif
}

static void put_written(const struct call *c)
{
	static uint8_t data[1 << 20];
	ino_t inode = of_descriptor(c->pid, (int64_t)c->args[0]);
	size_t len = c->result > 0 ? (size_t)c->result : 0;
	if (!inode || !len) {
		if (c->args[0] != STDOUT_FILENO || !len || len > sizeof(data))
			return;
		fprintf(out, "K ");
		put_hex(data, take(c->pid, c->args[1], data, len));
		return;
	}
	char path[64], line[128];
	long long at = 0;
	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", (int)c->pid, (int)c->args[0]);
	FILE *info = fopen(path, "r");
	while (info && fgets(line, sizeof(line), info))
		if (sscanf(line, "pos: %lld", &at) == 1)
			break;
	if (info)
		fclose(info);
	if (len > sizeof(data) || take(c->pid, c->args[1], data, len) != len)
		fail("data that cannot be read", c);
	fprintf(out, "W %lu %lld ", (unsigned long)inode, at - (long long)len);
	put_hex(data, len);
}

static void put_renamed(const struct call *c, const struct where *from, const struct where *to)
{
	if (from->inside != to->inside)
		fail("a rename across the border of the directory", c);
	if (from->inside)
		fprintf(out, "R %lu %s %lu %s %d\n", (unsigned long)from->directory, from->name,
			(unsigned long)to->directory, to->name, c->number == SYS_renameat2 ? (int)c->args[4] : 0);
}

static bool makes(uint64_t number)
{
	return number == SYS_mkdirat || number == SYS_symlinkat
#ifdef SYS_mkdir
		|| number == SYS_mkdir || number == SYS_symlink
#endif
		;
}

static void put_named(const struct call *c, const struct where *w, bool existed)
{
	uint64_t flags = c->number == SYS_openat ? c->args[2] : 0;
#ifdef SYS_open
	if (c->number == SYS_open)
		flags = c->args[1];
#endif
	if (makes(c->number) || ((flags & O_CREAT) && !existed))
		put_made(w->directory, w->name, w->path);
	else if ((flags & O_TRUNC) && existed)
		fprintf(out, "T %lu 0\n", (unsigned long)inode_of(w->path));
	else if (c->number == SYS_unlinkat
#ifdef SYS_unlink
		|| c->number == SYS_unlink || c->number == SYS_rmdir
#endif
	)
		fprintf(out, "U %lu %s\n", (unsigned long)w->directory, w->name);
}

void record_after(const struct call *c)
{
	int directory, path, slot = slot_of(c->pid);
	long before = ftell(out);
	if (c->result < 0)
		return;
	if (c->number == SYS_write) {
		put_written(c);
	} else if (c->number == SYS_fsync || c->number == SYS_fdatasync) {
		ino_t inode = of_descriptor(c->pid, (int64_t)c->args[0]);
		if (inode)
			fprintf(out, "S %lu\n", (unsigned long)inode);
	} else if (c->number == SYS_syncfs) {
		if (of_descriptor(c->pid, (int64_t)c->args[0]))
			fputs("S 0\n", out);
	} else if (c->number == SYS_ftruncate || c->number == SYS_fchmod) {
		ino_t inode = of_descriptor(c->pid, (int64_t)c->args[0]);
		if (inode)
			fprintf(out, c->number == SYS_fchmod ? "M %lu %llo\n" : "T %lu %llu\n", (unsigned long)inode,
				(unsigned long long)c->args[1]);
	} else if (names(c, &directory, &path)) {
		if (c->number == SYS_renameat || c->number == SYS_renameat2
#ifdef SYS_rename
			|| c->number == SYS_rename
#endif
		)
			put_renamed(c, &pending[slot].from, &pending[slot].to);
		else if (pending[slot].from.inside)
			put_named(c, &pending[slot].from, pending[slot].existed);
	}
	lines += ftell(out) > before;
	fflush(out);
}
