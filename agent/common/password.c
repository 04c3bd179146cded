#include "agent/common/password.h"
#include "lib/core/fs.h"
#include "lib/core/owned.h"

#include <fcntl.h>
#include <sys/stat.h>

static int check_line(const char *path, const struct buf *line, struct error *err)
{
	for (size_t i = 0; i < line->len; i++)
		if (line->data[i] < ' ' || line->data[i] > '~')
			return error_set(err, ERROR_USAGE,
				"password_file %s has more than one line of printable ASCII, which is all that every reader of "
				"PKCS#12 understands alike: write another password",
				path);
	if (line->len < PASSWORD_MIN || line->len > PASSWORD_MAX)
		return error_set(err, ERROR_USAGE,
			"password_file %s: a password has %d to %d characters: write another one", path, PASSWORD_MIN,
			PASSWORD_MAX);
	return 0;
}

/* What has passed owned_check is changed by nobody else, so it may be looked at and read by its path. */
static int check_file(const char *path, struct error *err)
{
	struct stat st;
	if (fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return error_errno(err, "password_file %s", path);
	if (!S_ISREG(st.st_mode))
		return error_set(
			err, ERROR_USAGE, "password_file %s is not a regular file: name the file itself", path);
	if (owned_check(path, NULL, err) < 0)
		return error_wrap(err, "password_file");
	if (st.st_mode & 0077)
		return error_set(err, ERROR_USAGE, "password_file %s is open to others than its owner: chmod 600 %s",
			path, path);
	return 0;
}

int password_read(const char *path, struct buf *ret, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(PASSWORD_MAX + 1024);
	if (check_file(path, err) < 0)
		return -1;
	if (fs_read(AT_FDCWD, path, false, &text, err) < 0)
		return error_wrap(err, "password_file");
	struct buf line = text; /* borrowed, for its length alone */
	if (line.len && line.data[line.len - 1] == '\n')
		line.len--;
	return check_line(path, &line, err) < 0 ? -1 : buf_add(ret, line.data, line.len);
}
