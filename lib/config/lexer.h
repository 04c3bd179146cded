/* The words of a configuration (man/certsync-hub.conf.5, Syntax), one after the other, each with its line.
 *
 * A fault is recorded and the lexer goes on behind it, so that one run tells all of them: what is wrong inside a word or
 * a text ends with it. Nothing is expanded and nothing is guessed: ${NAME} is a fault, and so is an escape that means
 * nothing.
 */
#ifndef CERTSYNC_LIB_CONFIG_LEXER_H
#define CERTSYNC_LIB_CONFIG_LEXER_H

#include "lib/config/faults.h"

#include <stdbool.h>
#include <stddef.h>

/* No longer word or text is taken, whatever it is for. (A path of Linux has at most 4095 bytes.) */
enum { CONFIG_TEXT_MAX = 8192 };

enum token_kind {
	TOKEN_END,    /* of the file */
	TOKEN_WORD,   /* letters, digits and _-./:@[]%~ without quotes */
	TOKEN_TEXT,   /* in quotes */
	TOKEN_ASSIGN, /* = */
	TOKEN_APPEND, /* += */
	TOKEN_OPEN,   /* { */
	TOKEN_CLOSE,  /* } */
	TOKEN_COMMA,
};

struct token {
	enum token_kind kind;
	int line;
	bool first; /* whether nothing stands before it on its line */
	const char *
		raw; /* of a word or text: where it stands in the file, without its quotes; at most CONFIG_TEXT_MAX bytes */
	size_t len;
};

struct lexer {
	const char *at; /* borrowed */
	int line;
	bool first;
	bool torn; /* whether a text or comment that does not end has swallowed what followed */
	struct config_faults *faults;
};

/* `text` has `len` bytes and a NUL behind them, and stays while the lexer and its tokens are used. What follows a NUL
 * in it is not read. */
void lexer_init(struct lexer *l, const char *text, size_t len, struct config_faults *faults);
struct token lexer_next(struct lexer *l);
/* Returns what a word or text means, with its escapes undone; the caller owns it. */
char *token_value(const struct token *t);

#endif
