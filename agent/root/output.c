#include "agent/root/output.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char directory[] = "output";
static const char *const verbs[] = {"test", "reload", "running"};

static char *file_name(const char *certificate, const char *service, const char *verb)
{
	return mem_printf("%s+%s+%s", certificate, service, verb);
}

int output_keep(const struct agent_config *config, int root_state, const char *certificate, const char *service,
	const char *verb, const struct buf *raw, char **ret_path, struct error *err)
{
	auto_free char *name = file_name(certificate, service, verb);
	if (mkdirat(root_state, directory, 0700) < 0 && errno != EEXIST)
		return error_errno(err, "cannot make %s/%s", config->root_state, directory);
	auto_close int dirfd = fs_open_directory(root_state, directory, err);
	if (dirfd < 0 || fs_write(dirfd, name, raw->data, raw->len, FS_PRIVATE, err) < 0)
		return -1;
	*ret_path = mem_printf("%s/%s/%s", config->root_state, directory, name);
	return 0;
}

static bool is_wanted(const struct agent_config *config, const char *name)
{
	for (size_t i = 0; i < config->certificate_count; i++) {
		const struct agent_certificate *c = &config->certificates[i];
		for (size_t k = 0; k < c->service_count; k++)
			for (size_t v = 0; v < COUNT(verbs); v++) {
				auto_free char *wanted = file_name(c->name, c->services[k].name, verbs[v]);
				if (strcmp(name, wanted) == 0)
					return true;
			}
	}
	return false;
}

void output_prune(const struct agent_config *config, int root_state)
{
	struct error ignored;
	struct dirent *entry;
	auto_close int dirfd = fs_open_directory(root_state, directory, &ignored);
	DIR *dir = dirfd < 0 ? NULL : fs_list(dirfd, &ignored);
	while (dir && (entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
			!is_wanted(config, entry->d_name))
			unlinkat(dirfd, entry->d_name, 0);
	if (dir)
		closedir(dir);
}
