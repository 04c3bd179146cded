#include "agent/cli/discover/running.h"
#include "lib/core/buf.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"
#include "lib/service/process.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char program[] = "certsync-agent-root", usual[] = "/etc/certsync/agent.conf";

/* The program's file is compared as well. After an upgrade its name ends with " (deleted)". */
static bool is_program(int process)
{
	char target[PATH_MAX];
	auto_free char *own = mem_printf("%s/%s", fs_program_directory(), program);
	ssize_t len = readlinkat(process, "exe", target, sizeof(target) - 1);
	target[len > 0 ? len : 0] = '\0';
	size_t own_len = strlen(own);
	return strncmp(target, own, own_len) == 0 && (target[own_len] == '\0' || target[own_len] == ' ');
}

static bool has_config(int process, const char *config)
{
	auto_buf struct buf words = BUF_INIT(128 * 1024);
	const char *named = usual;
	if (process_words(process, &words) != PROCESS_YES)
		return false;
	const char *text = buf_text(&words), *end = text + words.len;
	for (const char *at = text; at < end; at += strlen(at) + 1)
		if (strcmp(at, "-c") == 0 && at + 3 < end)
			named = at + 3;
	char wanted[PATH_MAX], given[PATH_MAX];
	return realpath(config, wanted) && realpath(named, given) && strcmp(wanted, given) == 0;
}

int running_root_half(const char *config)
{
	/* The kernel keeps only this much of a name. */
	auto_free char *name = mem_strndup(program, 15);
	struct process *list;
	size_t count;
	int result = -1;
	process_list(name, &list, &count);
	for (size_t i = 0; i < count && result < 0; i++) {
		auto_close int process = list[i].trusted ? process_open(list[i].pid) : -1;
		if (process >= 0 && is_program(process) && has_config(process, config) &&
			process_is_here(process, &list[i]) == PROCESS_YES)
			result = steal_fd(&process);
	}
	free(list);
	return result;
}
