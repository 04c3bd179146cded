/* The form of a configuration, before anybody asks what it means: sections, with a title or without, and in them keys
 * with their values.
 *
 * After a fault the rest of its statement is passed over, so that all faults of form come in one run. Of those that the
 * parser finds only the first of a line is told, since the others would mostly be its echo.
 */
#ifndef CERTSYNC_LIB_CONFIG_SYNTAX_H
#define CERTSYNC_LIB_CONFIG_SYNTAX_H

#include "lib/config/faults.h"

#include <stdbool.h>
#include <stddef.h>

/* Where more sections than this lie in each other, the reading ends. */
enum { CONFIG_DEPTH_MAX = 8 };

/* An entry is `key = …` or `key += …`. */
struct config_entry {
	struct config_entry *next; /* the one behind it in the same section */
	char *key;
	int line;
	bool append;   /* whether it is += */
	bool braces;   /* whether braces stand around the values, of which there may be one or none */
	char **values; /* NULL-terminated; never NULL */
	size_t value_count;
};

struct config_section {
	struct config_section *next; /* the one behind it in the same section */
	char *name;                  /* NULL: the file itself */
	char *title;                 /* NULL: none */
	int line;                    /* that of the title, or of the name when there is no title; the file has 1 */
	struct config_entry *entries, *last_entry;
	struct config_section *sections, *last_section;
	size_t body;  /* the offset in the file behind its brace; the file has 0 */
	void *object; /* whatever it was read into, by whoever reads it */
};

/* Returns the file itself, which the caller owns; what is in it is only complete if no fault was recorded. `text` has
 * `len` bytes and a NUL behind them. */
struct config_section *config_syntax(const char *text, size_t len, struct config_faults *faults);
/* Appends a section; it belongs to its parent, or to the caller when there is none. */
struct config_section *config_section_add(struct config_section *parent, const char *name, const char *title, int line);
/* Frees it with all that is in it; NULL is passed over. */
void config_section_free(struct config_section *s);

/* Returns the first section of that name in `parent`, or the next one behind `after`; NULL when there is none. */
struct config_section *config_section_next(
	const struct config_section *parent, const char *name, const struct config_section *after);
/* Returns the last assignment of a key, whose line its faults have; NULL when the key is not given. */
const struct config_entry *config_entry_last(const struct config_section *s, const char *key);

#endif
