#include "agent/root/anchors.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"
#include "lib/crypto/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SAME_HASH_MAX = 16 };

int anchors_read(const char *anchors, struct buf *ret, bool *ret_by_name, struct error *err)
{
	struct stat st;
	bool system = !anchors || !*anchors;
	if (!system && stat(anchors, &st) < 0)
		return error_errno(err, "anchors %s", anchors);
	*ret_by_name = system || S_ISDIR(st.st_mode);
	if (!*ret_by_name)
		return fs_read(AT_FDCWD, anchors, true, ret, err) < 0 ? error_wrap(err, "anchors %s", anchors) : 0;
	if (!system)
		return anchors_check_directory(anchors, err);
	/* A file of the system's that is missing or damaged does not make the call fail. */
	struct error ignored;
	if (fs_read(AT_FDCWD, anchors_system_file(), true, ret, &ignored) < 0)
		buf_reset(ret);
	return 0;
}

static void read_from(const char *directory, uint32_t hash, struct buf *ret)
{
	struct error ignored;
	for (int i = 0; i < SAME_HASH_MAX; i++) {
		auto_free char *path = mem_printf("%s/%08x.%d", directory, hash, i);
		if (access(path, F_OK) < 0)
			return;
		if (fs_read(AT_FDCWD, path, true, ret, &ignored) == 0)
			buf_add(ret, "\n", 1);
	}
}

void anchors_read_hashed(const char *anchors, uint32_t hash, struct buf *ret)
{
	if (anchors && *anchors) {
		read_from(anchors, hash, ret);
		return;
	}
	auto_free char *list = mem_strdup(anchors_system_directories());
	char *rest = list;
	for (const char *directory; (directory = strsep(&rest, ":"));)
		if (*directory)
			read_from(directory, hash, ret);
}
