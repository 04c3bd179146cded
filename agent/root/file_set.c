#include "agent/root/file_set.h"
#include "agent/root/opener.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char set_temporary[] = FS_TEMPORARY "set";

void file_set_release(struct file_set *s)
{
	for (size_t i = 0; i < s->file_count; i++)
		buf_release(&s->files[i].pem);
	s->file_count = 0;
}

static struct file_set_file *add_file(struct file_set *s, const char *name, bool private)
{
	struct file_set_file *f = &s->files[s->file_count++];
	*f = (struct file_set_file){.name = name, .private = private, .pem = BUF_INIT(FILE_SET_PEM_MAX)};
	return f;
}

static const char *haproxy_name(const struct parts *pair)
{
	return pair->rsa ? "haproxy.pem.rsa" : "haproxy.pem.ecdsa";
}

enum { KEY = 1, LEAF = 2, REST = 4, WHOLE = KEY | LEAF | REST };

static void put_parts(struct file_set_file *f, const struct parts *p, unsigned which)
{
	if (which & KEY)
		buf_add(&f->pem, p->key.data, p->key.len);
	if (which & LEAF)
		buf_add(&f->pem, p->leaf.data, p->leaf.len);
	if (which & REST)
		buf_add(&f->pem, p->rest.data, p->rest.len);
}

static void add_parts(struct file_set *s, const char *name, const struct parts *p, unsigned which)
{
	put_parts(add_file(s, name, which & KEY), p, which);
}

static void make_files(struct file_set *s, const struct parts *pairs, size_t count)
{
	add_parts(s, "privkey.pem", &pairs[0], KEY);
	add_parts(s, "cert.pem", &pairs[0], LEAF);
	add_parts(s, "chain.pem", &pairs[0], REST);
	add_parts(s, "fullchain.pem", &pairs[0], LEAF | REST);
	add_parts(s, "combined.pem", &pairs[0], WHOLE);
	if (count == 1) {
		add_parts(s, "haproxy.pem", &pairs[0], WHOLE);
		return;
	}
	add_parts(s, haproxy_name(&pairs[0]), &pairs[0], WHOLE);
	add_parts(s, haproxy_name(&pairs[1]), &pairs[1], WHOLE);
	add_parts(s, "combined-all.pem", &pairs[0], WHOLE);
	put_parts(&s->files[s->file_count - 1], &pairs[1], WHOLE);
}

int file_set_make(
	struct revision revision, const struct parts *pairs, size_t count, struct file_set *ret, struct error *err)
{
	auto_set struct file_set s = {
		.content = {.revision = revision, .not_before = pairs[0].not_before, .not_after = pairs[0].not_after}};
	if (count > 1 && pairs[0].rsa == pairs[1].rsa)
		return error_set(err, ERROR_UNTRUSTED,
			"key-type: two pairs of one key type: one ECDSA and one RSA are served together");
	if (parts_digest(pairs, count, s.content.digest, err) < 0 ||
		parts_fingerprint(&pairs[0], s.content.leaf, err) < 0 ||
		(count > 1 && parts_fingerprint(&pairs[1], s.second, err) < 0))
		return -1;
	make_files(&s, pairs, count);
	*ret = s;
	s = (struct file_set){0};
	return 0;
}

int file_set_placeholder(const char *certificate, int64_t now, struct file_set *ret, struct error *err)
{
	auto_parts struct parts pair = PARTS_INIT;
	if (opener_placeholder(certificate, now, &pair, err) < 0)
		return error_wrap(err, "cannot make a placeholder");
	return file_set_make((struct revision){0, 0}, &pair, 1, ret, err);
}

/* The directory is made with 0700 and opened to others only now, since the umask is 077 and mkdirat's mode passes
 * through it. */
static int make_directory(int directory, const char *name, struct error *err)
{
	int made = mkdirat(directory, name, 0700);
	if (made < 0 && errno == EEXIST) {
		/* An interrupted write has left this. */
		if (fs_remove_tree(directory, name, err) < 0)
			return -1;
		made = mkdirat(directory, name, 0700);
	}
	if (made < 0)
		return error_errno(err, "cannot make the directory %s", name);
	int fd = fs_open_directory(directory, name, err);
	if (fd >= 0 && fchmod(fd, 0755) < 0) {
		close(fd);
		return error_errno(err, "cannot open the directory %s to readers", name);
	}
	return fd;
}

