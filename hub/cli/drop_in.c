#include "hub/cli/drop_in.h"
#include "lib/core/mem.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char blanks[] = " \t\r";

/* The old text, line by line. */
struct page {
	char *text; /* owned; each line ends with a NUL */
	char **lines;
	size_t count;
	size_t first;      /* the first Match, or `count` */
	size_t block, end; /* of the account: its Match, and where the next one stands; both `count` without one */
};

static void page_release(struct page *p)
{
	free(p->lines);
	free(p->text);
}

/* Returns the length of the keyword at the beginning of a text, which '=' may end, too. */
static size_t keyword_length(const char *text)
{
	return strcspn(text, " \t\r=");
}

static bool has_keyword(const char *line, const char *like)
{
	size_t len = keyword_length(like);
	line += strspn(line, blanks);
	return *line != '#' && keyword_length(line) == len && strncasecmp(line, like, len) == 0;
}

static bool is_comment(const char *line)
{
	return line[strspn(line, blanks)] == '#';
}

/* Returns whether this is "Match User NAME" and names nobody else. */
static bool is_block_of(const char *line, const char *user)
{
	auto_free char *copy = mem_strdup(line);
	char *save = NULL;
	const char *const words[] = {"match", "user", user};
	const char *word = strtok_r(copy, " \t\r=\"", &save);
	for (size_t i = 0; i < COUNT(words); i++) {
		if (!word || (i < 2 ? strcasecmp(word, words[i]) : strcmp(word, words[i])) != 0)
			return false;
		word = strtok_r(NULL, " \t\r=\"", &save);
	}
	return !word || *word == '#';
}

static void page_read(struct page *p, const char *old, const char *user)
{
	*p = (struct page){.text = mem_strdup(old)};
	for (char *at = p->text, *end; *at; at = end) {
		end = at + strcspn(at, "\n");
		if (*end)
			*end++ = '\0';
		p->lines = mem_grow(p->lines, p->count + 1, sizeof(*p->lines));
		p->lines[p->count++] = at;
	}
	p->first = p->block = p->end = p->count;
	for (size_t i = p->count; i-- > 0;) {
		if (!has_keyword(p->lines[i], "Match"))
			continue;
		if (is_block_of(p->lines[i], user)) {
			p->end = p->first; /* up to now the one behind it */
			p->block = i;
		}
		p->first = i;
	}
}

/* ---- what is wanted, and where it stands ---- */

static bool is_in_place(const struct page *p, size_t i, const struct drop_in_line *wanted)
{
	return wanted->global ? i < p->first : i > p->block && i < p->end;
}

static bool stands_already(const struct page *p, const struct drop_in_line *wanted)
{
	for (size_t i = 0; i < p->count; i++)
		if (is_in_place(p, i, wanted) && has_keyword(p->lines[i], wanted->text))
			return true;
	return false;
}

static int put_missing(const struct page *p, const struct drop_in_wish *wish, bool global, struct buf *out)
{
	int result = 0;
	for (size_t i = 0; i < wish->count; i++)
		if (wish->lines[i].global == global && !stands_already(p, &wish->lines[i]))
			result |= buf_addf(out, "%s%s\n", global ? "" : "\t", wish->lines[i].text);
	return result;
}

/* Puts what is missing in front of the first Match, and the account's block, where there is none. */
static int put_new(const struct page *p, const struct drop_in_wish *wish, const char *old, struct buf *out)
{
	const bool block = p->block < p->count;
	int result = block ? 0 : buf_addf(out, "%s", wish->head);
	result |= put_missing(p, wish, true, out);
	if (wish->note && !strcasestr(old, wish->note_keyword))
		result |= buf_addf(out, "%s", wish->note);
	if (block)
		return result;
	result |= buf_addf(out, "Match User %s\n", wish->user);
	result |= put_missing(p, wish, false, out);
	return result | buf_addf(out, "Match all\n");
}

static bool says(const char *line, const char *text)
{
	size_t len = strlen(text);
	line += strspn(line, blanks);
	return strncmp(line, text, len) == 0 && line[len + strspn(line + len, blanks)] == '\0';
}

/* `done` has whether each wanted line has been put. */
static int put_old(const struct page *p, size_t i, const struct drop_in_wish *wish, bool *done, struct buf *out)
{
	const char *line = p->lines[i];
	for (size_t n = 0; n < wish->count; n++) {
		const struct drop_in_line *wanted = &wish->lines[n];
		if (!wanted->replaces || !is_in_place(p, i, wanted) || !has_keyword(line, wanted->text) ||
			says(line, wanted->text))
			continue;
		int result = buf_addf(
			out, "# certsync doctor put another in the place of: %s\n", line + strspn(line, blanks));
		if (!done[n])
			result |= buf_addf(out, "%s%s\n", wanted->global ? "" : "\t", wanted->text);
		done[n] = true;
		return result;
	}
	return buf_addf(out, "%s\n", line);
}

int drop_in_edit(const struct drop_in_wish *wish, const char *old, struct buf *out)
{
	struct page p;
	bool done[DROP_IN_LINES_MAX] = {false};
	int result = 0;
	page_read(&p, old, wish->user);
	/* The comment above a Match belongs to it. */
	size_t before = p.first;
	while (before && before < p.count && is_comment(p.lines[before - 1]))
		before--;
	for (size_t i = 0; i <= p.count; i++) {
		if (i == before)
			result |= put_new(&p, wish, old, out);
		if (i < p.count)
			result |= put_old(&p, i, wish, done, out);
		if (i < p.count && i == p.block)
			result |= put_missing(&p, wish, false, out);
	}
	page_release(&p);
	return result;
}
