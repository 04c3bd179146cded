#include "lib/cli/doctor_place.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct mending {
	char *base, *below;
	uid_t uid;
	gid_t gid;
	mode_t mode;
	bool directory, make;
};

static void mending_free(void *what)
{
	struct mending *m = what;
	free(m->base);
	free(m->below);
	free(m);
}

/* Returns a descriptor that names the place and opens nothing, or -1 with errno. Only `base` may be reached by
 * links. */
static int open_place(const char *base, const char *below)
{
	auto_close int at = open(base, O_PATH | O_CLOEXEC | (*below ? O_DIRECTORY : O_NOFOLLOW));
	auto_free char *copy = mem_strdup(below);
	char *rest = copy, *word;
	while (at >= 0 && *below && (word = strsep(&rest, "/"))) {
		int next = openat(at, word, O_PATH | O_CLOEXEC | O_NOFOLLOW);
		int why = errno;
		close(steal_fd(&at));
		at = next;
		errno = why;
	}
	return steal_fd(&at);
}

static int check_kind(const struct stat *st, bool directory, struct error *err)
{
	if (directory ? !S_ISDIR(st->st_mode) : !S_ISREG(st->st_mode))
		return error_set(err, ERROR_PERMANENT, "is no %s", directory ? "directory" : "regular file");
	if (!directory && st->st_nlink > 1)
		return error_set(err, ERROR_PERMANENT, "has a second name (a hard link): left as it is");
	return 0;
}

static int mend_place(void *what, struct error *err)
{
	struct mending *m = what;
	struct stat st;
	auto_free char *path = mem_printf("%s%s%s", m->base, *m->below ? "/" : "", m->below);
	if (m->make) {
		mode_t before = umask(022);
		int made = fs_make_directories(path, 0755, err);
		umask(before);
		if (made < 0)
			return -1;
	}
	auto_close int fd = open_place(m->base, m->below);
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_errno(err, "cannot open %s", path);
	if (check_kind(&st, m->directory, err) < 0)
		return error_wrap(err, "%s", path);
	/* The mode is changed through /proc, since a descriptor of O_PATH does not allow it. */
	char self[64];
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (fchownat(fd, "", m->uid, m->gid, AT_EMPTY_PATH) < 0 || chmod(self, m->mode) < 0)
		return error_errno(err, "cannot change %s", path);
	return 0;
}

struct wanted {
	uid_t uid;
	gid_t gid;
};

/* Returns false when such a user or group is missing, which another check tells. */
static bool find_owner(const struct doctor_place *p, struct wanted *w)
{
	const struct passwd *user = p->owner ? getpwnam(p->owner) : NULL;
	const struct group *group = p->group ? getgrnam(p->group) : NULL;
	*w = (struct wanted){user ? user->pw_uid : (uid_t)-1, group ? group->gr_gid : (gid_t)-1};
	return (!p->owner || user) && (!p->group || group);
}

static void propose(struct doctor_finding *finding, const struct doctor_place *p, const struct wanted *w, bool make)
{
	auto_free char *path = mem_printf("%s%s%s", p->base, *p->below ? "/" : "", p->below);
	const char *owner = p->owner ? p->owner : "", *group = p->group ? p->group : "";
	if (make)
		doctor_remedy(finding, "install -d -o %s -g %s -m %04o %s", p->owner ? owner : "root",
			p->group ? group : "root", p->mode, path);
	else if (p->owner || p->group)
		doctor_remedy(finding, "chown %s%s%s %s && chmod %04o %s", owner, p->group ? ":" : "", group, path,
			p->mode, path);
	else
		doctor_remedy(finding, "chmod %04o %s", p->mode, path);
	struct mending *m = mem_alloc(sizeof(*m));
	*m = (struct mending){mem_strdup(p->base), mem_strdup(p->below), w->uid, w->gid, p->mode, p->directory, make};
	doctor_mends(finding, mend_place, m, mending_free);
}

static const char *owner_text(const struct stat *st, char text[128])
{
	const struct passwd *user = getpwuid(st->st_uid);
	const struct group *group = getgrgid(st->st_gid);
	char number[2][24];
	snprintf(number[0], sizeof(number[0]), "%u", (unsigned)st->st_uid);
	snprintf(number[1], sizeof(number[1]), "%u", (unsigned)st->st_gid);
	snprintf(text, 128, "%.60s:%.60s", user ? user->pw_name : number[0], group ? group->gr_name : number[1]);
	return text;
}

static bool tell_missing(struct doctor_findings *f, const struct doctor_place *p, const struct wanted *w, int why)
{
	auto_free char *path = mem_printf("%s%s%s", p->base, *p->below ? "/" : "", p->below);
	if (why == EACCES) {
		doctor_add(f, DOCTOR_UNKNOWN, "%s cannot be seen by this user: run doctor as root", path);
		return false;
	}
	if (why == ENOENT && p->missing == DOCTOR_MISSING_FINE)
		return true;
	bool made = why == ENOENT && p->missing == DOCTOR_MISSING_MADE;
	struct doctor_finding *finding =
		doctor_add(f, made ? DOCTOR_WARNING : DOCTOR_WRONG, "%s: %s", path, strerror(why));
	if (made)
		propose(finding, p, w, true);
	return false;
}

bool doctor_place(struct doctor_findings *f, const struct doctor_place *p)
{
	struct wanted w;
	struct stat st;
	struct error err;
	char owner[128];
	if (!find_owner(p, &w))
		return false;
	auto_free char *path = mem_printf("%s%s%s", p->base, *p->below ? "/" : "", p->below);
	auto_close int fd = open_place(p->base, p->below);
	if (fd < 0 || fstat(fd, &st) < 0)
		return tell_missing(f, p, &w, errno);
	if (check_kind(&st, p->directory, &err) < 0) {
		doctor_add(f, DOCTOR_WRONG, "%s: %s", path, err.message);
		return false;
	}
	mode_t mode = st.st_mode & 07777;
	bool owned = (w.uid == (uid_t)-1 || st.st_uid == w.uid) && (w.gid == (gid_t)-1 || st.st_gid == w.gid);
	if (owned && mode == p->mode)
		return true;
	bool only_open = owned && (mode & p->mode) == p->mode && !p->secret && !(mode & 022 & ~p->mode);
	bool only_closed = owned && p->secret && !(mode & 077) && (mode & 0400);
	if (only_closed)
		return true;
	propose(doctor_add(f, only_open ? DOCTOR_WARNING : DOCTOR_WRONG, "%s is %s %04o and should be %s:%s %04o", path,
			owner_text(&st, owner), mode, p->owner ? p->owner : "*", p->group ? p->group : "*", p->mode),
		p, &w, false);
	return false;
}
