#include "lib/service/instance.h"
#include "lib/core/buf.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"
#include "lib/core/owned.h"
#include "lib/service/process.h"
#include "lib/service/unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INSTANCE_NAME "haproxy"

enum { CONFIG_FILE_MAX = 4 * 1024 * 1024, WORDS_MAX = 32, UNITS_MAX = 16, OF_USER_MAX = 16 };

struct finder {
	struct instances *found;
	struct process *all; /* of its name: those that are believed, then user by user */
	size_t count;
	uid_t user; /* whose processes were looked at last, and how many of them */
	size_t of_user;
	char *units[UNITS_MAX]; /* what systemd was asked about, owned: any user may have thousands of processes */
	size_t unit_count;
};

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

/* Reads the words of haproxy [-f FILE…] [-C DIR] [-W|-Ws] … [-- FILE…]; an option that takes a value has it as the next
 * word. Returns false for `haproxy -c`, which only looks at a configuration, and for words without a configuration:
 * neither serves anybody. */
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

/* Cuts a line of HAProxy's configuration into its words, in place, and heeds quotes, backslashes and comments. */
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

/* HAProxy has changed from `base` to the directory of -C before it reads its files. */
static void make_absolute(struct instance *i, const char *base)
{
	if (i->directory && i->directory[0] != '/') {
		auto_free char *relative = i->directory;
		i->directory = mem_printf("%s/%s", base, relative);
	}
	if (i->directory)
		base = i->directory;
	for (size_t k = 0; k < i->config_count; k++) {
		auto_free char *path = i->configs[k];
		i->configs[k] = path[0] == '/' ? steal(path) : mem_printf("%s/%s", base, path);
	}
}

/* What is about to be parsed with our rights has to be ours. */
static int check_files(const struct instance *i, struct error *err)
{
	for (size_t k = 0; k < i->config_count; k++)
		if (owned_check(i->configs[k], NULL, err) < 0)
			return -1;
	return 0;
}

/* Looks at the process once more after it was read: it may have become another program of another user in between. */
static enum process_answer is_still(const struct process *p, const struct instance *i)
{
	struct process now;
	enum process_answer answer = process_read(i->proc, p->pid, INSTANCE_NAME, &now);
	if (answer == PROCESS_YES && (now.started != p->started || now.trusted != p->trusted))
		return PROCESS_NO;
	return answer;
}

/* A process that is believed says itself what it reads. It is in the directory that -C names, so relative paths begin
 * there. */
static enum process_answer ask_process(const struct process *p, struct instance *i)
{
	char base[PATH_MAX];
	auto_buf struct buf words = BUF_INIT(64 * 1024);
	enum process_answer answer = process_words(i->proc, &words);
	if (answer != PROCESS_YES)
		return answer;
	if (!read_arguments(i, buf_text(&words), buf_text(&words) + words.len))
		return PROCESS_NO;
	ssize_t len = readlinkat(i->proc, "cwd", base, sizeof(base) - 1);
	base[len < 0 ? 0 : len] = '\0';
	if (i->directory && i->directory[0] != '/') {
		free(i->directory);
		i->directory = mem_strdup(base);
	}
	make_absolute(i, base);
	answer = process_is_here(i->proc, p);
	return answer == PROCESS_YES ? is_still(p, i) : answer;
}

static bool is_haproxy(const char *program)
{
	struct error ignored;
	const char *slash = strrchr(program, '/');
	return slash && strcmp(slash + 1, INSTANCE_NAME) == 0 && owned_check(program, NULL, &ignored) == 0;
}

/* Returns whether `pid` is the main process of this unit. Each unit is asked about once. */
static bool is_main(struct finder *f, const char *cgroup, pid_t pid, struct unit *ret, struct error *err)
{
	for (size_t k = 0; k < f->unit_count; k++)
		if (strcmp(f->units[k], cgroup) == 0)
			return false;
	if (f->unit_count == UNITS_MAX)
		return false;
	f->units[f->unit_count++] = mem_strdup(cgroup);
	return unit_read(cgroup, ret, err) == 0 && ret->main_pid == pid;
}

