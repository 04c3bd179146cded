#include "agent/root/install.h"
#include "agent/common/password.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"
#include "lib/crypto/pkcs12.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { INSTALL_KEPT = 3, INSTALL_FILE_MAX = 4 * CHAIN_PEM_MAX };

/* Services of any user look up their files below these directories. */
static int open_public(const char *path, struct error *err)
{
	mode_t before = umask(022);
	int made = fs_make_directories(path, 0755, err);
	umask(before);
	return made < 0 ? -1 : fs_open_directory(AT_FDCWD, path, err);
}

int install_open(const struct agent_config *config, const struct agent_certificate *certificate, struct install *ret,
	struct error *err)
{
	auto_free char *live = mem_printf("%s/live", config->directory);
	auto_free char *archive = mem_printf("%s/archive/%s", config->directory, certificate->name);
	struct install i = {.certificate = certificate, .live = -1, .archive = -1};
	i.live = open_public(live, err);
	if (i.live < 0)
		return -1;
	i.archive = open_public(archive, err);
	if (i.archive < 0) {
		install_close(&i);
		return -1;
	}
	*ret = i;
	return 0;
}

void install_close(struct install *i)
{
	if (i->live >= 0)
		close(i->live);
	if (i->archive >= 0)
		close(i->archive);
	i->live = i->archive = -1;
}

static char *live_target(const struct install *i, struct revision revision)
{
	char text[REVISION_TEXT_MAX];
	return mem_printf("../archive/%s/%s", i->certificate->name, revision_text(revision, text));
}

int install_live(const struct install *i, struct revision *ret, struct error *err)
{
	char target[PATH_MAX];
	ssize_t len = readlinkat(i->live, i->certificate->name, target, sizeof(target) - 1);
	if (len < 0 && errno == ENOENT)
		return 0;
	if (len < 0 && errno == EINVAL)
		return error_errno(err, "live/%s is not a symbolic link: move it away, certsync makes its own",
			i->certificate->name);
	if (len < 0)
		return error_errno(err, "cannot read live/%s", i->certificate->name);
	target[len] = '\0';
	const char *slash = strrchr(target, '/');
	struct revision revision;
	if (slash && revision_parse(slash + 1, &revision)) {
		auto_free char *wanted = live_target(i, revision);
		if (strcmp(wanted, target) == 0) {
			*ret = revision;
			return 1;
		}
	}
	return error_set(err, ERROR_PERMANENT, "live/%s points at %s, which is no revision of its own",
		i->certificate->name, target);
}

int install_switch(const struct install *i, struct revision revision, struct error *err)
{
	struct revision now;
	struct error ignored;
	if (install_live(i, &now, &ignored) == 1 && revision_compare(now, revision) == 0)
		return 0;
	auto_free char *target = live_target(i, revision);
	return fs_link(i->live, i->certificate->name, target, err) < 0 ? -1 : 1;
}

static int find_group(const char *name, gid_t *ret, struct error *err)
{
	const struct group *entry = getgrnam(name);
	if (!entry)
		return error_set(err, ERROR_USAGE,
			"there is no group %s on this machine: create it, or configure another", name);
	*ret = entry->gr_gid;
	return 0;
}

/* Without root a file belongs to whoever writes it, whatever agent.conf says. */
static int file_owner(const struct agent_file *f, struct fs_owner *ret, struct error *err)
{
	*ret = (struct fs_owner){.uid = (uid_t)-1, .gid = (gid_t)-1, .mode = f->mode};
	if (geteuid() != 0)
		return 0;
	ret->uid = 0;
	ret->gid = 0;
	if (f->owner) {
		const struct passwd *entry = getpwnam(f->owner);
		if (!entry)
			return error_set(err, ERROR_USAGE,
				"there is no user %s on this machine: create it, or configure another", f->owner);
		ret->uid = entry->pw_uid;
	}
	return f->group ? find_group(f->group, &ret->gid, err) : 0;
}