static int write_files(int directory, const struct file_set *s, struct error *err)
{
	struct fs_new files[COUNT(s->files)];
	auto_close int fd = make_directory(directory, set_temporary, err);
	if (fd < 0)
		return -1;
	for (size_t i = 0; i < s->file_count; i++) {
		const struct file_set_file *f = &s->files[i];
		files[i] = (struct fs_new){f->name, f->pem.data, f->pem.len, f->private ? FS_PRIVATE : FS_PUBLIC};
	}
	return fs_fill_directory(fd, files, s->file_count, err);
}

/* A directory that is there already is exchanged, so that no reader finds none. */
static int move_into_place(int directory, const char *name, struct error *err)
{
	if (renameat2(directory, set_temporary, directory, name, RENAME_NOREPLACE) < 0) {
		if (errno != EEXIST || renameat2(directory, set_temporary, directory, name, RENAME_EXCHANGE) < 0)
			return error_errno(err, "cannot move a set to its place");
		/* The name must be the new set's on the disk before the old one is taken apart. */
		if (fs_sync_directory(directory, err) < 0 || fs_remove_tree(directory, set_temporary, err) < 0)
			return -1;
	}
	return fs_sync_directory(directory, err);
}

int file_set_write(int directory, const struct file_set *s, struct error *err)
{
	char name[REVISION_TEXT_MAX];
	struct error ignored;
	revision_text(s->content.revision, name);
	if (write_files(directory, s, err) == 0 && move_into_place(directory, name, err) == 0)
		return 0;
	fs_remove_tree(directory, set_temporary, &ignored);
	return error_wrap(err, "revision %s cannot be written to the archive", name);
}

static int read_pair(int directory, int fd, const char *name, struct parts *ret, struct error *err)
{
	auto_buf struct buf pem = BUF_INIT(CHAIN_PEM_MAX);
	if (fs_read(fd, name, false, &pem, err) < 0)
		return -1;
	return opener_pair(directory, &pem, &pem, ret, err);
}

