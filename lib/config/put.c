#include "lib/config/put.h"
#include "lib/config/value.h"
#include "lib/core/mem.h"

static void put_key(struct buf *out, int tabs, const char *key)
{
	while (tabs-- > 0)
		buf_put_u8(out, '\t');
	buf_addf(out, "%s = ", key);
}

static void put_quoted(struct buf *out, const char *text)
{
	buf_put_u8(out, '"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			buf_put_u8(out, '\\');
		buf_put_u8(out, (uint8_t)*text);
	}
	buf_put_u8(out, '"');
}

void config_put(struct buf *out, int tabs, const char *key, const char *value)
{
	if (!value)
		return;
	put_key(out, tabs, key);
	put_quoted(out, value);
	buf_put_u8(out, '\n');
}

void config_put_list(struct buf *out, int tabs, const char *key, char *const *list)
{
	put_key(out, tabs, key);
	buf_put_u8(out, '{');
	for (size_t i = 0; list[i]; i++) {
		if (i)
			buf_add(out, ", ", 2);
		put_quoted(out, list[i]);
	}
	buf_add(out, "}\n", 2);
}

void config_put_word(struct buf *out, int tabs, const char *key, const char *word)
{
	put_key(out, tabs, key);
	buf_addf(out, "%s\n", word);
}

void config_put_bool(struct buf *out, int tabs, const char *key, bool value)
{
	config_put_word(out, tabs, key, value ? "true" : "false");
}

void config_put_duration(struct buf *out, int tabs, const char *key, int64_t seconds)
{
	auto_free char *text = duration_text(seconds);
	config_put(out, tabs, key, text);
}

void config_put_section(struct buf *out, int tabs, const char *key, const char *title)
{
	while (tabs-- > 0)
		buf_put_u8(out, '\t');
	buf_addf(out, "%s ", key);
	if (title) {
		put_quoted(out, title);
		buf_put_u8(out, ' ');
	}
	buf_add(out, "{\n", 2);
}

void config_put_end(struct buf *out, int tabs)
{
	while (tabs-- > 0)
		buf_put_u8(out, '\t');
	buf_add(out, "}\n", 2);
}
