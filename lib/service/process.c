#include "lib/service/process.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Says what a failed look at /proc means. */
static enum process_answer failed(int error)
{
	return error == ENOENT || error == ESRCH ? PROCESS_NO : PROCESS_HIDDEN;
}

int process_open(pid_t pid)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static enum process_answer read_text(int fd, const char *file, struct buf *out)
{
	struct error err;
	if (fs_read(fd, file, false, out, &err) == 0)
		return PROCESS_YES;
	return faccessat(fd, file, R_OK, AT_EACCESS) < 0 ? failed(errno) : PROCESS_HIDDEN;
}

static bool read_users(const char *status, struct process *ret)
{
	unsigned uid[4];
	const char *line = strstr(status, "\nUid:");
	/* NOLINTNEXTLINE(cert-err34-c): the kernel writes these numbers */
	if (!line || sscanf(line, "\nUid: %u %u %u %u", &uid[0], &uid[1], &uid[2], &uid[3]) != 4)
		return false;
	ret->uid = uid[0];
	ret->trusted = ret->one_user = true;
	for (size_t k = 0; k < COUNT(uid); k++) {
		ret->trusted = ret->trusted && (uid[k] == 0 || uid[k] == geteuid());
		ret->one_user = ret->one_user && uid[k] == uid[0];
	}
	return true;
}

enum process_answer process_read(int fd, pid_t pid, const char *name, struct process *ret)
{
	auto_buf struct buf stat = BUF_INIT(4096), status = BUF_INIT(64 * 1024);
	struct process p = {.pid = pid};
	enum process_answer answer = read_text(fd, "stat", &stat);
	if (answer != PROCESS_YES)
		return answer;
	const char *text = buf_text(&stat), *from = strchr(text, '('), *end = strrchr(text, ')');
	size_t len = strlen(name);
	if (!from || !end || (size_t)(end - from - 1) != len || strncmp(from + 1, name, len) != 0)
		return PROCESS_NO;
	char state;
	int parent;
	/* NOLINTNEXTLINE(cert-err34-c): the kernel writes these numbers */
	if (sscanf(end + 1, " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &state,
		    &parent, &p.started) != 3 ||
		state == 'Z')
		return PROCESS_NO;
	p.parent = parent;
	answer = read_text(fd, "status", &status);
	if (answer == PROCESS_YES && !read_users(buf_text(&status), &p))
		answer = PROCESS_NO;
	if (answer == PROCESS_YES)
		*ret = p;
	return answer;
}

/* Returns false where /proc may show us less than there is: an unprivileged user under hidepid= does not see init. */
static bool is_complete(void)
{
	return geteuid() == 0 || access("/proc/1/stat", F_OK) == 0;
}

enum process_answer process_list(const char *name, struct process **ret_list, size_t *ret_count)
{
	struct process *list = NULL;
	size_t count = 0;
	DIR *proc = opendir("/proc");
	bool hidden = !proc || !is_complete();
	const struct dirent *entry;
	while (proc && (entry = readdir(proc))) {
		struct process found = {0};
		int pid = isdigit((unsigned char)entry->d_name[0]) ? (int)strtol(entry->d_name, NULL, 10) : 0;
		if (pid <= 0)
			continue;
		auto_close int fd = process_open(pid);
		enum process_answer answer = fd < 0 ? failed(errno) : process_read(fd, pid, name, &found);
		hidden = hidden || answer == PROCESS_HIDDEN;
		if (answer != PROCESS_YES)
			continue;
		list = mem_grow(list, count + 1, sizeof(*list));
		list[count++] = found;
	}
	if (proc)
		closedir(proc);
	*ret_list = list;
	*ret_count = count;
	return hidden ? PROCESS_HIDDEN : PROCESS_YES;
}

enum process_answer process_words(int fd, struct buf *out)
{
	enum process_answer answer = read_text(fd, "cmdline", out);
	return answer == PROCESS_YES && (out->len == 0 || out->data[out->len - 1]) ? PROCESS_NO : answer;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev;
}

/* Says whether the process sees under this name in its own /proc/PID what we see under `ours`. */
static enum process_answer shares(int fd, const char *file, const char *ours)
{
	struct stat mine, its;
	if (fstatat(fd, file, &its, 0) < 0 || stat(ours, &mine) < 0)
		return failed(errno);
	return same_file(&mine, &its) ? PROCESS_YES : PROCESS_NO;
}

static bool link_read(int fd, const char *file, char target[PATH_MAX])
{
	ssize_t len = readlinkat(fd, file, target, PATH_MAX - 1);
	target[len < 0 ? 0 : len] = '\0';
	return len > 0;
}

/* Recognizes a program that has locked itself up in a directory of ours after its start. Unlike a container's, that
 * directory has the same name for us, and unlike a chroot's, its program is not in there. */
static enum process_answer is_locked_up(int fd)
{
	char root[PATH_MAX], exe[PATH_MAX];
	if (!link_read(fd, "root", root) || !link_read(fd, "exe", exe))
		return failed(errno);
	size_t len = strlen(root);
	if (strncmp(exe, root, len) == 0 && exe[len] == '/')
		return PROCESS_NO;
	return shares(fd, "root", root);
}