static int read_pairs(int directory, int fd, struct parts pairs[BUNDLE_PAIRS_MAX], size_t *ret_count, struct error *err)
{
	if (read_pair(directory, fd, "combined.pem", &pairs[0], err) < 0)
		return -1;
	*ret_count = 1;
	if (faccessat(fd, "combined-all.pem", F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	*ret_count = 2;
	return read_pair(directory, fd, pairs[0].rsa ? "haproxy.pem.ecdsa" : "haproxy.pem.rsa", &pairs[1], err);
}

static void release_pairs(struct parts pairs[BUNDLE_PAIRS_MAX])
{
	for (size_t i = 0; i < BUNDLE_PAIRS_MAX; i++)
		parts_release(&pairs[i]);
}

bool file_set_may_have_second(int directory, struct revision revision)
{
	char name[REVISION_TEXT_MAX];
	auto_free char *path = mem_printf("%s/combined-all.pem", revision_text(revision, name));
	return faccessat(directory, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static int compare_files(int fd, const struct file_set *s, struct error *err)
{
	for (size_t i = 0; i < s->file_count; i++) {
		const struct file_set_file *f = &s->files[i];
		auto_buf struct buf found = BUF_INIT(FILE_SET_PEM_MAX);
		if (fs_read(fd, f->name, false, &found, err) < 0)
			return -1;
		if (found.len != f->pem.len || (found.len && memcmp(found.data, f->pem.data, found.len) != 0))
			return error_set(err, ERROR_PERMANENT, "%s is not as it was written", f->name);
	}
	return 0;
}

int file_set_read(int directory, struct revision revision, struct file_set *ret, struct error *err)
{
	char name[REVISION_TEXT_MAX];
	struct parts pairs[BUNDLE_PAIRS_MAX] = {PARTS_INIT, PARTS_INIT};
	size_t count = 0;
	auto_set struct file_set s = {0};
	revision_text(revision, name);
	auto_close int fd = fs_open_directory(directory, name, err);
	bool ok = fd >= 0 && read_pairs(directory, fd, pairs, &count, err) == 0 &&
		file_set_make(revision, pairs, count, &s, err) == 0 && compare_files(fd, &s, err) == 0;
	release_pairs(pairs);
	if (!ok)
		return error_wrap(err, "revision %s in the archive", name);
	*ret = s;
	s = (struct file_set){0};
	return 0;
}

/* Each pair stands in a set several times, and any whole copy will do to make the set whole again. */

struct copy {
	const char *certificates, *key;
};

static const struct copy first_copies[] = {
	{"combined.pem", "combined.pem"},
	{"haproxy.pem", "haproxy.pem"},
	{"haproxy.pem.ecdsa", "haproxy.pem.ecdsa"},
	{"haproxy.pem.rsa", "haproxy.pem.rsa"},
	{"fullchain.pem", "privkey.pem"},
	{"combined.pem", "privkey.pem"},
	{"fullchain.pem", "combined.pem"},
};
static const struct copy second_copies[] = {
	{"haproxy.pem.rsa", "haproxy.pem.rsa"},
	{"haproxy.pem.ecdsa", "haproxy.pem.ecdsa"},
};

/* A place is the open directory of a revision, below the archive of its certificate. */
struct place {
	int archive, fd;
	struct revision revision;
};

static bool read_copy(const struct place *at, const struct copy *copy, struct parts *ret)
{
	auto_buf struct buf certificates = BUF_INIT(CHAIN_PEM_MAX);
	auto_buf struct buf key = BUF_INIT(CHAIN_PEM_MAX);
	struct error ignored;
	return fs_read(at->fd, copy->certificates, false, &certificates, &ignored) == 0 &&
		fs_read(at->fd, copy->key, false, &key, &ignored) == 0 &&
		opener_pair(at->archive, &certificates, &key, ret, &ignored) == 0;
}

/* Makes a set of the first copy and, unless it is NULL, the second. Returns whether both could be read and belong
 * together. */
static bool make_from(const struct place *at, const struct copy *first, const struct copy *second, struct file_set *ret)
{
	struct parts pairs[BUNDLE_PAIRS_MAX] = {PARTS_INIT, PARTS_INIT};
	struct error ignored;
	bool made = read_copy(at, first, &pairs[0]) && (!second || read_copy(at, second, &pairs[1])) &&
		file_set_make(at->revision, pairs, second ? 2 : 1, ret, &ignored) == 0;
	release_pairs(pairs);
	return made;
}

static bool recover_from(const struct place *at, const struct content *entry, const struct copy *first,
	const struct copy *second, struct file_set *ret)
{
	auto_set struct file_set s = {0};
	if (!make_from(at, first, second, &s) || !content_same(entry, &s.content))
		return false;
	*ret = s;
	s = (struct file_set){0};
	return true;
}

int file_set_recover(int directory, const struct content *entry, struct file_set *ret, struct error *err)
{
	char name[REVISION_TEXT_MAX];
	auto_close int fd = fs_open_directory(directory, revision_text(entry->revision, name), err);
	const struct place at = {directory, fd, entry->revision};
	if (fd < 0)
		return -1;
	for (size_t i = 0; i < COUNT(first_copies); i++) {
		if (recover_from(&at, entry, &first_copies[i], NULL, ret))
			return 0;
		for (size_t k = 0; k < COUNT(second_copies); k++)
			if (recover_from(&at, entry, &first_copies[i], &second_copies[k], ret))
				return 0;
	}
	return error_set(err, ERROR_PERMANENT,
		"revision %s in the archive was changed, and no file of it still holds what was staged", name);
}

/* Guesses how many pairs the set had by what is left of it: the second pair's file has another name than the first
 * one's. */
static const struct copy *guess_second(const struct place *at, const struct copy *first)
{
	auto_parts struct parts pair = PARTS_INIT;
	if (!read_copy(at, first, &pair))
		return NULL;
	const struct copy *second = &second_copies[pair.rsa ? 1 : 0];
	return faccessat(at->fd, second->key, F_OK, 0) == 0 ? second : NULL;
}

int file_set_agreed(int directory, struct revision revision, struct file_set *ret, struct error *err)
{
	char name[REVISION_TEXT_MAX];
	auto_close int fd = fs_open_directory(directory, revision_text(revision, name), err);
	const struct place at = {directory, fd, revision};
	for (size_t i = 0; fd >= 0 && i < COUNT(first_copies); i++) {
		auto_set struct file_set a = {0};
		if (!make_from(&at, &first_copies[i], NULL, &a))
			continue;
		for (size_t k = i + 1; k < COUNT(first_copies); k++) {
			auto_set struct file_set b = {0};
			if (make_from(&at, &first_copies[k], NULL, &b) && content_same(&a.content, &b.content) &&
				make_from(&at, &first_copies[i], guess_second(&at, &first_copies[i]), ret))
				return 0;
		}
	}
	return fd < 0 ? -1 : error_set(err, ERROR_PERMANENT, "no two files of revision %s in the archive agree", name);
}

static const struct file_set_file *find_file(const struct file_set *s, const char *content)
{
	auto_free char *name = mem_printf("%s.pem", content);
	for (size_t i = 0; i < s->file_count; i++)
		if (strcmp(s->files[i].name, name) == 0)
			return &s->files[i];
	return NULL;
}

const struct file_set_file *file_set_content(const struct file_set *s, const char *content)
{
	const struct file_set_file *found = find_file(s, content);
	return !found && strcmp(content, "combined-all") == 0 ? find_file(s, "combined") : found;
}
