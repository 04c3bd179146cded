#include "lib/config/config_scan.h"
#include "lib/core/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum token { TOKEN_NONE, TOKEN_WORD, TOKEN_STRING, TOKEN_ASSIGN, TOKEN_OPEN, TOKEN_CLOSE, TOKEN_COMMA };

enum { IN_LIST = -2 };

struct scanner {
	const char *path;
	size_t at, len;
	int line;
	enum token last; /* kind, start and end of the token before */
	int last_line;
	size_t last_start, last_end;
	struct {
		int section; /* or IN_LIST */
		int line;
	} open[CONFIG_SCAN_DEPTH];
	int depth;
	size_t closed;
	struct config_scan *out;
	struct error *err;
};

static int fault(struct scanner *s, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static int fault(struct scanner *s, int line, const char *fmt, ...)
{
	char text[512];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	return error_set(s->err, ERROR_USAGE, "%s:%d: %s", s->path, line, text);
}

static void took(struct scanner *s, enum token token, size_t start)
{
	s->last = token;
	s->last_line = s->line;
	s->last_start = start;
	s->last_end = s->at;
}

/* The section that what is read now belongs to. */
static int current_section(const struct scanner *s)
{
	for (int i = s->depth - 1; i >= 0; i--)
		if (s->open[i].section != IN_LIST)
			return s->open[i].section;
	return CONFIG_SCAN_ROOT;
}

static void blank(struct scanner *s, size_t end)
{
	for (; s->at < end; s->at++) {
		if (s->out->text[s->at] == '\n')
			s->line++;
		else
			s->out->text[s->at] = ' ';
	}
}

static void line_comment(struct scanner *s)
{
	blank(s, s->at + strcspn(s->out->text + s->at, "\n"));
}

static int block_comment(struct scanner *s)
{
	const char *end = strstr(s->out->text + s->at + 2, "*/");
	if (!end)
		return fault(s, s->line, "the comment that begins here is never closed with */");
	blank(s, (size_t)(end - s->out->text) + 2);
	return 0;
}

static int string(struct scanner *s)
{
	const char *text = s->out->text;
	const char quote = text[s->at];
	size_t start = s->at++;
	for (; text[s->at] != quote; s->at++) {
		const char *p = text + s->at;
		if (s->at >= s->len || *p == '\n')
			return fault(s, s->line, "the text that begins with %c is not closed on its line", quote);
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return fault(s, s->line, "a control character stands in a text");
		if (p[0] == '$' && p[1] == '{')
			return fault(s, s->line, "${…} is not expanded here: write the value itself");
		if (*p != '\\')
			continue;
		if (p[1] != quote && p[1] != '\\')
			return fault(s, s->line, "in this text \\ may only stand before %c or another \\", quote);
		s->at++;
	}
	s->at++;
	took(s, TOKEN_STRING, start);
	return 0;
}

static int word(struct scanner *s)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@[]%~";
	const char *text = s->out->text;
	size_t start = s->at;
	s->at += strspn(text + s->at, letters);
	if (text[s->at] == '$' && text[s->at + 1] == '{')
		return fault(s, s->line, "${…} is not expanded here: write the value itself");
	if (s->at < s->len && !strchr(" #\"'\t\n\r={}()+,", text[s->at]))
		return fault(
			s, s->line, "what contains more than letters, digits and _-./:@[]%%~ must stand in quotes");
	took(s, TOKEN_WORD, start);
	return 0;
}

static void remember_assignment(struct scanner *s, size_t key_len, bool append)
{
	struct config_scan *out = s->out;
	int section = current_section(s);
	int *last = section == CONFIG_SCAN_ROOT ? &out->root_last : &out->section_last[section];
	size_t n = out->assignment_count;
	if ((n & (n - 1)) == 0)
		out->assignments = mem_grow(out->assignments, n ? 2 * n : 1, sizeof(*out->assignments));
	struct config_assignment *a = &out->assignments[n];
	*a = (struct config_assignment){.section = section, .line = s->last_line, .previous = *last, .append = append};
	memcpy(a->key, out->text + s->last_start, key_len);
	*last = (int)n;
	out->assignment_count++;
}

static int assign(struct scanner *s, bool append)
{
	const char *key = s->out->text + s->last_start;
	size_t len = s->last_end - s->last_start;
	if (s->last != TOKEN_WORD)
		return fault(s, s->line, "there is no key in front of the =");
	if (len >= CONFIG_SCAN_KEY_MAX || strspn(key, "abcdefghijklmnopqrstuvwxyz_") < len)
		return fault(s, s->last_line, "%.*s is not a key", (int)(len < 200 ? len : 200), key);
	remember_assignment(s, len, append);
	size_t start = s->at;
	s->at += append ? 2 : 1;
	took(s, TOKEN_ASSIGN, start);
	return 0;
}