/* For a process that is not believed, its unit says what it was started with, where it is the main process of one that
 * runs HAProxy. `why` is filled when it is that and its words cannot be told. */
static enum process_answer ask_unit(struct finder *f, const struct process *p, struct instance *i, struct error *why)
{
	struct error err = {0};
	auto_unit struct unit unit = UNIT_INIT;
	auto_buf struct buf cgroup = BUF_INIT(PATH_MAX);
	if (process_unit(i->proc, &cgroup) != PROCESS_YES || !is_main(f, buf_text(&cgroup), p->pid, &unit, &err) ||
		!unit.program || !is_haproxy(unit.program) || is_still(p, i) != PROCESS_YES)
		return PROCESS_NO;
	if (unit.words.len == 0) {
		*why = err;
		return PROCESS_NO;
	}
	if (!read_arguments(i, buf_text(&unit.words), buf_text(&unit.words) + unit.words.len))
		return PROCESS_NO;
	make_absolute(i, unit.directory);
	/* The unit may be one of root's that runs as a user, with a configuration that belongs to that user. */
	return check_files(i, &err) == 0 ? process_is_here(i->proc, p) : PROCESS_NO;
}

static bool same_path(const char *a, const char *b)
{
	struct stat left, right;
	return strcmp(a, b) == 0 ||
		(stat(a, &left) == 0 && stat(b, &right) == 0 && left.st_dev == right.st_dev &&
			left.st_ino == right.st_ino);
}

static bool same_configs(const struct instance *a, const struct instance *b)
{
	if (a->config_count != b->config_count)
		return false;
	for (size_t k = 0; k < a->config_count; k++)
		if (!same_path(a->configs[k], b->configs[k]))
			return false;
	return true;
}

/* Without a master, a process that still serves its last connections has the same files as its successor. */
static const struct instance *known(const struct instances *found, const struct instance *i)
{
	for (size_t k = 0; k < found->count; k++)
		if (same_configs(&found->items[k], i))
			return &found->items[k];
	return NULL;
}

/* Root's processes come first, so that nobody else's process stands in the place of one of them. */
static int trusted_and_newest_first(const void *a, const void *b)
{
	const struct process *left = a, *right = b;
	if (left->trusted != right->trusted)
		return left->trusted ? -1 : 1;
	if (!left->trusted && left->uid != right->uid)
		return left->uid < right->uid ? -1 : 1;
	return (left->started < right->started) - (left->started > right->started);
}

/* Returns whether the process is a worker of one that is believed. */
static bool has_parent(const struct finder *f, const struct process *p)
{
	for (size_t k = 0; k < f->count && f->all[k].trusted; k++)
		if (f->all[k].pid == p->parent)
			return true;
	return false;
}

/* Processes of one user are counted and capped, so that a thousand of them do not make the search last. */
static bool is_one_too_many(struct finder *f, const struct process *p)
{
	if (p->trusted || f->user != p->uid)
		f->of_user = 0;
	f->user = p->uid;
	return !p->trusted && ++f->of_user > OF_USER_MAX;
}

static void doubt(const struct process *p, const struct instance *i, const struct error *why, struct instances *ret)
{
	const struct instance_other other = {p->pid, p->uid};
	if (why->kind != ERROR_NONE || (ret->unsure.pid == 0 && process_serves(i->proc))) {
		ret->unsure = other;
		ret->unsure_why = *why;
	} else if (ret->passed.pid == 0) {
		ret->passed = other;
	}
}

