#include "lib/config/syntax.h"
#include "lib/config/lexer.h"
#include "lib/core/mem.h"

#include <stdlib.h>
#include <string.h>

struct parser {
	const char *text; /* the file */
	struct lexer lexer;
	struct token ahead[3]; /* what comes next */
	struct config_faults *faults;
	struct config_section *open[CONFIG_DEPTH_MAX + 1]; /* the file, and in each the next */
	int open_lines[CONFIG_DEPTH_MAX + 1];              /* where their braces stand */
	int depth;
	size_t forgiven; /* braces that may close nothing, since a fault told of what may have been to open them */
};

static struct token take(struct parser *p)
{
	struct token t = p->ahead[0];
	p->ahead[0] = p->ahead[1];
	p->ahead[1] = p->ahead[2];
	p->ahead[2] = lexer_next(&p->lexer);
	return t;
}

static bool at(const struct parser *p, enum token_kind kind)
{
	return p->ahead[0].kind == kind;
}

/* The last few faults are looked at, since the lexer is some tokens ahead and may have told of later lines. */
static bool told(const struct config_faults *f, int line)
{
	for (size_t i = f->count; i > 0 && i + 8 > f->count; i--)
		if (f->list[i - 1].line == line)
			return true;
	return false;
}

static void fault(struct parser *p, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void fault(struct parser *p, int line, const char *fmt, ...)
{
	if (told(p->faults, line))
		return;
	va_list args;
	va_start(args, fmt);
	config_faults_vadd(p->faults, line, fmt, args);
	va_end(args);
}

static bool is_value(const struct token *t)
{
	return t->kind == TOKEN_WORD || t->kind == TOKEN_TEXT;
}

static bool is_assignment(const struct token *t)
{
	return is_value(&t[0]) && (t[1].kind == TOKEN_ASSIGN || t[1].kind == TOKEN_APPEND);
}

static bool is_section(const struct token *t)
{
	return is_value(&t[0]) && (t[1].kind == TOKEN_OPEN || (is_value(&t[1]) && t[2].kind == TOKEN_OPEN));
}

/* After a fault, what stands first on its line and has a statement's form is taken for one. */
static bool begins_statement(const struct parser *p)
{
	return p->ahead[0].first && (is_assignment(p->ahead) || is_section(p->ahead));
}

/* What may also be a value on a line of its own is only taken for a section if a title stands in quotes behind it. */
static bool begins_surely(const struct parser *p)
{
	const struct token *t = p->ahead;
	return t[0].first && (is_assignment(t) || (is_section(t) && t[1].kind == TOKEN_TEXT && !t[1].first));
}

/* Whether what comes next stands behind the line that was not understood and is no continuation of it. */
static bool is_behind(const struct parser *p, enum token_kind last)
{
	return p->ahead[0].first && !at(p, TOKEN_OPEN) && last != TOKEN_COMMA && last != TOKEN_ASSIGN &&
		last != TOKEN_APPEND;
}

/* Passes over the rest of what was not understood, all of what it has in braces included: a list up to its end, a
 * statement up to that of its line. `last` has been taken. */
static void skip(struct parser *p, enum token_kind last, bool list)
{
	for (size_t depth = last == TOKEN_OPEN; !at(p, TOKEN_END); last = take(p).kind) {
		if (depth == 0 && (at(p, TOKEN_CLOSE) || begins_statement(p) || (!list && is_behind(p, last))))
			return;
		if (at(p, TOKEN_OPEN))
			depth++;
		else if (at(p, TOKEN_CLOSE))
			depth--;
	}
}

static void never_closed(struct parser *p, int line)
{
	if (!p->lexer.torn)
		fault(p, line, "the { of this line is never closed");
}

/* Sections and entries. */

struct config_section *config_section_add(struct config_section *parent, const char *name, const char *title, int line)
{
	struct config_section *s = mem_alloc(sizeof(*s));
	s->name = name ? mem_strdup(name) : NULL;
	s->title = title ? mem_strdup(title) : NULL;
	s->line = line;
	if (!parent)
		return s;
	if (parent->last_section)
		parent->last_section->next = s;
	else
		parent->sections = s;
	parent->last_section = s;
	return s;
}

static struct config_entry *add_entry(struct config_section *s, const struct token *key, bool append)
{
	struct config_entry *e = mem_alloc(sizeof(*e));
	*e = (struct config_entry){.key = token_value(key), .line = key->line, .append = append};
	e->values = mem_array(1, sizeof(*e->values));
	if (s->last_entry)
		s->last_entry->next = e;
	else
		s->entries = e;
	s->last_entry = e;
	return e;
}

static void add_value(struct config_entry *e, const struct token *value)
{
	size_t n = ++e->value_count;
	if ((n & (n - 1)) == 0)
		e->values = mem_grow(e->values, 2 * n, sizeof(*e->values));
	e->values[n - 1] = token_value(value);
	e->values[n] = NULL;
}

static void entry_free(struct config_entry *e)
{
	for (size_t i = 0; i < e->value_count; i++)
		free(e->values[i]);
	free(e->values);
	free(e->key);
	free(e);
}

void config_section_free(struct config_section *s)
{
	if (!s)
		return;
	for (struct config_entry *e = s->entries, *next; e; e = next) {
		next = e->next;
		entry_free(e);
	}
	for (struct config_section *inner = s->sections, *next; inner; inner = next) {
		next = inner->next;
		config_section_free(inner); /* at most CONFIG_DEPTH_MAX in each other */
	}
	free(s->name);
	free(s->title);
	free(s);
}

struct config_section *config_section_next(
	const struct config_section *parent, const char *name, const struct config_section *after)
{
	struct config_section *s = after ? after->next : parent->sections;
	while (s && strcmp(s->name, name) != 0)
		s = s->next;
	return s;
}

const struct config_entry *config_entry_last(const struct config_section *s, const char *key)
{
	const struct config_entry *last = NULL;
	for (const struct config_entry *e = s->entries; e; e = e->next)
		if (strcmp(e->key, key) == 0)
			last = e;
	return last;
}

/* Statements. */

/* Whether what comes next may stand in a list at this place; else the fault is recorded, and the list ends. */
static bool list_goes_on(struct parser *p, const struct config_entry *e, int line, bool expected)
{
	const struct token *t = p->ahead;
	if (at(p, TOKEN_END))
		never_closed(p, line);
	else if (begins_statement(p))
		fault(p, line, "%s: the list that begins here is not closed with }", e->key);
	else if (is_value(t) && !expected)
		fault(p, t->line, "%s: a comma is missing in front of %.*s", e->key, (int)(t->len < 64 ? t->len : 64),
			t->raw);
	else if (at(p, TOKEN_COMMA) && expected)
		fault(p, t->line, "%s: no value stands in front of this comma", e->key);
	else if (!is_value(t) && !at(p, TOKEN_COMMA))
		fault(p, t->line, "%s: in a list there are values and commas alone", e->key);
	else
		return true;
	return false;
}

static void parse_list(struct parser *p, struct config_entry *e)
{
	const int line = take(p).line;
	e->braces = true;
	for (bool expected = true; !at(p, TOKEN_CLOSE); expected = !expected) {
		if (!list_goes_on(p, e, line, expected)) {
			skip(p, TOKEN_COMMA, true);
			break;
		}
		struct token t = take(p);
		if (expected)
			add_value(e, &t);
	}
	if (at(p, TOKEN_CLOSE))
		take(p);
}

static void parse_assignment(struct parser *p)
{
	const struct token key = take(p), sign = take(p);
	struct config_entry *e = add_entry(p->open[p->depth], &key, sign.kind == TOKEN_APPEND);
	if (key.kind == TOKEN_TEXT)
		fault(p, key.line, "a key stands without quotes");
	if (at(p, TOKEN_OPEN)) {
		parse_list(p, e);
		return;
	}
	if (!is_value(p->ahead) || begins_surely(p)) {
		fault(p, sign.line, "%s: no value follows the %s", e->key, e->append ? "+=" : "=");
		skip(p, TOKEN_END, false);
		return;
	}
	struct token value = take(p);
	add_value(e, &value);
}

static void open_section(struct parser *p)
{
	const struct token name = take(p);
	struct token title = name;
	if (!at(p, TOKEN_OPEN))
		title = take(p);
	const struct token brace = take(p);
	if (p->depth == CONFIG_DEPTH_MAX) {
		fault(p, brace.line, "braces are nested too deeply, and nothing behind this is read");
		p->lexer.torn = true;
		while (!at(p, TOKEN_END))
			take(p);
		return;
	}
	auto_free char *name_text = token_value(&name);
	auto_free char *title_text = title.raw == name.raw ? NULL : token_value(&title);
	struct config_section *s = config_section_add(p->open[p->depth], name_text, title_text, title.line);
	s->body = (size_t)(brace.raw - p->text) + 1;
	p->depth++;
	p->open[p->depth] = s;
	p->open_lines[p->depth] = brace.line;
}

static void close_section(struct parser *p)
{
	const struct token t = take(p);
	if (p->depth > 0)
		p->depth--;
	else if (p->forgiven > 0)
		p->forgiven--;
	else if (!p->lexer.torn)
		fault(p, t.line, "this } closes nothing");
}

static void not_a_statement(struct parser *p)
{
	const struct token t = take(p);
	p->forgiven += is_value(&t) && at(p, TOKEN_TEXT);
	if (is_value(&t))
		fault(p, t.line, "%.*s: neither = nor { follows", (int)(t.len < 64 ? t.len : 64), t.raw);
	else if (t.kind == TOKEN_COMMA)
		fault(p, t.line, "this comma separates nothing: commas stand in lists alone");
	else if (t.kind == TOKEN_OPEN)
		fault(p, t.line, "this { follows neither a section's name nor a key and =");
	else
		fault(p, t.line, "there is no key in front of the =");
	if (t.kind != TOKEN_COMMA)
		skip(p, t.kind, false);
}

struct config_section *config_syntax(const char *text, size_t len, struct config_faults *faults)
{
	struct parser p = {.text = text, .faults = faults};
	lexer_init(&p.lexer, text, len, faults);
	for (size_t i = 0; i < COUNT(p.ahead); i++)
		take(&p);
	p.open[0] = config_section_add(NULL, NULL, NULL, 1);
	while (!at(&p, TOKEN_END)) {
		if (is_assignment(p.ahead))
			parse_assignment(&p);
		else if (is_section(p.ahead))
			open_section(&p);
		else if (at(&p, TOKEN_CLOSE))
			close_section(&p);
		else
			not_a_statement(&p);
	}
	if (p.depth > 0)
		never_closed(&p, p.open_lines[p.depth]);
	return p.open[0];
}
