#include "hub/common/rights.h"
#include "lib/core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { LINKS_MAX = 40 }; /* as many as the kernel follows */

/* A path being walked: `at` is the directory reached, `rest` what is still to be walked from there. */
struct walk {
	int at;
	char rest[2 * PATH_MAX];
	int links;
};

/* An access control list shows in the group's bits, which then say nothing of root's group. A descriptor of O_PATH has
 * no attributes itself, so the part is looked at through /proc. */
static bool has_acl(int part)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", part);
	return getxattr(path, "system.posix_acl_access", NULL, 0) > 0;
}

/* Returns true when this part is not root's alone. */
static bool judge(int part, const struct stat *st, bool last, struct rights *ret)
{
	if (st->st_uid != 0) {
		*ret = (struct rights){st->st_uid, st->st_gid, false};
		return true;
	}
	bool by_list = (st->st_mode & S_IWGRP) && S_ISDIR(st->st_mode) && has_acl(part);
	bool writable = (st->st_mode & S_IWOTH) || ((st->st_mode & S_IWGRP) && st->st_gid != 0) || by_list;
	if (!S_ISDIR(st->st_mode) || !writable || ((st->st_mode & S_ISVTX) && !last))
		return false;
	*ret = (struct rights){RIGHTS_NOBODY, by_list || (st->st_mode & S_IWOTH) ? RIGHTS_NOBODY : st->st_gid, true};
	return true;
}

/* What the link says is walked before the rest. */
static int take_link(struct walk *w, int link)
{
	char target[PATH_MAX];
	ssize_t len = readlinkat(link, "", target, sizeof(target) - 1);
	if (len <= 0 || w->links++ == LINKS_MAX || (size_t)len + 1 + strlen(w->rest) >= sizeof(w->rest)) {
		errno = len < 0 ? errno : ELOOP;
		return -1;
	}
	memmove(w->rest + len + 1, w->rest, strlen(w->rest) + 1);
	memcpy(w->rest, target, (size_t)len);
	w->rest[len] = '/';
	return 0;
}

/* An absolute path, or link, begins here. */
static int go_to_root(struct walk *w)
{
	int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return -1;
	if (w->at >= 0)
		close(w->at);
	w->at = root;
	size_t slashes = strspn(w->rest, "/");
	memmove(w->rest, w->rest + slashes, strlen(w->rest + slashes) + 1);
	return 0;
}

/* Takes the next part off the rest. */
static int take_part(struct walk *w, char part[NAME_MAX + 1])
{
	size_t len = strcspn(w->rest, "/");
	if (len > NAME_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(part, len ? w->rest : ".", len ? len : 1);
	part[len ? len : 1] = '\0';
	len += strspn(w->rest + len, "/");
	memmove(w->rest, w->rest + len, strlen(w->rest + len) + 1);
	return 0;
}

/* Returns 1 when it has reached a part that is not root's alone, 0 to go on, or -1 with errno. */
static int step(struct walk *w, struct rights *ret)
{
	char part[NAME_MAX + 1];
	struct stat st;
	if ((w->rest[0] == '/' && go_to_root(w) < 0) || take_part(w, part) < 0)
		return -1;
	auto_close int next = openat(w->at, part, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (next < 0 || fstat(next, &st) < 0)
		return -1;
	if (judge(next, &st, !w->rest[0], ret))
		return 1;
	if (S_ISLNK(st.st_mode))
		return take_link(w, next);
	close(w->at);
	w->at = steal_fd(&next);
	return 0;
}

int rights_find(const char *path, struct rights *ret, struct error *err)
{
	struct walk w = {.at = -1};
	int reached = 0;
	*ret = (struct rights){0, 0, false};
	if (path[0] != '/' || strlen(path) >= sizeof(w.rest))
		return error_set(err, ERROR_USAGE, "%s is not an absolute path", path);
	memcpy(w.rest, path, strlen(path) + 1);
	do
		reached = step(&w, ret);
	while (reached == 0 && w.rest[0]);
	int code = errno;
	if (w.at >= 0)
		close(w.at);
	errno = code;
	return reached < 0 ? error_errno(err, "cannot follow %s", path) : 0;
}

/* The kernel takes a change of these for one of identity: it forgets the signal that is to come when the parent ends,
 * and that there is to be no core (prctl(2)). So both are set again. */
static int become(uid_t uid, gid_t gid)
{
	int with_parent = 0;
	const pid_t parent = getppid();
	prctl(PR_GET_PDEATHSIG, &with_parent);
	(void)setfsgid(gid);
	(void)setfsuid(uid);
	prctl(PR_SET_DUMPABLE, 0);
	prctl(PR_SET_PDEATHSIG, with_parent);
	if (with_parent && getppid() != parent)
		raise(with_parent);
	/* Both report what was before, so only a second call tells whether the first one worked. */
	return setfsuid((uid_t)-1) == (int)uid && setfsgid((gid_t)-1) == (int)gid ? 0 : -1;
}

/* setfsuid also takes the capabilities that override permissions out of force, and gives them back. */
int rights_take(const struct rights *rights, struct error *err)
{
	if (setgroups(0, NULL) == 0 && become(rights->uid, rights->gid) == 0)
		return 0;
	return error_set(err, ERROR_PERMANENT, "cannot take the rights of user %u", (unsigned)rights->uid);
}

void rights_return(void)
{
	if (become(0, 0) < 0)
		mem_abort(__func__); /* cannot happen, and nothing would be right afterwards */
}

bool rights_are_ours_to_take(void)
{
	const struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[2];
	const unsigned needed = 1U << CAP_SETUID | 1U << CAP_SETGID;
	return geteuid() == 0 && syscall(SYS_capget, &header, sets) == 0 && (sets[0].effective & needed) == needed;
}

int rights_enter(const char *path, struct rights *ret, struct error *err)
{
	*ret = (struct rights){0, 0, false};
	if (geteuid() != 0)
		return 0;
	if (rights_find(path, ret, err) < 0)
		return -1;
	if (rights_take(ret, err) == 0)
		return 0;
	rights_return();
	return -1;
}

void rights_leave(void)
{
	if (geteuid() == 0)
		rights_return();
}
