#include "agent/cli/services/find.h"
#include "agent/cli/services/tokens.h"
#include "agent/common/service.h"
#include "lib/core/mem.h"
#include "lib/service/instance.h"

#include <dirent.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char usual[] = "/etc/haproxy/haproxy.cfg", defaults[] = "/etc/default/haproxy";

/* The files of one instance are read one after the other, and what one sets holds in those that follow. */
struct scan {
	struct found_service *service;
	const char *path, *text;
	const char *directory;         /* in which HAProxy was started, borrowed; NULL: not known */
	char *base;                    /* crt-base, owned; NULL: none */
	char *origin;                  /* default-path, owned: "config", "parent", or a directory; NULL: none */
	char *store_base, *store_keys; /* crt-base and key-base of the crt-store that is being read, owned */
	bool store;                    /* it is in a crt-store */
};

/* ---- certificates ---- */

static bool exists(const char *path, const char *ending, mode_t type)
{
	struct stat st;
	auto_free char *full = mem_printf("%s%s", path, ending);
	return stat(full, &st) == 0 && (st.st_mode & S_IFMT) == type;
}

/* Returns the file itself, or the pair that HAProxy finds under this name. */
static char *files_of(const char *path)
{
	if (exists(path, "", S_IFREG))
		return mem_strdup(path);
	bool ecdsa = exists(path, ".ecdsa", S_IFREG), rsa = exists(path, ".rsa", S_IFREG);
	if (ecdsa && rsa)
		return mem_printf("%s.ecdsa %s.rsa", path, path);
	return mem_printf("%s%s", path, ecdsa ? ".ecdsa" : rsa ? ".rsa" : "");
}

static void add_use(struct scan *s, enum found_role role, const char *file, const char *text, const char *setting,
	const struct word *word, const char *path)
{
	auto_free char *files = files_of(path);
	const struct found_use use = {.role = role,
		.file = (char *)(uintptr_t)file,
		.start = word->start,
		.end = word->end,
		.line = line_number(text, word->start),
		.setting = (char *)(uintptr_t)setting,
		.path = files,
		.instead = (char *)(uintptr_t) "@",
		.content = "haproxy",
		.group = s->service->groups};
	found_use(s->service, &use, false);
}

static void add_file(struct scan *s, const char *file, const char *text, const char *setting, const struct word *word,
	const char *path)
{
	s->service->groups++;
	add_use(s, FOUND_CERTIFICATE, file, text, setting, word, path);
}

/* Returns whether a file of such a directory is loaded as a certificate by itself. */
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
		auto_free char *file =
			mem_printf("%s%s%s", path, path[strlen(path) - 1] == '/' ? "" : "/", names[i]->d_name);
		if (is_loaded(names[i]->d_name) && exists(file, "", S_IFREG))
			find_copy(s->service, ++s->service->groups, "crt", file, "combined");
		free(names[i]);
	}
	if (count >= 0)
		free(names);
}

/* "@STORE/ALIAS" is loaded by a line of a crt-store. */
static bool is_alias(const char *text)
{
	return text[0] == '@';
}

static bool is_plain(struct scan *s, const struct word *word)
{
	/* In single quotes a '$' would be plain, but nobody writes that. */
	if (!strchr(word->text, '$'))
		return true;
	found_note(s->service, "%s:%d: %s: only HAProxy knows which file that is", s->path,
		line_number(s->text, word->start), word->text);
	return false;
}

/* Returns where a relative path begins that no crt-base says; the caller frees it. NULL: that is not known. */
static char *origin(const struct scan *s)
{
	if (!s->origin)
		return s->directory ? mem_strdup(s->directory) : NULL;
	if (s->origin[0] == '/')
		return mem_strdup(s->origin);
	auto_free char *parent = path_parent(s->path);
	return strcmp(s->origin, "parent") == 0 ? path_parent(parent) : steal(parent);
}

/* Returns the file that a word names, or NULL with a note. */
static char *absolute(struct scan *s, const char *base, const char *path)
{
	auto_free char *own = path[0] == '/' || (base && base[0] == '/') ? NULL : origin(s);
	if (path[0] == '/')
		return mem_strdup(path);
	if (base && base[0] == '/')
		return path_below(base, path);
	if (own && base) {
		auto_free char *below = path_below(own, base);
		return path_below(below, path);
	}
	if (own)
		return path_below(own, path);
	found_note(s->service,
		"%s: %s: a relative path without a known base: which file that is depends on where HAProxy is started",
		s->path, path);
	return NULL;
}