static bool stat_matches(int directory, const char *name, const struct fs_owner *owner, bool *ret_exists)
{
	struct stat st;
	*ret_exists = fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
	if (!*ret_exists || !S_ISREG(st.st_mode) || st.st_nlink != 1 || (st.st_mode & 07777) != owner->mode)
		return false;
	return (owner->uid == (uid_t)-1 || st.st_uid == owner->uid) &&
		(owner->gid == (gid_t)-1 || st.st_gid == owner->gid);
}

static bool content_matches(int directory, const char *name, const struct buf *wanted)
{
	auto_buf struct buf found = BUF_INIT(INSTALL_FILE_MAX);
	struct error ignored;
	return fs_read(directory, name, false, &found, &ignored) == 0 && found.len == wanted->len &&
		(!found.len ||
			memcmp(found.data, wanted->data, found.len) ==
				0); /* LCOV_EXCL_BR_LINE: a set has no empty file */
}

/* ---- what is in an own file ---- */

static int put_block(
	const struct file_set *s, const char *content, const char *label, struct buf *ret, struct error *err)
{
	const struct buf *pem = &file_set_content(s, content)->pem;
	struct reader r = READER(pem->data, pem->len);
	return parts_block(&r, label, ret, err);
}

static int put_pkcs12(
	const struct agent_file *f, const char *name, const struct file_set *s, struct buf *ret, struct error *err)
{
	const struct buf *pem = &file_set_content(s, "fullchain")->pem;
	struct reader r = READER(pem->data, pem->len);
	struct buf certificates[CHAIN_CERTIFICATES_MAX] = {{0}};
	auto_buf struct buf key = BUF_INIT(CHAIN_PEM_MAX), password = BUF_INIT(PASSWORD_MAX);
	struct pkcs12 p = {.key = &key, .certificates = certificates, .name = name, .password = &password};
	int result = password_read(f->password_file, &password, err);
	if (result == 0)
		result = put_block(s, "privkey", "PRIVATE KEY", &key, err);
	while (result == 0 && r.left && p.certificate_count < COUNT(certificates)) {
		struct buf *next = &certificates[p.certificate_count++];
		next->max = CHAIN_PEM_MAX;
		result = parts_block(&r, "CERTIFICATE", next, err);
	}
	if (result == 0)
		result = pkcs12_write(&p, ret, err);
	while (p.certificate_count > 0)
		buf_release(&certificates[--p.certificate_count]);
	return result;
}

/* Fills `ret` with what has to be in the file. */
static int make_content(
	const struct agent_file *f, const char *name, const struct file_set *s, struct buf *ret, struct error *err)
{
	if (strcmp(f->content, "pkcs12") == 0)
		return put_pkcs12(f, name, s, ret, err);
	if (strcmp(f->content, "cert-der") == 0)
		return put_block(s, "cert", "CERTIFICATE", ret, err);
	if (strcmp(f->content, "privkey-der") == 0)
		return put_block(s, "privkey", "PRIVATE KEY", ret, err);
	const struct file_set_file *found = file_set_content(s, f->content);
	if (!found)
		return error_set(err, ERROR_USAGE, "there is no content \"%s\"", f->content);
	return buf_add(ret, found->pem.data, found->pem.len);
}

/* Returns 1 when the file differed (and was written, unless it was only looked at), or 0 when it was right already. */
static int install_file(const struct agent_file *f, const char *certificate, const struct file_set *s,
	enum install_which which, struct error *err)
{
	auto_buf struct buf wanted = BUF_INIT(INSTALL_FILE_MAX);
	const char *name;
	struct fs_owner owner;
	bool exists;
	auto_close int directory = fs_open_parent(f->path, &name, err);
	if (directory < 0 || file_owner(f, &owner, err) < 0)
		return -1;
	bool matches = stat_matches(directory, name, &owner, &exists);
	if (exists && which == INSTALL_MISSING)
		return 0;
	if (make_content(f, certificate, s, &wanted, err) < 0)
		return error_wrap(err, "%s", f->path);
	if (matches && content_matches(directory, name, &wanted))
		return 0;
	if (which == INSTALL_LOOK)
		return 1;
	if (fs_write(directory, name, wanted.data, wanted.len, owner, err) < 0)
		return error_wrap(err, "%s", f->path);
	return 1;
}

