#include "hooks/instance.h"
#include "hooks/process.h"
#include "lib/core/buf.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INSTANCE_NAME "haproxy"

enum { CONFIG_FILE_MAX = 4 * 1024 * 1024, WORDS_MAX = 32 };

static void instance_release(struct instance *i)
{
	for (size_t k = 0; k < i->config_count; k++)
		free(i->configs[k]);
	free(i->directory);
	if (i->proc >= 0)
		close(i->proc);
	*i = (struct instance){.proc = -1};
}

static void add_config(struct instance *i, const char *path)
{
	if (i->config_count < INSTANCE_CONFIGS_MAX)
		i->configs[i->config_count++] = mem_strdup(path);
}

/* haproxy [-f FILE…] [-C DIR] [-W|-Ws] … [-- FILE…]: an option that takes a value has it as the next word.
 * False for `haproxy -c`, which only looks at a configuration, and without one: such serves nobody. */
static bool read_arguments(struct instance *i, const char *word, const char *end)
{
	bool files = false;
	for (word += strlen(word) + 1; word < end; word += strlen(word) + 1) {
		const char *next = word + strlen(word) + 1;
		if (files)
			add_config(i, word);
		else if (strcmp(word, "-c") == 0)
			return false;
		else if (strcmp(word, "--") == 0)
			files = true;
		else if (strncmp(word, "-W", 2) == 0)
			i->master = true;
		else if (strcmp(word, "-f") == 0 && next < end)
			add_config(i, word = next);
		else if (strcmp(word, "-C") == 0 && next < end && !i->directory)
			i->directory = mem_strdup(word = next);
	}
	return i->config_count > 0;
}

/* It has gone to -C before it reads its files. */
static void make_absolute(struct instance *i)
{
	char base[PATH_MAX];
	ssize_t len = readlinkat(i->proc, "cwd", base, sizeof(base) - 1);
	base[len < 0 ? 0 : len] = '\0';
	if (i->directory && i->directory[0] == '/')
		snprintf(base, sizeof(base), "%s", i->directory);
	for (size_t k = 0; k < i->config_count; k++) {
		auto_free char *path = i->configs[k];
		i->configs[k] = path[0] == '/' ? steal(path) : mem_printf("%s/%s", base, path);
	}
	if (i->directory && i->directory[0] != '/') {
		free(i->directory);
		i->directory = mem_strdup(base);
	}
}

/* Whether only root can have written what it was started with. */
static bool files_are_roots(const struct instance *i)
{
	for (size_t k = 0; k < i->config_count; k++)
		if (!process_path_is_roots(i->configs[k]))
			return false;
	return !i->directory || process_path_is_roots(i->directory);
}

static enum process_answer judge(const struct process *p, struct instance *i, bool *ret_doubted)
{
	struct process now;
	auto_buf struct buf words = BUF_INIT(64 * 1024);
	enum process_answer answer = process_words(i->proc, &words);
	*ret_doubted = answer == PROCESS_HIDDEN && !p->trusted;
	if (answer != PROCESS_YES)
		return *ret_doubted ? PROCESS_NO : answer;
	if (!read_arguments(i, buf_text(&words), buf_text(&words) + words.len))
		return PROCESS_NO;
	make_absolute(i);
	*ret_doubted = !p->trusted && !files_are_roots(i);
	answer = *ret_doubted ? PROCESS_NO : process_is_here(i->proc, p);
	/* Once more, behind what was read: it may have become another program of another user in between. */
	if (answer == PROCESS_YES)
		answer = process_read(i->proc, p->pid, INSTANCE_NAME, &now);
	if (answer == PROCESS_YES && (now.started != p->started || now.trusted != p->trusted))
		return PROCESS_NO;
	return answer;
}

/* A process of root's is nobody else's worker. */
static bool has_parent(const struct process *p, const struct process *all, size_t count)
{
	for (size_t k = 0; k < count; k++)
		if (all[k].pid == p->parent && (all[k].trusted || !p->trusted))
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

/* Without a master, one that still serves its last connections has the same files as its successor. */
static bool is_known(const struct instances *found, const struct instance *i)
{
	for (size_t k = 0; k < found->count; k++)
		if (same_configs(&found->items[k], i))
			return true;
	return false;
}

/* Nobody else's process comes before root's, or it would stand in its place. */
static int trusted_and_newest_first(const void *a, const void *b)
{
	const struct process *left = a, *right = b;
	if (left->trusted != right->trusted)
		return left->trusted ? -1 : 1;
	return (left->started < right->started) - (left->started > right->started);
}

static void consider_process(
	const struct process *p, const struct process *all, size_t processes, struct instances *ret)
{
	struct instance i = {.pid = p->pid, .proc = process_open(p->pid)};
	bool doubted = false;
	enum process_answer answer = i.proc >= 0 ? judge(p, &i, &doubted) : PROCESS_NO;
	for (size_t n = 0; n < processes; n++)
		i.master = i.master || all[n].parent == i.pid;
	/* A signal is for what root has started. */
	i.master = i.master && p->trusted;
	if (answer == PROCESS_HIDDEN)
		ret->hidden = p->pid;
	if (doubted && !ret->doubted) {
		ret->doubted = p->pid;
		ret->doubted_uid = p->uid;
	}
	if (answer == PROCESS_YES && !is_known(ret, &i))
		ret->items[ret->count++] = i;
	else
		instance_release(&i);
}

void instances_find(struct instances *ret)
{
	struct process *all;
	size_t processes;
	*ret = (struct instances){0};
	if (process_list(INSTANCE_NAME, &all, &processes) == PROCESS_HIDDEN)
		ret->hidden = INSTANCE_SOME;
	if (processes)
		qsort(all, processes, sizeof(all[0]), trusted_and_newest_first);
	for (size_t k = 0; k < processes && ret->count < INSTANCE_MAX; k++)
		if (!has_parent(&all[k], all, processes))
			consider_process(&all[k], all, processes, ret);
	free(all);
}

void instances_release(struct instances *list)
{
	for (size_t k = 0; k < list->count; k++)
		instance_release(&list->items[k]);
	list->count = 0;
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
	for (size_t k = 0; k < i->config_count; k++)
		consider(i->configs[k], &best);
	snprintf(path, INSTANCE_SOCKET_PATH_MAX, "%s", best.path[0] ? best.path : INSTANCE_SOCKET);
}
