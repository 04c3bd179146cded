#include "agent/cli/services/find.h"
#include "agent/cli/services/tokens.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"
#include "lib/core/tool.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char usual[] = "/etc/haproxy/haproxy.cfg", defaults[] = "/etc/default/haproxy";

struct scan {
	struct found_service *service;
	const char *path, *text;
	char *base; /* crt-base, owned; NULL: none */
};

/* ---- certificates ---- */

static bool exists(const char *path, const char *ending, mode_t type)
{
	struct stat st;
	auto_free char *full = mem_printf("%s%s", path, ending);
	return stat(full, &st) == 0 && (st.st_mode & S_IFMT) == type;
}

/* The file itself, or the pair that HAProxy finds under this name. */
static char *files_of(const char *path)
{
	if (exists(path, "", S_IFREG))
		return mem_strdup(path);
	bool ecdsa = exists(path, ".ecdsa", S_IFREG), rsa = exists(path, ".rsa", S_IFREG);
	if (ecdsa && rsa)
		return mem_printf("%s.ecdsa %s.rsa", path, path);
	return mem_printf("%s%s", path, ecdsa ? ".ecdsa" : rsa ? ".rsa" : "");
}

static void add_file(struct scan *s, const char *file, const char *text, const char *setting,
	const struct word *word, const char *path)
{
	auto_free char *files = files_of(path);
	const struct found_use use = {.role = FOUND_CERTIFICATE,
		.file = (char *)(uintptr_t)file,
		.start = word->start,
		.end = word->end,
		.line = line_number(text, word->start),
		.setting = (char *)(uintptr_t)setting,
		.path = files,
		.instead = (char *)(uintptr_t) "@",
		.content = "haproxy",
		.group = ++s->service->groups};
	found_use(s->service, &use, false);
}

/* A file of such a directory that is loaded as a certificate by itself. */
static bool is_loaded(const char *name)
{
	static const char *const beside[] = {".key", ".ocsp", ".sctl", ".issuer"};
	const char *dot = strrchr(name, '.');
	for (size_t i = 0; dot && i < COUNT(beside); i++)
		if (strcmp(dot, beside[i]) == 0)
			return false;
	return name[0] != '.';
}

static void add_directory(struct scan *s, const char *path)
{
	struct dirent **names;
	int count = scandir(path, &names, NULL, alphasort);
	for (int i = 0; i < count; i++) {
		auto_free char *file = mem_printf(
			"%s%s%s", path, path[strlen(path) - 1] == '/' ? "" : "/", names[i]->d_name);
		if (is_loaded(names[i]->d_name) && exists(file, "", S_IFREG))
			find_copy(s->service, ++s->service->groups, "crt", file, "combined");
		free(names[i]);
	}
	if (count >= 0)
		free(names);
}

static bool is_plain(struct scan *s, const struct word *word)
{
	/* In single quotes it would be plain; nobody writes that. */
	if (!strchr(word->text, '$'))
		return true;
	found_note(s->service, "%s:%d: %s: only HAProxy knows which file that is", s->path,
		line_number(s->text, word->start), word->text);
	return false;
}

static char *absolute(const struct scan *s, const char *path)
{
	return path_below(s->base ? s->base : "", path);
}

static void add_crt(struct scan *s, const struct word *word)
{
	if (!is_plain(s, word))
		return;
	auto_free char *path = absolute(s, word->text);
	if (exists(path, "", S_IFDIR))
		add_directory(s, path);
	else
		add_file(s, s->path, s->text, "crt", word, path);
}

