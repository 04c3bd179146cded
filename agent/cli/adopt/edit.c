#include "agent/cli/adopt/edit.h"
#include "lib/core/mem.h"
#include "lib/core/proc.h"
#include "lib/core/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void file_release(struct edit_file *f)
{
	for (size_t i = 0; i < f->change_count; i++)
		free(f->changes[i].text);
	free(f->changes);
	free(f->path);
	free(f->backup);
	buf_release(&f->before);
	buf_release(&f->after);
}

void edit_release(struct edit *e)
{
	for (size_t i = 0; i < e->count; i++)
		file_release(&e->files[i]);
	free(e->files);
	*e = (struct edit){0};
}

static struct edit_file *file_of(struct edit *e, const char *path, struct error *err)
{
	struct stat st;
	for (size_t i = 0; i < e->count; i++)
		if (strcmp(e->files[i].path, path) == 0)
			return &e->files[i];
	struct edit_file f = {.before = BUF_INIT(EDIT_FILE_MAX), .after = BUF_INIT(EDIT_FILE_MAX)};
	if (fs_read(AT_FDCWD, path, false, &f.before, err) < 0)
		return NULL;
	if (lstat(path, &st) < 0) {
		buf_release(&f.before);
		error_errno(err, "cannot look at %s", path);
		return NULL;
	}
	f.owner = (struct fs_owner){st.st_uid, st.st_gid, st.st_mode & 07777};
	const char *slash = strrchr(path, '/');
	f.path = mem_strdup(path);
	f.backup = mem_printf("%.*s.%s", (int)(slash + 1 - path), path, slash + 1);
	e->files = mem_grow(e->files, e->count + 1, sizeof(*e->files));
	e->files[e->count] = f;
	return &e->files[e->count++];
}

int edit_replace(struct edit *e, const char *path, size_t start, size_t end, const char *text, struct error *err)
{
	struct edit_file *f = file_of(e, path, err);
	if (!f)
		return -1;
	if (end > f->before.len || start > end)
		return error_set(err, ERROR_RETRY, "%s was changed while it was read: run this again", path);
	size_t at = f->change_count;
	for (size_t i = 0; i < f->change_count; i++)
		if (f->changes[i].start == start && f->changes[i].end == end && strcmp(f->changes[i].text, text) == 0)
			return 0;
	f->changes = mem_grow(f->changes, at + 1, sizeof(*f->changes));
	/* Changes are kept in order; of two at one place the later one comes behind. */
	for (; at > 0 && f->changes[at - 1].start > start; at--)
		f->changes[at] = f->changes[at - 1];
	f->changes[at] = (struct edit_change){start, end, mem_strdup(text)};
	f->change_count++;
	return 0;
}

int edit_whole(struct edit *e, const char *path, const struct buf *content, bool key, struct error *err)
{
	struct edit_file *f = file_of(e, path, err);
	if (!f)
		return -1;
	buf_reset(&f->after);
	f->secret = true;
	if (key)
		f->owner.mode &= 0770;
	return buf_add(&f->after, content->data, content->len);
}

void edit_spare(struct edit *e, const char *directory)
{
	size_t len = strlen(directory);
	const char *above = strrchr(directory, '/');
	for (size_t i = 0; above && i < e->count; i++) {
		char *old = e->files[i].backup;
		if (strncmp(old, directory, len) != 0 || old[len] != '/' || strchr(old + len + 1, '/'))
			continue;
		e->files[i].backup = mem_printf(
			"%.*s.%s+%s", (int)(above + 1 - directory), directory, above + 1, old + len + strlen("/."));
		free(old);
	}
}

static int finish_file(struct edit_file *f, struct error *err)
{
	size_t at = 0;
	int result = 0;
	if (f->secret)
		return 0;
	for (size_t i = 0; i < f->change_count; i++) {
		const struct edit_change *c = &f->changes[i];
		if (c->start < at)
			return error_set(err, ERROR_PERMANENT, "%s: two changes at byte %zu", f->path, c->start);
		result |= buf_add(&f->after, f->before.data + at, c->start - at);
		result |= buf_add(&f->after, c->text, strlen(c->text));
		at = c->end;
	}
	result |= buf_add(&f->after, f->before.data + at, f->before.len - at);
	return result < 0 ? error_set(err, ERROR_PERMANENT, "%s would be too long", f->path) : 0;
}

static bool is_same(const struct edit_file *f)
{
	return f->before.len == f->after.len &&
		(f->before.len == 0 || memcmp(f->before.data, f->after.data, f->before.len) == 0);
}

int edit_finish(struct edit *e, struct error *err)
{
	size_t kept = 0;
	for (size_t i = 0; i < e->count; i++)
		if (finish_file(&e->files[i], err) < 0)
			return -1;
	for (size_t i = 0; i < e->count; i++) {
		if (is_same(&e->files[i]))
			file_release(&e->files[i]);
		else
			e->files[kept++] = e->files[i];
	}
	e->count = kept;
	return 0;
}

static int in_memory(const struct buf *b, struct error *err)
{
	auto_close int fd = memfd_create("adopt", MFD_CLOEXEC);
	if (fd < 0 || write(fd, b->data, b->len) != (ssize_t)b->len || lseek(fd, 0, SEEK_SET) < 0)
		return error_errno(err, "cannot keep a file in memory");
	return steal_fd(&fd);
}

int edit_show(const struct edit_file *f, struct error *err)
{
	if (f->secret) {
		printf("%s: written, with the certificate and key as they are installed\n", f->path);
		return 0;
	}
	auto_free char *diff = tool_find("diff");
	auto_close int before = in_memory(&f->before, err);
	auto_close int after = before < 0 ? -1 : in_memory(&f->after, err);
	if (after < 0)
		return -1;
	if (!diff)
		return error_set(err, ERROR_PERMANENT, "diff is not installed: install the package diffutils");
	const char *const argv[] = {diff, "-u", "--label", f->path, "--label", f->path, "-", "/dev/fd/3", NULL};
	const struct proc_spec spec = {
		.argv = argv, .in = before, .out = PROC_INHERIT, .err = PROC_INHERIT, .extra = after};
	fflush(stdout);
	pid_t pid = proc_spawn(&spec, err);
	int status;
	if (pid < 0)
		return -1;
	/* diff exits 1 when the files differ, which they do. */
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) > 1)
		return error_set(err, ERROR_PERMANENT, "diff of %s failed", f->path);
	return 0;
}
