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

/* More sections in each other than this end the reading. */
enum { CONFIG_DEPTH_MAX = 8 };

/* `key = …` or `key += …`. */
struct config_entry {
	struct config_entry *next; /* in the order of the file */
	char *key;
	int line;
	bool append;   /* += */
	bool braces;   /* a list, though it may be empty or of one value */
	char **values; /* NULL-terminated; never NULL */
	size_t value_count;
};

struct config_section {
	struct config_section *next; /* beside it, in the order of the file */
	char *name;                  /* NULL: the file itself */
	char *title;                 /* NULL: none */
	int line;                    /* of the title, or of the name when there is none; of the file 1 */
	struct config_entry *entries, *last_entry;
	struct config_section *sections, *last_section;
	size_t body;  /* where in the file it begins: the offset behind its brace; of the file 0 */
	void *object; /* whatever it was read into, by whoever reads it */
};

/* The file itself, owned by the caller; what is in it is only complete if no fault was recorded. `text` has `len` bytes
 * and a NUL behind them. */
struct config_section *config_syntax(const char *text, size_t len, struct config_faults *faults);
/* Appends a section; it belongs to its parent, or to the caller when there is none. */
struct config_section *config_section_add(struct config_section *parent, const char *name, const char *title, int line);
/* NULL is passed over. */
void config_section_free(struct config_section *s);

/* The first section of that name in `parent`, or the next one behind `after`; NULL: there is none. */
struct config_section *config_section_next(
	const struct config_section *parent, const char *name, const struct config_section *after);
/* The last assignment of a key, by which the fault of a key is told; NULL: not given. */
const struct config_entry *config_entry_last(const struct config_section *s, const char *key);

#endif
