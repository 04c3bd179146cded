/* The words of a configuration file, each with its place, so that one can be replaced and nothing else changes. This
 * does no I/O.
 */
#ifndef CERTSYNC_AGENT_CLI_SERVICES_TOKENS_H
#define CERTSYNC_AGENT_CLI_SERVICES_TOKENS_H

#include <stdbool.h>
#include <stddef.h>

struct word {
	size_t start, end; /* in the text, quotes included */
	char *text;        /* owned; without its quotes and escapes */
};

struct words {
	struct word *list;
	size_t count;
	bool open; /* a quote or a block of another language begins at `open_at` and does not end */
	size_t open_at;
};

#define auto_words __attribute__((cleanup(words_release)))
void words_release(struct words *w);

enum words_rule {
	WORDS_PLAIN,   /* blanks are between words, nothing else means anything: master.cf */
	WORDS_APACHE,  /* "…" and '…', a backslash before a quote; a comment is a whole line */
	WORDS_HAPROXY, /* "…", '…', a backslash before any character, # begins a comment anywhere */
	WORDS_NGINX,   /* the same, ; { } being words, and a # only at the start of a word; over line ends. What a
			  directive *_by_lua_block has in its braces is Lua, and passed over */
};

/* Appends the words of text[from…to) in their order. */
void words_split(const char *text, size_t from, size_t to, enum words_rule rule, struct words *ret);
/* Returns the text of word `i`, or "" behind the last one. */
const char *words_at(const struct words *w, size_t i);

/* A line that may go on in the next ones. */
struct line {
	size_t start, end; /* without its last newline */
	int number;        /* from 1, of its first */
};

enum line_rule {
	LINE_SINGLE,
	LINE_BACKSLASH, /* goes on after a backslash at its end */
	LINE_BLANK,     /* goes on where the next one begins with a blank; comments and empty ones are passed over */
};

/* Goes on to the line after *line, which begins as {0}. Returns false when there is none. */
bool line_next(const char *text, size_t len, enum line_rule rule, struct line *line);
/* Returns the number of the line in which byte `at` is. */
int line_number(const char *text, size_t at);

/* Returns the absolute path of a word that names a file; a relative one is below `base`. The caller frees it. */
char *path_below(const char *base, const char *path);
/* Returns the directory that an absolute path is in; the caller frees it. */
char *path_parent(const char *path);

#endif
