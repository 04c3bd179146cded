#include "hooks/instance.h"
#include "lib/buf.h"
#include "lib/fs.h"
#include "lib/mem.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CONFIG_FILE_MAX = 4 * 1024 * 1024, WORDS_MAX = 32 };

/* What must be known of each process before an instance can be told from its workers. */
struct process {
	pid_t pid, parent;
	unsigned long long started;
};

enum { PROCESSES_MAX = 256 };

static void proc_path(char path[64], pid_t pid, const char *file)
{
	snprintf(path, 64, "/proc/%d/%s", (int)pid, file);
}

/* Whether /proc/PID/FILE is for this process what /proc/self/FILE is for us; false where it cannot be looked
 * at. */
static bool same(pid_t pid, const char *file)
{
	struct stat ours, theirs;
	char path[64], own[64];
	proc_path(path, pid, file);
	proc_path(own, getpid(), file);
	return stat(own, &ours) == 0 && stat(path, &theirs) == 0 && ours.st_ino == theirs.st_ino &&
	       ours.st_dev == theirs.st_dev;
}

/* A container's HAProxy is not ours to serve, and this hook is called haproxy too. */
static bool is_candidate(pid_t pid)
{
	return same(pid, "ns/pid") && !same(pid, "exe");
}

static bool process_read(pid_t pid, struct process *ret)
{
	char path[64];
	struct error err;
	auto_buf struct buf stat = BUF_INIT(4096);
	proc_path(path, pid, "stat");
	if (fs_read(AT_FDCWD, path, false, &stat, &err) < 0)
		return false;
	const char *text = buf_text(&stat), *name = strchr(text, '('), *end = strrchr(text, ')');
	if (!name || !end || strncmp(name, "(haproxy)", 9) != 0)
		return false;
	char state;
	int parent;
	unsigned long long started;
	if (sscanf(end + 1, " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
		    &state, &parent, &started) != 3)
		return false;
	*ret = (struct process){pid, parent, started};
	return state != 'Z' && is_candidate(pid);
}

static size_t processes_read(struct process *ret)
{
	size_t count = 0;
	DIR *proc = opendir("/proc");
	const struct dirent *entry;
	while (proc && count < PROCESSES_MAX && (entry = readdir(proc))) {
		int pid = isdigit((unsigned char)entry->d_name[0]) ? atoi(entry->d_name) : 0;
		if (pid > 0 && process_read(pid, &ret[count]))
			count++;
	}
	if (proc)
		closedir(proc);
	return count;
}

static void add_config(struct instance *i, const char *path)
{
	if (i->config_count < INSTANCE_CONFIGS_MAX)
		i->configs[i->config_count++] = mem_strdup(path);
}

/* haproxy [-f FILE…] [-C DIR] [-W|-Ws] … [-- FILE…]: an option that takes a value has it as the next word. */
static void read_arguments(struct instance *i)
{
	char path[64];
	struct error err;
	auto_buf struct buf line = BUF_INIT(64 * 1024);
	proc_path(path, i->pid, "cmdline");
	if (fs_read(AT_FDCWD, path, false, &line, &err) < 0)
		return;
	const char *word = buf_text(&line), *end = word + line.len;
	bool files = false;
	for (word += strlen(word) + 1; word < end; word += strlen(word) + 1) {
		const char *next = word + strlen(word) + 1;
		if (files)
			add_config(i, word);
		else if (strcmp(word, "--") == 0)
			files = true;
		else if (strncmp(word, "-W", 2) == 0)
			i->master = true;
		else if (strcmp(word, "-f") == 0 && next < end)
			add_config(i, word = next);
		else if (strcmp(word, "-C") == 0 && next < end && !i->directory)
			i->directory = mem_strdup(word = next);
	}
}

static bool has_parent(const struct process *p, const struct process *all, size_t count)
{
	for (size_t k = 0; k < count; k++)
		if (all[k].pid == p->parent)
			return true;
	return false;
}

static bool same_configs(const struct instance *a, const struct instance *b)
{
	if (a->config_count != b->config_count)
		return false;
	for (size_t k = 0; k < a->config_count; k++)
		if (strcmp(a->configs[k], b->configs[k]) != 0)
			return false;
	return true;
}

static int newest_first(const void *a, const void *b)
{
	const struct process *left = a, *right = b;
	return (left->started < right->started) - (left->started > right->started);
}