static void add_crt(struct scan *s, const struct word *word)
{
	if (is_alias(word->text) || !is_plain(s, word))
		return;
	auto_free char *path = absolute(s, s->base, word->text);
	if (!path)
		return;
	if (exists(path, "", S_IFDIR))
		add_directory(s, path);
	else
		add_file(s, s->path, s->text, "crt", word, path);
}

/* The names behind a file of a crt-list, and behind its options in brackets. "!x" is one that it is not for. */
static void add_filters(struct scan *s, const struct words *words)
{
	bool options = false;
	for (size_t i = 1; i < words->count; i++) {
		const char *text = words->list[i].text;
		size_t len = strlen(text);
		options = options || text[0] == '[';
		if (!options)
			found_name(s->service, text + (text[0] == '!'));
		options = options && (len == 0 || text[len - 1] != ']');
	}
}

/* A line of a crt-list has a file, options in brackets, and names. */
static int add_crt_list(struct scan *s, const struct word *word, struct error *err)
{
	auto_buf struct buf list = BUF_INIT(FIND_FILE_MAX);
	struct line line = {0};
	if (!is_plain(s, word))
		return 0;
	auto_free char *file = absolute(s, NULL, word->text);
	if (!file)
		return 0;
	if (exists(file, "", S_IFDIR)) {
		add_directory(s, file);
		return 0;
	}
	if (find_read(file, &list, err) < 0)
		return -1;
	while (line_next(buf_text(&list), list.len, LINE_SINGLE, &line)) {
		auto_words struct words words = {0};
		words_split(buf_text(&list), line.start, line.end, WORDS_HAPROXY, &words);
		if (words.count == 0 || is_alias(words_at(&words, 0)))
			continue;
		auto_free char *path = absolute(s, s->base, words_at(&words, 0));
		add_filters(s, &words);
		if (path)
			add_file(s, file, buf_text(&list), "crt-list", &words.list[0], path);
	}
	return 0;
}

/* ---- crt-store, from 3.0 on ---- */

static const struct word *value_of(const struct words *w, const char *keyword)
{
	for (size_t i = 1; i + 1 < w->count; i += 2)
		if (strcmp(w->list[i].text, keyword) == 0)
			return &w->list[i + 1];
	return NULL;
}

/* Takes "load crt FILE alias NAME key FILE". A certificate without an alias is known by its path, which must stay. */
static void load_line(struct scan *s, const struct words *w)
{
	const struct word *crt = value_of(w, "crt"), *key = value_of(w, "key");
	if (!crt || !is_plain(s, crt) || (key && !is_plain(s, key)))
		return;
	if (!value_of(w, "alias") || value_of(w, "ocsp") || value_of(w, "issuer") || value_of(w, "sctl")) {
		found_note(s->service,
			"%s:%d: load crt %s: only one with an alias, and without ocsp, issuer and sctl, is changed",
			s->path, line_number(s->text, crt->start), crt->text);
		return;
	}
	auto_free char *path = absolute(s, s->store_base ? s->store_base : s->base, crt->text);
	auto_free char *key_path = path && key ? absolute(s, s->store_keys, key->text) : NULL;
	if (!path || (key && !key_path))
		return;
	add_file(s, s->path, s->text, "load crt", crt, path);
	if (key)
		add_use(s, FOUND_KEY, s->path, s->text, "key", key, key_path);
}

static void keep(char **place, const char *text)
{
	free(*place);
	*place = text ? mem_strdup(text) : NULL;
}

/* Takes a line of a crt-store, or its first one. Returns false when the line is of no crt-store. */
static bool store_line(struct scan *s, const struct words *w)
{
	const char *first = words_at(w, 0);
	if (strcmp(first, "crt-store") == 0) {
		s->store = true;
		keep(&s->store_base, NULL);
		keep(&s->store_keys, NULL);
	} else if (s->store && strcmp(first, "crt-base") == 0) {
		keep(&s->store_base, words_at(w, 1));
	} else if (s->store && strcmp(first, "key-base") == 0) {
		keep(&s->store_keys, words_at(w, 1));
	} else if (s->store && strcmp(first, "load") == 0) {
		load_line(s, w);
	} else {
		s->store = s->store && w->count == 0;
		return s->store;
	}
	return true;
}

/* ---- bind ---- */

static bool has_word(const struct words *w, const char *word)
{
	for (size_t i = 2; i < w->count; i++)
		if (strcmp(w->list[i].text, word) == 0)
			return true;
	return false;
}