/* su and its like take any name and any words from any user, and are root's processes while they ask for a password. */
static enum process_answer runs_program(int fd, bool trusted)
{
	struct stat its, own;
	if (fstatat(fd, "exe", &its, 0) < 0)
		return failed(errno);
	if (stat("/proc/self/exe", &own) < 0 || same_file(&its, &own) || (its.st_mode & (S_ISUID | S_ISGID)))
		return PROCESS_NO;
	return trusted || (its.st_uid == 0 && !(its.st_mode & (S_IWGRP | S_IWOTH))) ? PROCESS_YES : PROCESS_NO;
}

enum process_answer process_is_ours(int fd)
{
	enum process_answer answer = shares(fd, "ns/pid", "/proc/self/ns/pid");
	if (answer != PROCESS_YES)
		return answer;
	answer = shares(fd, "root", "/");
	return answer == PROCESS_NO ? is_locked_up(fd) : answer;
}

enum process_answer process_is_here(int fd, const struct process *p)
{
	enum process_answer answer = process_is_ours(fd);
	return answer == PROCESS_YES ? runs_program(fd, p->trusted) : answer;
}

enum { SOCKETS_MAX = 1024, DESCRIPTORS_MAX = 1024, STATE_LISTEN = 0x0a };

struct sockets {
	unsigned long inode[SOCKETS_MAX];
	size_t count;
};

/* Listening sockets stand first in the kernel's table, which has a line for each connection, too. */
static void read_sockets(int fd, const char *path, struct sockets *ret)
{
	char line[512];
	auto_close int table = openat(fd, path, O_RDONLY | O_CLOEXEC);
	FILE *in = table < 0 ? NULL : fdopen(table, "r");
	if (!in)
		return;
	table = -1;
	bool more = fgets(line, sizeof(line), in) != NULL; /* its heading */
	while (more && ret->count < SOCKETS_MAX && fgets(line, sizeof(line), in)) {
		unsigned state, uid;
		unsigned long inode;
		/* NOLINTNEXTLINE(cert-err34-c): the kernel writes these numbers */
		more = sscanf(line, " %*d: %*s %*s %x %*s %*s %*s %u %*s %lu", &state, &uid, &inode) == 3 &&
			state == STATE_LISTEN;
		if (more && (uid == 0 || uid == geteuid()))
			ret->inode[ret->count++] = inode;
	}
	fclose(in);
}

static bool holds(int directory, const char *name, const struct sockets *sockets)
{
	char target[64];
	unsigned long inode;
	ssize_t len = readlinkat(directory, name, target, sizeof(target) - 1);
	target[len > 0 ? len : 0] = '\0';
	/* NOLINTNEXTLINE(cert-err34-c): the kernel writes these numbers */
	if (sscanf(target, "socket:[%lu]", &inode) != 1)
		return false;
	for (size_t k = 0; k < sockets->count; k++)
		if (sockets->inode[k] == inode)
			return true;
	return false;
}

bool process_serves(int fd)
{
	struct sockets sockets = {.count = 0};
	read_sockets(fd, "net/tcp", &sockets);
	read_sockets(fd, "net/tcp6", &sockets);
	int descriptors = sockets.count ? openat(fd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	DIR *dir = descriptors < 0 ? NULL : fdopendir(descriptors);
	const struct dirent *entry;
	bool found = false;
	if (!dir)
		return false;
	/* A service opens its ports before anything else. */
	for (int seen = 0; !found && seen < DESCRIPTORS_MAX && (entry = readdir(dir)); seen++)
		found = holds(dirfd(dir), entry->d_name, &sockets);
	closedir(dir);
	return found;
}

/* Returns whether this is "/system.slice/NAME.service", or a service in a slice of the administrator's, and not one
 * below a user's or a machine's manager. */
static bool is_system_service(const char *path)
{
	static const char *const delegated[] = {"/user.slice/", "/machine.slice/"};
	static const char slice[] = ".slice", service[] = ".service";
	for (size_t k = 0; k < COUNT(delegated); k++)
		if (strncmp(path, delegated[k], strlen(delegated[k])) == 0)
			return false;
	const char *name = path + 1, *slash;
	for (; (slash = strchr(name, '/')); name = slash + 1) {
		size_t len = (size_t)(slash - name), end = strlen(slice);
		if (len <= end || strncmp(slash - end, slice, end) != 0)
			return false;
	}
	size_t len = strlen(name), end = strlen(service);
	return path[0] == '/' && name != path + 1 && len > end && strcmp(name + len - end, service) == 0;
}

/* A line of /proc/PID/cgroup is ID:CONTROLLERS:PATH. systemd's is the hierarchy of its name, or the unified one. */
static const char *service_of(const char *line)
{
	const char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
	if (!path)
		return NULL;
	bool own = strncmp(controllers, ":name=systemd:", (size_t)(path + 1 - controllers)) == 0 ||
		strncmp(line, "0::", 3) == 0;
	return own && is_system_service(path + 1) ? path + 1 : NULL;
}

enum process_answer process_unit(int fd, struct buf *out)
{
	auto_buf struct buf text = BUF_INIT(64 * 1024);
	enum process_answer answer = read_text(fd, "cgroup", &text);
	if (answer != PROCESS_YES)
		return answer;
	buf_text(&text);
	char *rest = (char *)text.data, *line;
	while ((line = strsep(&rest, "\n"))) {
		const char *path = service_of(line);
		if (path)
			return buf_add(out, path, strlen(path)) == 0 ? PROCESS_YES : PROCESS_NO;
	}
	return PROCESS_NO;
}
