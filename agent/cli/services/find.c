#include "agent/cli/services/find.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

int find_read(const char *path, struct buf *out, struct error *err)
{
	if (fs_read(AT_FDCWD, path, true, out, err) < 0)
		return -1;
	/* What stands behind a NUL would be passed over. */
	if (out->len && memchr(out->data, '\0', out->len))
		return error_set(err, ERROR_PERMANENT, "%s contains a NUL byte", path);
	return 0;
}

void find_copy(struct found_service *s, int group, const char *setting, const char *path, const char *content)
{
	struct stat st;
	for (const char *c = path; *c; c++) {
		/* The name will stand in agent.conf. */
		if ((unsigned char)*c < ' ' || *c == '"' || *c == '\\' || *c == '$' || *c == 0x7f) {
			found_note(s, "%s: a file's name has a character that agent.conf cannot have: left", setting);
			return;
		}
	}
	if (path[0] != '/' || lstat(path, &st) < 0) {
		found_note(s, "%s: %s is not there", setting, path);
		return;
	}
	for (size_t i = 0; i < s->use_count; i++) {
		struct found_use *u = &s->uses[i];
		if (u->role != FOUND_COPY || strcmp(u->path, path) != 0)
			continue;
		found_join(s, u->group, group);
		if (strcmp(u->content, content) != 0)
			u->content = "combined"; /* which has both */
		return;
	}
	const struct found_use use = {.role = FOUND_COPY,
		.file = (char *)(uintptr_t)path,
		.setting = (char *)(uintptr_t)setting,
		.path = (char *)(uintptr_t)path,
		.content = content,
		.group = group};
	found_use(s, &use, false);
}
