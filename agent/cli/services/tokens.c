#include "agent/cli/services/tokens.h"
#include "lib/core/mem.h"

#include <stdlib.h>
#include <string.h>

void words_release(struct words *w)
{
	for (size_t i = 0; i < w->count; i++)
		free(w->list[i].text);
	free(w->list);
	*w = (struct words){0};
}

const char *words_at(const struct words *w, size_t i)
{
	return i < w->count ? w->list[i].text : "";
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* A brace of a "${variable}" is not special. */
static bool is_special(const char *text, size_t start, size_t at, enum words_rule rule)
{
	char c = text[at];
	if (rule != WORDS_NGINX || (c != ';' && c != '{' && c != '}'))
		return false;
	if (c == '{')
		return at == start || text[at - 1] != '$';
	for (size_t i = at; c == '}' && i-- > start;)
		if (text[i] == '{' || text[i] == '}')
			return text[i] == '}';
	return true;
}

/* Returns whether a backslash at `at` takes the next character as it is. */
static bool is_escape(const char *text, size_t at, size_t to, enum words_rule rule)
{
	if (text[at] != '\\' || at + 1 >= to || rule == WORDS_PLAIN)
		return false;
	return rule != WORDS_APACHE || text[at + 1] == '"' || text[at + 1] == '\'';
}

/* Puts what the word at `at` means into `out`, and returns where it ends. */
static size_t read_word(const char *text, size_t at, size_t to, enum words_rule rule, char *out, bool *ret_open)
{
	char quote = '\0';
	size_t start = at;
	for (; at < to; at++) {
		char c = text[at];
		if (is_escape(text, at, to, rule) && quote != '\'') {
			*out++ = text[++at];
		} else if (quote) {
			if (c == quote)
				quote = '\0';
			else
				*out++ = c;
		} else if (rule != WORDS_PLAIN && (c == '"' || c == '\'')) {
			quote = c;
		} else if (is_blank(c) || (at > start && is_special(text, start, at, rule)) ||
			(rule == WORDS_HAPROXY && c == '#')) {
			break;
		} else {
			*out++ = c;
			if (at == start && is_special(text, start, at, rule)) {
				at++;
				break;
			}
		}
	}
	*out = '\0';
	*ret_open = quote != '\0';
	return at;
}

static size_t skip_between(const char *text, size_t at, size_t to, enum words_rule rule)
{
	for (; at < to; at++) {
		/* The line goes on in the next one. */
		if (rule == WORDS_APACHE && text[at] == '\\' && at + 1 < to && text[at + 1] == '\n')
			continue;
		if (is_blank(text[at]))
			continue;
		if (text[at] != '#' || rule == WORDS_PLAIN || rule == WORDS_APACHE)
			break;
		while (at + 1 < to && text[at + 1] != '\n')
			at++;
	}
	return at;
}

/* ---- Lua ---- */

/* Returns the length of what opens a long bracket here, "[[" or "[=[", or 0. */
static size_t long_bracket(const char *text, size_t at, size_t to)
{
	size_t end = at + 1;
	if (at >= to || text[at] != '[')
		return 0;
	while (end < to && text[end] == '=')
		end++;
	return end < to && text[end] == '[' ? end + 1 - at : 0;
}

/* Returns the place behind the long bracket, or `to` when it does not end. */
static size_t skip_long(const char *text, size_t at, size_t to, size_t level)
{
	for (at += level; at + level <= to; at++) {
		if (text[at] != ']' || text[at + level - 1] != ']')
			continue;
		size_t equals = 0;
		while (equals < level - 2 && text[at + 1 + equals] == '=')
			equals++;
		if (equals == level - 2)
			return at + level;
	}
	return to;
}

static size_t skip_quote(const char *text, size_t at, size_t to)
{
	char quote = text[at++];
	for (; at < to && text[at] != quote; at++)
		at += text[at] == '\\';
	return at < to ? at + 1 : to;
}

/* Returns the place of the brace that closes a block of Lua whose own begins before `at`, or `to`. */
static size_t skip_lua(const char *text, size_t at, size_t to)
{
	int depth = 0;
	while (at < to) {
		bool comment = text[at] == '-' && at + 1 < to && text[at + 1] == '-';
		size_t level = long_bracket(text, comment ? at + 2 : at, to);
		if (level) {
			at = skip_long(text, comment ? at + 2 : at, to, level);
		} else if (comment) {
			while (at < to && text[at] != '\n')
				at++;
		} else if (text[at] == '"' || text[at] == '\'') {
			at = skip_quote(text, at, to);
		} else {
			if (text[at] == '}' && depth-- == 0)
				return at;
			depth += text[at] == '{';
			at++;
		}
	}
	return to;
}

static bool is_lua(const char *directive)
{
	static const char end[] = "_by_lua_block";
	size_t len = strlen(directive);
	return len > strlen(end) && strcmp(directive + len - strlen(end), end) == 0;
}

/* ---- words ---- */

static void note_open(struct words *ret, size_t at)
{
	if (!ret->open)
		ret->open_at = at;
	ret->open = true;
}

void words_split(const char *text, size_t from, size_t to, enum words_rule rule, struct words *ret)
{
	size_t at = from;
	size_t directive = ret->count; /* the first word of the one that is being read */
	auto_free char *meaning = mem_alloc(to - from + 1);
	while ((at = skip_between(text, at, to, rule)) < to) {
		struct word word = {.start = at};
		bool open = false;
		word.end = at = read_word(text, at, to, rule, meaning, &open);
		word.text = mem_strdup(meaning);
		ret->list = mem_grow(ret->list, ret->count + 1, sizeof(*ret->list));
		ret->list[ret->count++] = word;
		if (open)
			note_open(ret, word.start);
		if (rule != WORDS_NGINX || word.end - word.start != 1 || !strchr(";{}", text[word.start]))
			continue;
		if (text[word.start] == '{' && directive + 1 < ret->count && is_lua(ret->list[directive].text)) {
			at = skip_lua(text, at, to);
			if (at == to)
				note_open(ret, word.start);
		}
		directive = ret->count;
	}
}

static size_t line_end(const char *text, size_t at, size_t len)
{
	const char *newline = at < len ? memchr(text + at, '\n', len - at) : NULL;
	return newline ? (size_t)(newline - text) : len;
}

/* Returns whether a line is empty or a comment, which may stand between the lines of one entry. */
static bool is_nothing(const char *text, size_t at, size_t end)
{
	while (at < end && (text[at] == ' ' || text[at] == '\t' || text[at] == '\r'))
		at++;
	return at == end || text[at] == '#';
}

/* Returns the end of an entry that begins in text[start…end). */
static size_t entry_end(const char *text, size_t len, size_t end)
{
	size_t result = end;
	while (end < len) {
		size_t next = end + 1;
		end = line_end(text, next, len);
		if (is_nothing(text, next, end))
			continue;
		if (text[next] != ' ' && text[next] != '\t')
			break;
		result = end;
	}
	return result;
}

bool line_next(const char *text, size_t len, enum line_rule rule, struct line *line)
{
	bool first = line->number == 0;
	size_t start = first ? 0 : line->end + 1;
	int number = line->number;
	if (first)
		number = 1;
	else
		for (size_t at = line->start; at <= line->end && at < len; at++)
			number += text[at] == '\n';
	if (start >= len)
		return false;
	size_t end = line_end(text, start, len);
	for (; rule == LINE_BLANK && is_nothing(text, start, end); number++) {
		if (end >= len)
			return false;
		start = end + 1;
		end = line_end(text, start, len);
		if (start >= len)
			return false;
	}
	if (rule == LINE_BLANK)
		end = entry_end(text, len, end);
	while (rule == LINE_BACKSLASH && end < len && end > start && text[end - 1] == '\\')
		end = line_end(text, end + 1, len);
	*line = (struct line){.start = start, .end = end, .number = number};
	return true;
}

int line_number(const char *text, size_t at)
{
	int number = 1;
	for (size_t i = 0; i < at; i++)
		number += text[i] == '\n';
	return number;
}

char *path_below(const char *base, const char *path)
{
	return path[0] == '/' ? mem_strdup(path) : mem_printf("%s/%s", base, path);
}

char *path_parent(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash && slash > path ? mem_strndup(path, (size_t)(slash - path)) : mem_strdup("/");
}
