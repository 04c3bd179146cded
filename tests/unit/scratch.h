/* A directory of a test's own: setup makes it, and teardown removes it with all in it. */
#ifndef CERTSYNC_TEST_SCRATCH_H
#define CERTSYNC_TEST_SCRATCH_H

#include "lib/core/fs.h"
#include "lib/core/mem.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct scratch {
	char path[256];
	int fd;
};

static inline int scratch_setup(void **state)
{
	struct scratch *s = mem_alloc(sizeof(*s));
	const char *parent = getenv("TMPDIR");
	snprintf(s->path, sizeof(s->path), "%s/certsync-unit.XXXXXX", parent ? parent : P_tmpdir);
	if (!mkdtemp(s->path))
		return -1;
	s->fd = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = s;
	return s->fd < 0 ? -1 : 0;
}

static inline int scratch_teardown(void **state)
{
	struct scratch *s = *state;
	struct error err;
	int result = fs_remove_tree(AT_FDCWD, s->path, &err);
	close(s->fd);
	free(s);
	return result;
}

static inline void scratch_write(const struct scratch *s, const char *name, const char *text, mode_t mode)
{
	struct error err;
	struct fs_owner owner = FS_PRIVATE;
	owner.mode = mode;
	assert_int_equal(fs_write(s->fd, name, text, strlen(text), owner, &err), 0);
}

/* Reads the file into `out`, and returns it as a string. */
static inline const char *scratch_read(const struct scratch *s, const char *name, struct buf *out)
{
	struct error err;
	assert_int_equal(fs_read(s->fd, name, false, out, &err), 0);
	return buf_text(out);
}

static inline mode_t scratch_mode(const struct scratch *s, const char *name)
{
	struct stat st;
	assert_int_equal(fstatat(s->fd, name, &st, AT_SYMLINK_NOFOLLOW), 0);
	return st.st_mode & 07777;
}

static inline char *scratch_path(const struct scratch *s, const char *name)
{
	return mem_printf("%s/%s", s->path, name);
}

#endif