/* A line is a file, options in brackets, names. */
static int add_crt_list(struct scan *s, const struct word *word, struct error *err)
{
	auto_buf struct buf list = BUF_INIT(FIND_FILE_MAX);
	struct line line = {0};
	if (!is_plain(s, word))
		return 0;
	auto_free char *file = path_below("", word->text);
	if (exists(file, "", S_IFDIR)) {
		add_directory(s, file);
		return 0;
	}
	if (find_read(file, &list, err) < 0)
		return -1;
	while (line_next(buf_text(&list), list.len, LINE_SINGLE, &line)) {
		auto_words struct words words = {0};
		words_split(buf_text(&list), line.start, line.end, WORDS_HAPROXY, &words);
		if (words.count == 0)
			continue;
		auto_free char *path = absolute(s, words_at(&words, 0));
		add_file(s, file, buf_text(&list), "crt-list", &words.list[0], path);
	}
	return 0;
}

/* ---- bind ---- */

static bool has_word(const struct words *w, const char *word)
{
	for (size_t i = 2; i < w->count; i++)
		if (strcmp(w->list[i].text, word) == 0)
			return true;
	return false;
}

/* "ipv4@:443": the family is told by the address, too. */
static void add_address(struct scan *s, const char *address, bool proxy)
{
	if (strncmp(address, "ipv4@", 5) == 0 || strncmp(address, "ipv6@", 5) == 0)
		address += 5;
	if (strchr(address, '@') || address[0] == '/')
		return;
	const char *colon = strrchr(address, ':');
	/* "::443" and ":::443" are every IPv6 address. */
	size_t host = colon ? (size_t)(colon - address) : 0;
	bool any = strspn(address, ":") >= host;
	auto_free char *text = any && colon ? mem_printf("*%s", colon)
			       : host && strchr(address, '[') == NULL && memchr(address, ':', host)
				       ? mem_printf("[%.*s]%s", (int)host, address, colon)
				       : mem_strdup(address);
	if (!found_listen(s->service, text, NULL, proxy))
		found_note(s->service, "%s: bind %s: which ports that is cannot be told", s->path, address);
}

static int bind_line(struct scan *s, const struct words *w, struct error *err)
{
	bool proxy = has_word(w, "accept-proxy");
	if (!has_word(w, "ssl"))
		return 0;
	auto_free char *addresses = mem_strdup(words_at(w, 1));
	char *rest = addresses;
	const char *address;
	while ((address = strsep(&rest, ",")))
		add_address(s, address, proxy);
	for (size_t i = 2; i + 1 < w->count; i++) {
		if (strcmp(w->list[i].text, "crt") == 0)
			add_crt(s, &w->list[i + 1]);
		else if (strcmp(w->list[i].text, "crt-list") == 0 &&
			 add_crt_list(s, &w->list[i + 1], err) < 0)
			return -1;
	}
	return 0;
}

int haproxy_scan(struct found_service *service, const char *path, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(FIND_FILE_MAX);
	struct line line = {0};
	int result = 0;
	if (find_read(path, &text, err) < 0)
		return -1;
	struct scan s = {.service = service, .path = path, .text = buf_text(&text)};
	while (result == 0 && line_next(s.text, text.len, LINE_SINGLE, &line)) {
		auto_words struct words words = {0};
		words_split(s.text, line.start, line.end, WORDS_HAPROXY, &words);
		const char *first = words_at(&words, 0);
		if (strcmp(first, "crt-base") == 0) {
			free(s.base);
			s.base = mem_strdup(words_at(&words, 1));
		} else if (strcmp(first, "bind") == 0) {
			result = bind_line(&s, &words, err);
		} else if (strcmp(first, "load") == 0) {
			found_note(service, "%s:%d: a crt-store is not read", path, line.number);
		}
	}
	free(s.base);
	return result;
}

/* ---- which files ---- */

static int scan_path(struct found_service *s, const char *path, struct error *err)
{
	if (!exists(path, "", S_IFDIR))
		return haproxy_scan(s, path, err);
	auto_free char *pattern = mem_printf("%s/*.cfg", path);
	glob_t found;
	int result = 0;
	if (glob(pattern, 0, NULL, &found) != 0)
		return 0;
	for (size_t i = 0; result == 0 && i < found.gl_pathc; i++)
		result = haproxy_scan(s, found.gl_pathv[i], err);
	globfree(&found);
	return result;
}

