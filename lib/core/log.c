#include "lib/core/log.h"
#include "lib/core/clock.h"
#include "lib/core/error.h"
#include "lib/core/mem.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *log_program = "certsync";
static bool log_journal;

/* A line that is being made. */
struct line {
	char *text;
	size_t len, size;
	bool full;
	bool quoted; /* inside "…" */
};

static void put(struct line *l, char c)
{
	if (l->len + 1 >= l->size) {
		l->full = true;
		return;
	}
	l->text[l->len++] = c;
}

/* A value that came from elsewhere can neither end itself nor begin a key. */
static void put_value(struct line *l, const char *value, size_t most)
{
	value = value ? value : "";
	size_t len = strnlen(value, most);
	bool bare = !l->quoted && l->len && l->text[l->len - 1] == '=';
	bool quotes = bare && (!len || strcspn(value, " \t\r\n=\"") < len);
	if (quotes)
		put(l, '"');
	for (size_t i = 0; i < len; i++)
		put(l, value[i] == '"' ? '\'' : value[i]);
	if (quotes)
		put(l, '"');
}

/* A conversion: what stands between % and its letter. */
struct conversion {
	size_t precision; /* of a string */
	char length[3];   /* "", "l", "ll", "z" */
	char letter;
};

static const char *read_conversion(const char *at, struct conversion *ret)
{
	size_t len;
	*ret = (struct conversion){.precision = SIZE_MAX};
	if (*at == '.') {
		char *end;
		ret->precision = strtoul(at + 1, &end, 10);
		at = end;
	}
	len = strspn(at, "lz");
	snprintf(ret->length, sizeof(ret->length), "%.*s", (int)len, at);
	ret->letter = at[len];
	return at + len + (at[len] != '\0');
}

static bool is_length(const struct conversion *c, const char *length)
{
	return strcmp(c->length, length) == 0;
}

/* Prints d and u in each length. */
static void put_number(struct line *l, const struct conversion *c, va_list *args)
{
	char text[32];
	bool is_signed = c->letter == 'd';
	if (is_length(c, "ll"))
		snprintf(text, sizeof(text), is_signed ? "%lld" : "%llu", va_arg(*args, unsigned long long));
	else if (is_length(c, "l"))
		snprintf(text, sizeof(text), is_signed ? "%ld" : "%lu", va_arg(*args, unsigned long));
	else if (is_length(c, "z"))
		snprintf(text, sizeof(text), is_signed ? "%zd" : "%zu", va_arg(*args, size_t));
	else
		snprintf(text, sizeof(text), is_signed ? "%d" : "%u", va_arg(*args, unsigned));
	for (const char *at = text; *at; at++)
		put(l, *at);
}

static void put_format(struct line *l, const char *fmt, va_list *args)
{
	struct conversion c;
	while (*fmt) {
		if (*fmt == '"')
			l->quoted = !l->quoted;
		if (*fmt != '%') {
			put(l, *fmt++);
			continue;
		}
		fmt = read_conversion(fmt + 1, &c);
		if (c.letter == 's')
			put_value(l, va_arg(*args, const char *), c.precision);
		else if (c.letter == 'd' || c.letter == 'u')
			put_number(l, &c, args);
		else
			return; /* log.h names those that there are */
	}
}

static void write_pairs(char *text, size_t size, const char *fmt, va_list *args)
{
	struct line l = {.text = text, .size = size};
	size_t quotes = 0;
	put_format(&l, fmt, args);
	for (size_t i = 0; i < l.len; i++)
		quotes += text[i] == '"';
	if (l.full && quotes % 2)
		text[l.len - 1] = '"';
	text[l.len] = '\0';
	text_clean(text, 0);
}

void log_pairs(char *text, size_t size, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	write_pairs(text, size, fmt, &args);
	va_end(args);
}

bool log_to_journal(const char *stream, int fd)
{
	struct stat st;
	char text[64];
	if (!stream || fstat(fd, &st) < 0)
		return false;
	snprintf(text, sizeof(text), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return strcmp(text, stream) == 0;
}

void log_open(const char *program)
{
	log_program = program;
	log_journal = log_to_journal(getenv("JOURNAL_STREAM"), STDERR_FILENO);
}

void log_event(enum log_level level, const char *event, const char *fmt, ...)
{
	char text[2048];
	char when[CLOCK_TEXT_MAX];
	char line[2304];
	int len;
	va_list args;
	va_start(args, fmt);
	write_pairs(text, sizeof(text), fmt, &args);
	va_end(args);
	if (log_journal)
		len = snprintf(line, sizeof(line), "<%d>program=%s event=%s %s\n", level, log_program, event, text);
	else
		len = snprintf(line, sizeof(line), "%s program=%s event=%s %s\n", clock_text(clock_wall(), when),
			log_program, event, text);
	/* The line is written at once, so that the lines of several processes on one descriptor stay whole. */
	if (len > 0) {
		ssize_t ignored =
			write(STDERR_FILENO, line, (size_t)len < sizeof(line) ? (size_t)len : sizeof(line) - 1);
		(void)ignored;
	}
}

void log_lines(enum log_level level, const char *event, const char *key, const char *text)
{
	char *save = NULL;
	auto_free char *copy = mem_strdup(text);
	for (const char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		log_event(level, event, "%s=\"%s\"", key, line);
}