size_t instance_find(struct instance *ret)
{
	struct process all[PROCESSES_MAX];
	size_t processes = processes_read(all), count = 0;
	qsort(all, processes, sizeof(all[0]), newest_first);
	for (size_t k = 0; k < processes && count < INSTANCE_MAX; k++) {
		if (has_parent(&all[k], all, processes))
			continue;
		struct instance *i = &ret[count];
		*i = (struct instance){.pid = all[k].pid};
		read_arguments(i);
		for (size_t n = 0; n < processes; n++)
			i->master = i->master || all[n].parent == i->pid;
		/* Without a master, one that still serves its last connections has the same files as its
		 * successor. */
		bool old = false;
		for (size_t n = 0; n < count; n++)
			old = old || same_configs(&ret[n], i);
		if (old)
			instance_release(i);
		else
			count++;
	}
	return count;
}

void instance_release(struct instance *i)
{
	for (size_t k = 0; k < i->config_count; k++)
		free(i->configs[k]);
	free(i->directory);
	*i = (struct instance){0};
}

/* Cuts a line of HAProxy's configuration into its words, in place: quotes, backslashes, comments. */
static size_t cut_words(char *line, char **words)
{
	size_t count = 0;
	char *from = line;
	while (count < WORDS_MAX) {
		while (*from == ' ' || *from == '\t')
			from++;
		if (*from == '\0' || *from == '\r' || *from == '#')
			break;
		char *to = words[count++] = from, quote = '\0';
		for (; *from && (quote || !strchr(" \t\r#", *from)); from++) {
			if (quote ? *from == quote : *from == '"' || *from == '\'')
				quote = quote ? '\0' : *from;
			else if (*from == '\\' && quote != '\'' && from[1])
				*to++ = *++from;
			else
				*to++ = *from;
		}
		bool more = *from != '\0' && *from != '#';
		*to = '\0';
		if (!more)
			break;
		from++;
	}
	return count;
}

struct socket_choice {
	char path[INSTANCE_SOCKET_PATH_MAX];
	bool admin;
};

static void consider_line(char *line, struct socket_choice *best)
{
	char *words[WORDS_MAX];
	size_t count = cut_words(line, words);
	if (count < 3 || strcmp(words[0], "stats") != 0 || strcmp(words[1], "socket") != 0)
		return;
	const char *path = strncmp(words[2], "unix@", 5) == 0 ? words[2] + 5 : words[2];
	if (path[0] != '/' || strlen(path) >= sizeof(best->path))
		return;
	bool admin = false;
	for (size_t k = 3; k + 1 < count; k++)
		admin = admin || (strcmp(words[k], "level") == 0 && strcmp(words[k + 1], "admin") == 0);
	if (best->path[0] && (best->admin || !admin))
		return;
	snprintf(best->path, sizeof(best->path), "%s", path);
	best->admin = admin;
}

static void consider_file(const char *path, struct socket_choice *best)
{
	struct error err;
	auto_buf struct buf text = BUF_INIT(CONFIG_FILE_MAX);
	if (fs_read(AT_FDCWD, path, true, &text, &err) < 0)
		return;
	buf_text(&text);
	char *rest = (char *)text.data, *line;
	while ((line = strsep(&rest, "\n")))
		consider_line(line, best);
}

static int is_config(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);
	return entry->d_name[0] != '.' && len > 4 && strcmp(entry->d_name + len - 4, ".cfg") == 0;
}

static void consider(const char *path, struct socket_choice *best)
{
	struct dirent **entries;
	int count = scandir(path, &entries, is_config, alphasort);
	if (count < 0) {
		consider_file(path, best);
		return;
	}
	for (int k = 0; k < count; k++) {
		auto_free char *file = mem_printf("%s/%s", path, entries[k]->d_name);
		consider_file(file, best);
		free(entries[k]);
	}
	free(entries);
}

void instance_socket(const struct instance *i, char path[INSTANCE_SOCKET_PATH_MAX])
{
	struct socket_choice best = {0};
	for (size_t k = 0; k < i->config_count; k++) {
		bool relative = i->configs[k][0] != '/';
		auto_free char *from = relative && i->directory ? mem_strdup(i->directory)
				       : relative               ? mem_printf("/proc/%d/cwd", (int)i->pid)
								: mem_strdup("");
		auto_free char *file =
			relative ? mem_printf("%s/%s", from, i->configs[k]) : mem_strdup(i->configs[k]);
		consider(file, &best);
	}
	snprintf(path, INSTANCE_SOCKET_PATH_MAX, "%s", best.path[0] ? best.path : INSTANCE_SOCKET);
}
