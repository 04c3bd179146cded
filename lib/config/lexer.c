#include "lib/config/lexer.h"
#include "lib/core/mem.h"

#include <string.h>

void lexer_init(struct lexer *l, const char *text, size_t len, struct config_faults *faults)
{
	*l = (struct lexer){.at = text, .line = 1, .first = true, .faults = faults};
	const size_t read = strlen(text);
	if (read == len)
		return;
	int line = 1;
	for (size_t i = 0; i < read; i++)
		line += text[i] == '\n';
	config_faults_add(faults, line, "a NUL byte stands here, and nothing behind it is read");
	l->torn = true;
}

/* Moves behind the comment that begins here. */
static void pass_block(struct lexer *l)
{
	const char *end = strstr(l->at + 2, "*/");
	if (!end) {
		config_faults_add(l->faults, l->line, "the comment that begins here is never closed with */");
		l->torn = true;
	}
	for (end = end ? end + 2 : l->at + strlen(l->at); l->at < end; l->at++) {
		if (*l->at != '\n')
			continue;
		l->line++;
		l->first = true;
	}
}

static void pass_blanks(struct lexer *l)
{
	for (;;) {
		l->at += strspn(l->at, " \t\r");
		if (*l->at == '\n') {
			l->at++;
			l->line++;
			l->first = true;
		} else if (*l->at == '#' || strncmp(l->at, "//", 2) == 0) {
			l->at += strcspn(l->at, "\n");
		} else if (strncmp(l->at, "/*", 2) == 0) {
			pass_block(l);
		} else {
			return;
		}
	}
}

/* The NUL at the end of the file ends a word, too. */
static bool ends_word(const char *p)
{
	return strchr(" #\"'\t\n\r={},", *p) || (p[0] == '+' && p[1] == '=');
}

static const char *word_fault(const char *p)
{
	return p[0] == '$' && p[1] == '{'
		? "${…} is not expanded here: write the value itself"
		: "what contains more than letters, digits and _-./:@[]%~ must stand in quotes";
}

/* Returns the end of a word in which something stands that no word may have. */
static const char *faulty_end(const char *p)
{
	while (!ends_word(p)) {
		bool expansion = p[0] == '$' && p[1] == '{';
		p += expansion ? strcspn(p, "}\n") : 1;
		if (expansion && *p == '}')
			p++;
	}
	return p;
}

static void read_word(struct lexer *l, struct token *ret)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@[]%~";
	ret->kind = TOKEN_WORD;
	l->at += strspn(l->at, letters);
	if (!ends_word(l->at)) {
		config_faults_add(l->faults, l->line, "%s", word_fault(l->at));
		l->at = faulty_end(l->at);
	}
	ret->len = (size_t)(l->at - ret->raw);
}

/* Returns what is wrong at this place of a text, or NULL. */
static const char *text_fault_at(const char *p, char quote)
{
	if ((unsigned char)*p < 0x20 || *p == 0x7f)
		return "a control character stands in a text";
	if (p[0] == '$' && p[1] == '{')
		return "${…} is not expanded here: write the value itself";
	if (p[0] != '\\' || p[1] == quote || p[1] == '\\')
		return NULL;
	return quote == '"' ? "in this text \\ may only stand before \" or another \\"
			    : "in this text \\ may only stand before ' or another \\";
}

static void read_text(struct lexer *l, struct token *ret)
{
	const char quote = *l->at++;
	const char *fault = NULL;
	ret->kind = TOKEN_TEXT;
	ret->raw = l->at;
	for (; *l->at != quote && *l->at && *l->at != '\n'; l->at++) {
		const char *here = text_fault_at(l->at, quote);
		fault = fault ? fault : here;
		if (!here && *l->at == '\\')
			l->at++;
	}
	ret->len = (size_t)(l->at - ret->raw);
	if (fault)
		config_faults_add(l->faults, l->line, "%s", fault);
	if (*l->at == quote) {
		l->at++;
		return;
	}
	if (!fault)
		config_faults_add(l->faults, l->line, "the text that begins with %c is not closed on its line", quote);
	l->torn = true;
}

static enum token_kind mark(const char *p, size_t *ret_len)
{
	static const struct {
		const char *text;
		enum token_kind kind;
	} marks[] = {
		{"=", TOKEN_ASSIGN}, {"+=", TOKEN_APPEND}, {"{", TOKEN_OPEN}, {"}", TOKEN_CLOSE}, {",", TOKEN_COMMA}};
	for (size_t i = 0; i < COUNT(marks); i++) {
		*ret_len = strlen(marks[i].text);
		if (strncmp(p, marks[i].text, *ret_len) == 0)
			return marks[i].kind;
	}
	return TOKEN_END;
}

struct token lexer_next(struct lexer *l)
{
	pass_blanks(l);
	struct token t = {.line = l->line, .first = l->first, .raw = l->at};
	size_t len;
	if (!*l->at)
		return t;
	l->first = false;
	t.kind = mark(l->at, &len);
	if (t.kind != TOKEN_END) {
		l->at += len;
		return t;
	}
	if (*l->at == '"' || *l->at == '\'')
		read_text(l, &t);
	else
		read_word(l, &t);
	if (t.len > CONFIG_TEXT_MAX) {
		config_faults_add(l->faults, t.line, "a text of %zu bytes: %d at most", t.len, CONFIG_TEXT_MAX);
		t.len = CONFIG_TEXT_MAX;
	}
	return t;
}

char *token_value(const struct token *t)
{
	char *value = mem_strndup(t->raw, t->len), *to = value;
	if (t->kind != TOKEN_TEXT)
		return value;
	for (const char *from = value; *from; from++) {
		if (*from == '\\' && from[1])
			from++;
		*to++ = *from;
	}
	*to = '\0';
	return value;
}
