#include "agent/cli/services/find.h"
#include "agent/cli/services/tokens.h"
#include "lib/core/mem.h"
#include "lib/core/owned.h"
#include "lib/core/tool.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { HOSTS_MAX = 16 };

/* The place in a file. */
struct scan {
	struct found_service *service;
	const char *base, *path, *text;
	int group; /* of this virtual host, or of what stands outside of them */
	int outer;
	char *hosts[HOSTS_MAX]; /* of <VirtualHost …> */
	size_t host_count;
	bool ssl;
};

static void leave_host(struct scan *s)
{
	for (size_t i = 0; i < s->host_count; i++) {
		if (s->ssl)
			found_listen(s->service, s->hosts[i], NULL, false);
		free(s->hosts[i]);
	}
	s->host_count = 0;
	s->ssl = false;
	s->group = s->outer;
}

static void enter_host(struct scan *s, const struct words *words)
{
	leave_host(s);
	for (size_t i = 1; i < words->count && s->host_count < HOSTS_MAX; i++)
		s->hosts[s->host_count++] = mem_strndup(words->list[i].text, strcspn(words->list[i].text, ">"));
	s->group = ++s->service->groups;
}

static void file_named(struct scan *s, const struct words *words, int line, enum found_role role)
{
	const struct word *name = &words->list[0], *value = &words->list[1];
	bool rest = role == FOUND_REST;
	if (strstr(value->text, "${")) {
		found_note(s->service, "%s:%d: %s %s: only Apache knows which file that is", s->path, line, name->text,
			value->text);
		return;
	}
	auto_free char *path = path_below(s->base, value->text);
	auto_free char *comment = mem_printf("#%.*s", (int)(value->end - name->start), s->text + name->start);
	const struct found_use use = {.role = role,
		.file = (char *)(uintptr_t)s->path,
		.start = rest ? name->start : value->start,
		.end = value->end,
		.line = line,
		.setting = name->text,
		.path = rest ? (char *)(uintptr_t) "" : path,
		.instead = rest ? comment : (char *)(uintptr_t) "@",
		.content = "combined",
		.group = s->group};
	found_use(s->service, &use, false);
}

static void directive(struct scan *s, const struct words *words, int line)
{
	const char *name = words_at(words, 0);
	if (strcasecmp(name, "<VirtualHost") == 0)
		enter_host(s, words);
	else if (strcasecmp(name, "</VirtualHost>") == 0)
		leave_host(s);
	if (words->count < 2)
		return;
	if (strcasecmp(name, "SSLEngine") == 0)
		s->ssl = strcasecmp(words_at(words, 1), "on") == 0;
	else if (strcasecmp(name, "SSLCertificateFile") == 0)
		file_named(s, words, line, FOUND_CERTIFICATE);
	else if (strcasecmp(name, "SSLCertificateKeyFile") == 0)
		file_named(s, words, line, FOUND_KEY);
	else if (strcasecmp(name, "SSLCertificateChainFile") == 0)
		file_named(s, words, line, FOUND_REST);
}

int apache_scan(struct found_service *service, const char *base, const char *path, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(FIND_FILE_MAX);
	struct line line = {0};
	if (find_read(path, &text, err) < 0)
		return -1;
	struct scan s = {.service = service, .base = base, .path = path, .text = buf_text(&text)};
	s.group = s.outer = ++service->groups;
	while (line_next(s.text, text.len, LINE_BACKSLASH, &line)) {
		auto_words struct words words = {0};
		words_split(s.text, line.start, line.end, WORDS_APACHE, &words);
		if (words_at(&words, 0)[0] != '#')
			directive(&s, &words, line.number);
	}
	leave_host(&s);
	return 0;
}

/* A line is like "  (146) /etc/apache2/mods-enabled/ssl.conf"; the main file has a star. */
static int scan_all(struct found_service *s, const char *dump, struct error *err)
{
	auto_free char *base = NULL;
	for (const char *at = dump; at && *at; at = strchr(at, '\n'), at = at ? at + 1 : NULL) {
		size_t blank = strspn(at, " ");
		size_t len = strcspn(at, "\n");
		const char *close = memchr(at, ')', len);
		if (blank < 2 || at[blank] != '(' || !close || close[1] != ' ' || close[2] != '/')
			continue;
		auto_free char *path = mem_strndup(close + 2, len - (size_t)(close + 2 - at));
		if (!base)
			base = path_parent(path);
		if (apache_scan(s, base, path, err) < 0)
			return -1;
	}
	return base ? 0 : error_set(err, ERROR_PERMANENT, "apache2ctl -t -D DUMP_INCLUDES names no file");
}

/* apache2ctl runs this shell script where it exists, so only root may be able to change it. */
static int check_script(struct error *err)
{
	static const char *const paths[] = {"/etc/apache2", "/etc/apache2/envvars"};
	for (size_t i = 0; i < COUNT(paths); i++)
		if (access(paths[i], F_OK) == 0 && owned_check(paths[i], NULL, err) < 0)
			return -1;
	return 0;
}

int find_apache(struct found_service *s, struct error *err)
{
	static const char *const argv[] = {"apache2ctl", "-t", "-D", "DUMP_INCLUDES", NULL};
	auto_buf struct buf dump = BUF_INIT(TOOL_OUTPUT_MAX);
	s->program = mem_strdup("apache2");
	if (check_script(err) < 0 || tool_run(argv, &dump, err) < 0)
		return -1;
	return scan_all(s, buf_text(&dump), err);
}