int install_files(const struct install *i, const struct file_set *s, enum install_which which, struct error *err)
{
	int count = 0;
	bool failed = false;
	struct error later;
	for (size_t k = 0; k < i->certificate->service_count; k++) {
		const struct agent_service *service = &i->certificate->services[k];
		for (size_t n = 0; n < service->file_count; n++) {
			int done =
				install_file(&service->files[n], i->certificate->name, s, which, failed ? &later : err);
			failed = failed || done < 0;
			count += done > 0;
		}
	}
	return failed ? -1 : count;
}

static int newer_first(const void *a, const void *b)
{
	return -revision_compare(*(const struct revision *)a, *(const struct revision *)b);
}

/* Returns the revisions whose directories are in the archive, newest first; the caller frees them. */
static struct revision *list_revisions(const struct install *i, size_t *ret_count, struct error *err)
{
	struct revision *list = NULL;
	size_t count = 0;
	auto_close int fd = openat(i->archive, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		error_errno(err, "cannot list the archive of %s", i->certificate->name);
		return NULL;
	}
	steal_fd(&fd);
	struct dirent *entry;
	while ((entry = readdir(dir))) {
		struct revision revision;
		if (!revision_parse(entry->d_name, &revision))
			continue;
		list = mem_grow(list, count + 1, sizeof(*list));
		list[count++] = revision;
	}
	closedir(dir);
	if (count)
		qsort(list, count, sizeof(*list), newer_first);
	*ret_count = count;
	return list ? list : mem_alloc(1);
}

int install_newest(const struct install *i, int64_t now, struct file_set *ret)
{
	size_t count;
	struct error ignored;
	auto_free struct revision *list = list_revisions(i, &count, &ignored);
	for (size_t k = 0; list && k < count; k++) {
		auto_set struct file_set s = {0};
		if (now && revision_is_placeholder(list[k]))
			continue;
		if (file_set_read(i->archive, list[k], &s, &ignored) < 0 || (now && s.content.not_after <= now))
			continue;
		*ret = s;
		s = (struct file_set){0};
		return 1;
	}
	return 0;
}

static bool is_kept(struct revision r, const struct revision *keep, size_t count)
{
	for (size_t k = 0; k < count; k++)
		if (revision_compare(r, keep[k]) == 0)
			return true;
	return false;
}

int install_prune(const struct install *i, const struct revision *keep, size_t count, struct error *err)
{
	size_t found;
	auto_free struct revision *list = list_revisions(i, &found, err);
	if (!list)
		return -1;
	for (size_t k = INSTALL_KEPT; k < found; k++) {
		char name[REVISION_TEXT_MAX];
		if (is_kept(list[k], keep, count))
			continue;
		/* What a power cut brings back, the next pruning removes. */
		if (fs_discard_tree(i->archive, revision_text(list[k], name), err) < 0)
			return error_wrap(err, "archive of %s", i->certificate->name);
	}
	return 0;
}

void install_sweep(const struct install *i)
{
	struct error ignored;
	fs_sweep(i->live);
	fs_sweep(i->archive);
	fs_remove_tree(i->archive, FS_TEMPORARY "set", &ignored);
	fs_sync_directory(i->live, &ignored);
	fs_sync_directory(i->archive, &ignored);
	for (size_t k = 0; k < i->certificate->service_count; k++) {
		const struct agent_service *service = &i->certificate->services[k];
		for (size_t n = 0; n < service->file_count; n++) {
			const char *name;
			auto_close int directory = fs_open_parent(service->files[n].path, &name, &ignored);
			if (directory < 0)
				continue;
			fs_sweep(directory);
			fs_sync_directory(directory, &ignored);
		}
	}
}
