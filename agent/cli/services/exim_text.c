#include "agent/cli/services/exim.h"
#include "agent/cli/services/find.h"
#include "lib/core/mem.h"
#include "lib/core/owned.h"

#include <ctype.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>

static const char *const variables[] = {"tls_in_sni", "tls_sni"};
/* What means nothing else with the same name. `lsearch` and the like are looked at on their own. */
static const char *const harmless[] = {"tls_in_sni", "tls_sni", "primary_hostname", "value", "if", "lookup", "lc", "uc",
	"exists", "eq", "eqi", "and", "or", "def", "inlist", "inlisti"};
static const char *const maps[] = {"lsearch", "wildlsearch", "nwildlsearch"};

/* ---- lists ---- */

static void append_item(struct words *ret, const char *text)
{
	size_t start = strspn(text, " \t\n"), end = strlen(text);
	while (end > start && strchr(" \t\n", text[end - 1]))
		end--;
	if (end == start)
		return;
	ret->list = mem_grow(ret->list, ret->count + 1, sizeof(*ret->list));
	ret->list[ret->count++] = (struct word){.text = mem_strndup(text + start, end - start)};
}

void exim_list(const char *list, struct words *ret)
{
	char separator = ':';
	list += strspn(list, " \t");
	if (list[0] == '<' && ispunct((unsigned char)list[1])) {
		separator = list[1];
		list += 2;
	}
	auto_free char *item = mem_alloc(strlen(list) + 1);
	size_t len = 0;
	for (;; list++) {
		bool end = *list == '\0' || (*list == separator && list[1] != separator);
		if (!end) {
			list += *list == separator;
			item[len++] = *list;
			continue;
		}
		item[len] = '\0';
		append_item(ret, item);
		len = 0;
		if (*list == '\0')
			return;
	}
}

/* ---- what a text depends on ---- */

static bool is_among(const char *const *list, size_t count, const char *word, size_t len)
{
	for (size_t i = 0; i < count; i++)
		if (strlen(list[i]) == len && strncmp(list[i], word, len) == 0)
			return true;
	return false;
}

static size_t word_length(const char *at)
{
	size_t len = 0;
	while (isalnum((unsigned char)at[len]) || at[len] == '_')
		len++;
	return len;
}

/* Returns the path in the braces behind the name of a kind of map, or NULL; the caller frees it. */
static char *map_path(const char *at)
{
	at += strspn(at, "*@ \t");
	size_t len = *at == '{' ? strcspn(at, "}") : 0;
	char *path = len ? mem_strndup(at + 1, len - 1) : NULL;
	if (path && path[0] == '/' && !strchr(path, '$'))
		return path;
	free(path);
	return NULL;
}

static bool is_roots_map(const char *at)
{
	struct error ignored;
	auto_free char *path = map_path(at);
	return path && owned_check(path, NULL, &ignored) == 0;
}

/* A word counts behind a "$" or before a "{"; what else there is are texts. */
static bool is_harmless(const char *text, const char *word, size_t len)
{
	const char *after = word + len + strspn(word + len, "*@ \t");
	bool named = (word > text && word[-1] == '$') || (word > text + 1 && word[-1] == '{' && word[-2] == '$');
	if (*after != '{' && !named)
		return true;
	if (is_among(maps, COUNT(maps), word, len))
		return is_roots_map(word + len);
	return is_among(harmless, COUNT(harmless), word, len);
}

bool exim_is_by_name(const char *text)
{
	for (const char *at = text; *at; at++) {
		size_t len = word_length(at);
		if (*at == '\\' || (*at == '$' && at[1] != '{' && word_length(at + 1) == 0))
			return false;
		if (len && !is_harmless(text, at, len))
			return false;
		at += len ? len - 1 : 0;
	}
	return true;
}

/* Returns the length of a variable for the client's name at this place, or 0. */
static size_t variable_length(const char *at)
{
	bool braces = at[0] == '$' && at[1] == '{';
	size_t from = braces ? 2 : 1, len = at[0] == '$' ? word_length(at + from) : 0;
	if (!is_among(variables, COUNT(variables), at + from, len) || (braces && at[from + len] != '}'))
		return 0;
	return from + len + braces;
}

/* Returns the length of the condition that there is such a name, or 0. */
static size_t condition_length(const char *at)
{
	size_t len = strncmp(at, "def:", 4) == 0 ? word_length(at + 4) : 0;
	return is_among(variables, COUNT(variables), at + 4, len) ? 4 + len : 0;
}

char *exim_with_name(const char *text, const char *name)
{
	auto_free char *condition = mem_printf("!eq{%s}{}", name);
	char *result = mem_strdup("");
	while (*text) {
		size_t variable = variable_length(text), skip = variable ? variable : condition_length(text);
		const char *instead = variable ? name : skip ? condition : "";
		char *longer = mem_printf("%s%.*s%s", result, skip ? 0 : 1, text, instead);
		free(result);
		result = longer;
		text += skip ? skip : 1;
	}
	return result;
}

/* ---- names ---- */

static void add_keys(struct found_service *s, const char *path)
{
	struct error ignored;
	auto_buf struct buf text = BUF_INIT(FIND_FILE_MAX);
	struct line line = {0};
	if (find_read(path, &text, &ignored) < 0)
		return;
	while (line_next(buf_text(&text), text.len, LINE_BLANK, &line)) {
		const char *at = buf_text(&text) + line.start;
		auto_free char *key = mem_strndup(at, strcspn(at, ": \t\n"));
		found_name(s, key);
	}
}

/* Adds the names for which there is a file: the path is in text[from…to), with the variable for the name in it. */
static void add_files(struct found_service *s, const char *text, size_t from, size_t to)
{
	glob_t found = {0};
	auto_free char *path = mem_strndup(text + from, to - from);
	auto_free char *pattern = exim_with_name(path, "*");
	const char *star = strchr(pattern, '*');
	if (!star || strchr(star + 1, '*') || strpbrk(pattern, "?[$"))
		return;
	size_t before = (size_t)(star - pattern), after = strlen(star + 1);
	if (glob(pattern, 0, NULL, &found) != 0)
		found.gl_pathc = 0;
	for (size_t i = 0; i < found.gl_pathc; i++) {
		auto_free char *name =
			mem_strndup(found.gl_pathv[i] + before, strlen(found.gl_pathv[i]) - before - after);
		if (strchr(name, '.'))
			found_name(s, name);
	}
	globfree(&found);
}

/* A path ends where a brace, a blank or a separator of a list stands; the braces of a variable are part of it. */
static size_t path_end(const char *text, size_t from)
{
	size_t at = from;
	while (text[at] && !strchr("{} \t:;", text[at])) {
		size_t skip = variable_length(text + at);
		at += skip ? skip : 1;
	}
	return at;
}

void exim_names(struct found_service *s, const char *text)
{
	for (size_t at = 0; text[at]; at++) {
		size_t len = word_length(text + at);
		auto_free char *map = is_among(maps, COUNT(maps), text + at, len) ? map_path(text + at + len) : NULL;
		if (map)
			add_keys(s, map);
		if (text[at] == '{') {
			auto_free char *whole = mem_strndup(text + at + 1, strcspn(text + at + 1, "{}"));
			if (strchr(whole, '.'))
				found_name(s, whole);
		}
		if (text[at] == '/') {
			size_t end = path_end(text, at);
			add_files(s, text, at, end);
			at = end - 1;
		}
		at += len ? len - 1 : 0;
	}
}
