#include "agent/cli/services/find.h"
#include "agent/cli/services/tokens.h"
#include "lib/core/mem.h"
#include "lib/core/tool.h"

#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 32 };

/* The place in a file. */
struct scan {
	struct found_service *service;
	const char *base, *path;
	const char *text;
	int groups[DEPTH_MAX]; /* of each block around; 0: none given yet */
	int depth;
	const struct words *words;
};

static int group(struct scan *s)
{
	int *g = &s->groups[s->depth < DEPTH_MAX ? s->depth : DEPTH_MAX - 1];
	if (*g == 0)
		*g = ++s->service->groups;
	return *g;
}

static void certificate(struct scan *s, size_t i, enum found_role role)
{
	const struct word *word = &s->words->list[i + 1];
	int line = line_number(s->text, word->start);
	if (strchr(word->text, '$') || strncmp(word->text, "data:", 5) == 0) {
		found_note(s->service, "%s:%d: %s %s: only nginx knows which file that is", s->path, line,
			words_at(s->words, i), word->text);
		return;
	}
	auto_free char *path = path_below(s->base, word->text);
	const struct found_use use = {.role = role,
		.file = (char *)(uintptr_t)s->path,
		.start = word->start,
		.end = word->end,
		.line = line,
		.setting = s->words->list[i].text,
		.path = path,
		.instead = (char *)(uintptr_t) "@",
		.content = "combined",
		.group = group(s)};
	found_use(s->service, &use, false);
}

static bool has_word(const struct scan *s, size_t from, size_t to, const char *word)
{
	for (size_t i = from; i < to; i++)
		if (strcmp(s->words->list[i].text, word) == 0)
			return true;
	return false;
}

/* Takes one directive, whose words are [i…end). */
static void directive(struct scan *s, size_t i, size_t end)
{
	const char *name = words_at(s->words, i);
	if (end - i < 2)
		return;
	if (strcmp(name, "ssl_certificate") == 0)
		certificate(s, i, FOUND_CERTIFICATE);
	else if (strcmp(name, "ssl_certificate_key") == 0)
		certificate(s, i, FOUND_KEY);
	else if (strcmp(name, "listen") == 0 && has_word(s, i + 2, end, "ssl"))
		found_listen(s->service, words_at(s->words, i + 1), NULL, has_word(s, i + 2, end, "proxy_protocol"));
}

static void open_block(struct scan *s)
{
	if (++s->depth < DEPTH_MAX)
		s->groups[s->depth] = 0;
}

int nginx_scan(struct found_service *service, const char *base, const char *path, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(FIND_FILE_MAX);
	auto_words struct words words = {0};
	if (find_read(path, &text, err) < 0)
		return -1;
	words_split(buf_text(&text), 0, text.len, WORDS_NGINX, &words);
	struct scan s = {.service = service, .base = base, .path = path, .text = buf_text(&text), .words = &words};
	size_t begin = 0;
	for (size_t i = 0; i < words.count; i++) {
		char c = words.list[i].end - words.list[i].start == 1 ? words.list[i].text[0] : '\0';
		if (c != ';' && c != '{' && c != '}')
			continue;
		if (c == ';')
			directive(&s, begin, i);
		else if (c == '{')
			open_block(&s);
		else if (s.depth > 0)
			s.depth--;
		begin = i + 1;
	}
	return 0;
}

/* Each file that `nginx -T` prints begins with its name. */
static int scan_all(struct found_service *s, const char *dump, struct error *err)
{
	static const char heading[] = "# configuration file ";
	auto_free char *base = NULL;
	for (const char *at = dump; at && *at; at = strchr(at, '\n'), at = at ? at + 1 : NULL) {
		if (strncmp(at, heading, strlen(heading)) != 0)
			continue;
		at += strlen(heading);
		size_t len = strcspn(at, "\n");
		if (len < 2 || at[len - 1] != ':')
			continue;
		auto_free char *path = mem_strndup(at, len - 1);
		if (!base)
			base = path_parent(path);
		if (nginx_scan(s, base, path, err) < 0)
			return -1;
	}
	return base ? 0 : error_set(err, ERROR_PERMANENT, "nginx -T names no file");
}

int find_nginx(struct found_service *s, struct error *err)
{
	static const char *const argv[] = {"nginx", "-T", "-q", NULL};
	auto_buf struct buf dump = BUF_INIT(TOOL_OUTPUT_MAX);
	s->program = mem_strdup("nginx");
	if (tool_run(argv, &dump, err) < 0)
		return -1;
	return scan_all(s, buf_text(&dump), err);
}
