#include "lib/wire/json_file.h"
#include "lib/core/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int json_file_write(int dirfd, const char *path, const cJSON *o, size_t max, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(max);
	if (json_print(o, &text) < 0)
		return error_set(err, ERROR_PERMANENT, "%s would be over %zu bytes", path, max);
	return fs_write(dirfd, path, text.data, text.len, FS_PRIVATE, err);
}

int json_file_read(int dirfd, const char *path, size_t max, cJSON **ret, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(max);
	*ret = NULL;
	if (faccessat(dirfd, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
		return 0;
	if (fs_read(dirfd, path, false, &text, err) < 0)
		return -1;
	*ret = json_parse(text.data, text.len, err);
	return *ret ? 1 : -1;
}