/* In "ipv4@:443" the address shows the family, too. */
static void add_address(struct scan *s, const char *address, bool proxy)
{
	if (strncmp(address, "ipv4@", 5) == 0 || strncmp(address, "ipv6@", 5) == 0)
		address += 5;
	if (strchr(address, '@') || address[0] == '/')
		return;
	const char *colon = strrchr(address, ':');
	/* "::443" and ":::443" stand for every IPv6 address. */
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
		if (strcmp(w->list[i].text, "crt") == 0 || strcmp(w->list[i].text, "default-crt") == 0)
			add_crt(s, &w->list[i + 1]);
		else if (strcmp(w->list[i].text, "crt-list") == 0 && add_crt_list(s, &w->list[i + 1], err) < 0)
			return -1;
	}
	return 0;
}

static int scan_file(struct scan *s, const char *path, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(FIND_FILE_MAX);
	struct line line = {0};
	int result = 0;
	if (find_read(path, &text, err) < 0)
		return -1;
	s->path = path;
	s->text = buf_text(&text);
	s->store = false;
	while (result == 0 && line_next(s->text, text.len, LINE_SINGLE, &line)) {
		auto_words struct words words = {0};
		words_split(s->text, line.start, line.end, WORDS_HAPROXY, &words);
		const char *first = words_at(&words, 0);
		if (words.open)
			return error_set(err, ERROR_PERMANENT, "%s:%d: a quote that begins here does not end", path,
				line.number);
		if (store_line(s, &words))
			continue;
		if (strcmp(first, "crt-base") == 0)
			keep(&s->base, words_at(&words, 1));
		else if (strcmp(first, "default-path") == 0)
			keep(&s->origin,
				strcmp(words_at(&words, 1), "origin") == 0            ? words_at(&words, 2)
					: strcmp(words_at(&words, 1), "current") == 0 ? NULL
										      : words_at(&words, 1));
		else if (strcmp(first, "bind") == 0)
			result = bind_line(s, &words, err);
	}
	return result;
}

static void scan_release(struct scan *s)
{
	free(s->base);
	free(s->origin);
	free(s->store_base);
	free(s->store_keys);
}

int haproxy_scan(struct found_service *service, const char *path, struct error *err)
{
	struct scan s = {.service = service};
	int result = scan_file(&s, path, err);
	scan_release(&s);
	return result;
}

/* ---- which files ---- */

static int scan_path(struct scan *s, const char *path, struct error *err)
{
	if (!exists(path, "", S_IFDIR))
		return scan_file(s, path, err);
	auto_free char *pattern = mem_printf("%s/*.cfg", path);
	glob_t found;
	int result = 0;
	if (glob(pattern, 0, NULL, &found) != 0)
		return 0;
	for (size_t i = 0; result == 0 && i < found.gl_pathc; i++)
		result = scan_file(s, found.gl_pathv[i], err);
	globfree(&found);
	return result;
}

/* Reads the files of the instances that run, or of the one that agent.conf names, by the same rule as the hook. Returns
 * how many there are. */
static int scan_instances(struct found_service *s, const char *named, struct error *err)
{
	struct instances all;
	int result = 0, count = 0;
	if (instances_find(named, &all, err) < 0)
		return -1;
	for (size_t i = 0; i < all.count; i++) {
		struct scan scan = {.service = s, .directory = all.items[i].directory};
		for (size_t k = 0; k < all.items[i].config_count && result == 0; k++, count++)
			result = scan_path(&scan, all.items[i].configs[k], err);
		scan_release(&scan);
	}
	if (!named && all.unsure.pid)
		found_note(s,
			"process %d of user %d may be HAProxy without a master: what it was started with is not known: "
			"instance in certsync-agent.conf(5) names it",
			(int)all.unsure.pid, (int)all.unsure.uid);
	instances_release(&all);
	return result < 0 ? -1 : count;
}

static int scan_named(struct found_service *s, const struct agent_certificate *certificate, struct error *err)
{
	int count = 0;
	for (size_t i = 0; i < certificate->service_count; i++) {
		const struct agent_service *service = &certificate->services[i];
		auto_free char *named = strcmp(service->name, s->name) == 0 ? service_instance(service) : NULL;
		int found = named ? scan_instances(s, named, err) : 0;
		if (found < 0)
			return -1;
		count += found;
	}
	return count;
}

static int scan_running(struct found_service *s, struct error *err)
{
	int count = 0;
	for (size_t i = 0; s->config && i < s->config->certificate_count; i++) {
		int found = scan_named(s, &s->config->certificates[i], err);
		if (found < 0)
			return -1;
		count += found;
	}
	return count ? count : scan_instances(s, NULL, err);
}

/* Debian's file for the service manager has a line CONFIG="…". */
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
	s->program = mem_strdup("haproxy");
	int count = scan_running(s, err);
	if (count)
		return count < 0 ? -1 : 0;
	auto_free char *path = default_path();
	struct scan scan = {.service = s};
	int result = scan_path(&scan, path, err);
	scan_release(&scan);
	return result;
}