static int begin_section(struct scanner *s)
{
	struct config_scan *out = s->out;
	size_t n = out->section_count;
	if ((n & (n - 1)) == 0) {
		size_t room = n ? 2 * n : 1;
		out->section_lines = mem_grow(out->section_lines, room, sizeof(int));
		out->section_last = mem_grow(out->section_last, room, sizeof(int));
		out->closing = mem_grow(out->closing, room, sizeof(int));
	}
	/* The line of the title, or of the name when there is none: the brace may stand on the next one. */
	out->section_lines[n] = s->last == TOKEN_STRING || s->last == TOKEN_WORD ? s->last_line : s->line;
	out->section_last[n] = -1;
	out->section_count++;
	return (int)n;
}

static int open_brace(struct scanner *s)
{
	if (s->depth == CONFIG_SCAN_DEPTH)
		return fault(s, s->line, "braces are nested too deeply");
	s->open[s->depth].section = s->last == TOKEN_ASSIGN ? IN_LIST : begin_section(s);
	s->open[s->depth].line = s->line;
	s->depth++;
	size_t start = s->at++;
	took(s, TOKEN_OPEN, start);
	return 0;
}

static int close_brace(struct scanner *s)
{
	if (s->depth == 0)
		return fault(s, s->line, "this } closes nothing");
	s->depth--;
	if (s->open[s->depth].section != IN_LIST)
		s->out->closing[s->closed++] = s->open[s->depth].section;
	size_t start = s->at++;
	took(s, TOKEN_CLOSE, start);
	return 0;
}

/* One token, comment or blank at the current place. */
static int step(struct scanner *s)
{
	const char *p = s->out->text + s->at;
	switch (*p) {
	case '\n':
		s->line++;
		s->at++;
		return 0;
	case ' ':
	case '\t':
	case '\r':
		s->at++;
		return 0;
	case '#':
		line_comment(s);
		return 0;
	case '"':
	case '\'':
		return string(s);
	case '=':
		return assign(s, false);
	case '+':
		if (p[1] == '=')
			return assign(s, true);
		return fault(s, s->line, "a single + means nothing here");
	case '{':
		return open_brace(s);
	case '}':
		return close_brace(s);
	case ',':
		s->at++;
		took(s, TOKEN_COMMA, s->at - 1);
		return 0;
	case '(':
	case ')':
		return fault(s, s->line, "unexpected %c", *p);
	default:
		if (p[0] == '/' && p[1] == '/') {
			line_comment(s);
			return 0;
		}
		return p[0] == '/' && p[1] == '*' ? block_comment(s) : word(s);
	}
}

int config_scan(const char *path, const char *text, size_t len, struct config_scan *ret, struct error *err)
{
	*ret = (struct config_scan){.text = mem_strndup(text, len), .root_last = -1};
	struct scanner s = {.path = path, .len = len, .line = 1, .out = ret, .err = err};
	int result = 0;
	if (strlen(ret->text) != len)
		result = error_set(err, ERROR_USAGE, "%s: a NUL byte stands in it", path);
	while (result == 0 && s.at < len)
		result = step(&s);
	if (result == 0 && s.depth)
		result = fault(&s, s.open[s.depth - 1].line, "the { of this line is never closed");
	if (result < 0)
		config_scan_release(ret);
	return result;
}

void config_scan_release(struct config_scan *s)
{
	free(s->text);
	free(s->assignments);
	free(s->section_lines);
	free(s->section_last);
	free(s->closing);
	*s = (struct config_scan){.root_last = -1};
}

static const struct config_assignment *find(const struct config_scan *s, int at, const char *key)
{
	while (at >= 0 && strcmp(s->assignments[at].key, key) != 0)
		at = s->assignments[at].previous;
	return at >= 0 ? &s->assignments[at] : NULL;
}

const struct config_assignment *config_scan_last(const struct config_scan *s, int section, const char *key)
{
	return find(s, section == CONFIG_SCAN_ROOT ? s->root_last : s->section_last[section], key);
}

const struct config_assignment *config_scan_first(const struct config_scan *s, int section, const char *key)
{
	const struct config_assignment *first = NULL, *a = config_scan_last(s, section, key);
	while (a) {
		first = a;
		a = find(s, a->previous, key);
	}
	return first;
}