/* Whether a user other than root may have chosen what this process is: anybody can take any name. Without root it is one of
 * the caller's own. */
static bool is_trusted(const char *pid)
{
	struct error ignored;
	struct stat theirs, ours;
	auto_buf struct buf status = BUF_INIT(64 * 1024);
	auto_free char *status_path = mem_printf("/proc/%s/status", pid);
	auto_free char *root = mem_printf("/proc/%s/root", pid);
	auto_free char *mounts = mem_printf("/proc/%s/ns/mnt", pid);
	if (fs_read(AT_FDCWD, status_path, false, &status, &ignored) < 0)
		return false;
	/* Real, effective, saved and of files. */
	auto_free char *all = mem_printf("\nUid:\t%1$u\t%1$u\t%1$u\t%1$u\n", (unsigned)geteuid());
	if (!strstr(buf_text(&status), all))
		return false;
	return stat(mounts, &theirs) == 0 && stat("/proc/self/ns/mnt", &ours) == 0 && theirs.st_ino == ours.st_ino &&
	       stat(root, &theirs) == 0 && stat("/", &ours) == 0 && theirs.st_ino == ours.st_ino &&
	       theirs.st_dev == ours.st_dev;
}

/* Its command line, each word with a NUL behind it; empty: `pid` is not an HAProxy that can be believed. */
static void read_words(const char *pid, struct buf *out)
{
	struct error ignored;
	auto_buf struct buf comm = BUF_INIT(64);
	auto_free char *name = mem_printf("/proc/%s/comm", pid);
	auto_free char *path = mem_printf("/proc/%s/cmdline", pid);
	if (fs_read(AT_FDCWD, name, false, &comm, &ignored) == 0 &&
		strcmp(buf_text(&comm), "haproxy\n") == 0 && is_trusted(pid) &&
		fs_read(AT_FDCWD, path, false, out, &ignored) < 0)
		buf_reset(out);
}

/* The files after -f of one that runs. Returns how many. */
static int scan_running(struct found_service *s, int *ret_count, struct error *err)
{
	DIR *proc = opendir("/proc");
	const struct dirent *entry;
	int result = 0;
	while (proc && result == 0 && *ret_count == 0 && (entry = readdir(proc))) {
		auto_buf struct buf words = BUF_INIT(128 * 1024);
		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		read_words(entry->d_name, &words);
		const char *text = buf_text(&words), *end = text + words.len;
		for (const char *at = text; at < end && result == 0; at += strlen(at) + 1) {
			const char *value = at + strlen(at) + 1;
			if (strcmp(at, "-f") != 0 || value >= end)
				continue;
			auto_free char *path = path_below("", value);
			result = scan_path(s, path, err);
			++*ret_count;
		}
	}
	if (proc)
		closedir(proc);
	return result;
}

/* CONFIG="…" of Debian's file for the service manager. */
static char *default_path(void)
{
	struct error ignored;
	auto_buf struct buf text = BUF_INIT(FIND_FILE_MAX);
	char *result = mem_strdup(usual);
	struct line line = {0};
	if (find_read(defaults, &text, &ignored) < 0)
		return result;
	while (line_next(buf_text(&text), text.len, LINE_SINGLE, &line)) {
		auto_words struct words words = {0};
		words_split(buf_text(&text), line.start, line.end, WORDS_HAPROXY, &words);
		if (strncmp(words_at(&words, 0), "CONFIG=/", 8) != 0)
			continue;
		free(result);
		result = mem_strdup(words_at(&words, 0) + strlen("CONFIG="));
	}
	return result;
}

int find_haproxy(struct found_service *s, struct error *err)
{
	int count = 0;
	s->program = mem_strdup("haproxy");
	if (scan_running(s, &count, err) < 0)
		return -1;
	if (count)
		return 0;
	auto_free char *path = default_path();
	return scan_path(s, path, err);
}
