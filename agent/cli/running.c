#include "agent/cli/running.h"
#include "lib/core/buf.h"
#include "lib/core/error.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char program[] = "certsync-agent-root", usual[] = "/etc/certsync/agent.conf";

/* By the program's file, since anybody can take any name. After an upgrade " (deleted)" stands behind it. */
static bool is_program(const char *pid)
{
	char target[PATH_MAX];
	auto_free char *path = mem_printf("/proc/%s/exe", pid);
	auto_free char *own = mem_printf("%s/%s", fs_program_directory(), program);
	ssize_t len = readlink(path, target, sizeof(target) - 1);
	target[len > 0 ? len : 0] = '\0';
	size_t own_len = strlen(own);
	return strncmp(target, own, own_len) == 0 && (target[own_len] == '\0' || target[own_len] == ' ');
}

static bool has_config(const char *pid, const char *config)
{
	struct error ignored;
	auto_buf struct buf words = BUF_INIT(128 * 1024);
	auto_free char *path = mem_printf("/proc/%s/cmdline", pid);
	const char *named = usual;
	if (fs_read(AT_FDCWD, path, false, &words, &ignored) < 0)
		return false;
	const char *text = buf_text(&words), *end = text + words.len;
	for (const char *at = text; at < end; at += strlen(at) + 1)
		if (strcmp(at, "-c") == 0 && at + 3 < end)
			named = at + 3;
	char wanted[PATH_MAX], given[PATH_MAX];
	return realpath(config, wanted) && realpath(named, given) && strcmp(wanted, given) == 0;
}

pid_t running_root_half(const char *config)
{
	DIR *proc = opendir("/proc");
	const struct dirent *entry;
	pid_t result = 0;
	while (proc && !result && (entry = readdir(proc)))
		if (isdigit((unsigned char)entry->d_name[0]) && is_program(entry->d_name) &&
			has_config(entry->d_name, config))
			result = (pid_t)strtol(entry->d_name, NULL, 10);
	if (proc)
		closedir(proc);
	return result;
}