static void consider_process(struct finder *f, const struct process *p)
{
	struct instance i = {.pid = p->pid, .proc = process_open(p->pid)};
	struct error why = {0};
	if (i.proc < 0)
		return;
	enum process_answer answer = p->trusted ? ask_process(p, &i) : ask_unit(f, p, &i, &why);
	for (size_t n = 0; n < f->count; n++)
		i.master = i.master || f->all[n].parent == i.pid;
	/* Only what root has started is ever signalled. */
	i.master = i.master && p->trusted;
	if (answer == PROCESS_HIDDEN)
		f->found->hidden = p->pid;
	if (answer != PROCESS_YES && !p->trusted)
		doubt(p, &i, &why, f->found);
	if (answer == PROCESS_YES && !known(f->found, &i))
		f->found->items[f->found->count++] = i;
	else
		instance_release(&i);
}

static void find_all(struct instances *ret)
{
	struct finder f = {.found = ret};
	if (process_list(INSTANCE_NAME, &f.all, &f.count) == PROCESS_HIDDEN)
		ret->hidden = INSTANCE_SOME;
	if (f.count)
		qsort(f.all, f.count, sizeof(f.all[0]), trusted_and_newest_first);
	for (size_t k = 0; k < f.count && ret->count < INSTANCE_MAX; k++)
		if (!has_parent(&f, &f.all[k]) && !is_one_too_many(&f, &f.all[k]))
			consider_process(&f, &f.all[k]);
	for (size_t k = 0; k < f.unit_count; k++)
		free(f.units[k]);
	free(f.all);
}

/* ---- the one that agent.conf names ---- */

static int read_named(const char *named, struct instance *i, struct error *err)
{
	auto_buf struct buf words = BUF_INIT(64 * 1024);
	if (buf_addf(&words, "%s\n%s\n", INSTANCE_NAME, named) < 0)
		return error_set(err, ERROR_USAGE, "instance: the words are too long");
	for (size_t k = 0; k < words.len; k++)
		if (words.data[k] == '\n')
			words.data[k] = '\0';
	if (!read_arguments(i, buf_text(&words), buf_text(&words) + words.len))
		return error_set(err, ERROR_USAGE,
			"instance: no file of HAProxy's is named: give the words that it is started with, like "
			"{\"-f\", \"%s\"}",
			INSTANCE_CONFIG);
	if (i->directory && i->directory[0] != '/')
		return error_set(err, ERROR_USAGE, "instance: %s is not an absolute path", i->directory);
	make_absolute(i, "");
	return check_files(i, err) < 0 ? error_wrap(err, "instance") : 0;
}

/* Chooses the instance of `all` that has these files and releases the others; where there is none, `i` stays, without a
 * process. */
static void choose(struct instances *all, struct instance *i)
{
	const struct instance *found = known(all, i);
	size_t at = found ? (size_t)(found - all->items) : 0;
	struct instance chosen = found ? *found : *i;
	for (size_t k = 0; k < all->count; k++)
		if (!found || k != at)
			instance_release(&all->items[k]);
	if (found)
		instance_release(i);
	all->items[0] = chosen;
	all->count = 1;
}

int instances_find(const char *named, struct instances *ret, struct error *err)
{
	struct instance i = {.proc = -1};
	*ret = (struct instances){0};
	if (named && read_named(named, &i, err) < 0) {
		instance_release(&i);
		return -1;
	}
	find_all(ret);
	if (named)
		choose(ret, &i);
	return 0;
}

void instances_release(struct instances *list)
{
	for (size_t k = 0; k < list->count; k++)
		instance_release(&list->items[k]);
	list->count = 0;
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

bool instance_socket(const struct instance *i, char path[INSTANCE_SOCKET_PATH_MAX])
{
	struct socket_choice best = {0};
	for (size_t k = 0; k < i->config_count; k++)
		consider(i->configs[k], &best);
	snprintf(path, INSTANCE_SOCKET_PATH_MAX, "%s", best.path[0] ? best.path : INSTANCE_SOCKET);
	return best.path[0] != '\0';
}
