/* A configuration by rows: one row for each key says its name, type, field, default, range and where it applies, and by
 * the same row the key is read, checked, printed and freed. Manual pages and fuzz dictionaries are held against the rows
 * (tests/rows_tool.c, tests/e2e/commands/man.t).
 *
 * A table is one kind of section: the struct that it fills, its rows, and the tables of the sections in it. What concerns
 * several keys or sections is for the program to judge once all is read (hub/common/config.c, agent/common/config.c): it
 * walks the sections, whose `object` is the struct that each has filled, and calls config_fault for what it finds.
 */
#ifndef CERTSYNC_LIB_CONFIG_CONFIG_H
#define CERTSYNC_LIB_CONFIG_CONFIG_H

#include "lib/config/syntax.h"
#include "lib/core/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config; /* a file that is being read: its sections and its faults */
struct config_row;

/* A type says how values of a kind are read, printed and freed. lib/config/types.h has those of both programs. */
struct config_type {
	const char *name;
	bool list; /* takes {…} and +=; read even when there is no value */
	/* Fills the field from `values`, NULL-terminated and borrowed, of which there is one unless `list`; records what is
	 * wrong with them. NULL: the program fills it itself, once all is read. */
	void (*read)(struct config *c, const struct config_section *s, const struct config_row *row,
		char *const *values, void *object);
	void (*print)(const struct config_row *row, const void *object, int tabs, struct buf *out);
	void (*release)(const struct config_row *row, void *object); /* NULL: nothing to free */
};

struct config_row {
	const char *name;
	const struct config_type *type;
	size_t field; /* offset in the struct of its table; a type of one key alone may know better */
	/* What holds when it is not given, as it is written; NULL: nothing, or what the program finds. */
	const char *value;
	int64_t low, high;        /* a duration: from and to, in seconds; a list: at most so many (0: any number) */
	const char *const *words; /* the only values that there are, NULL-terminated; NULL: any */
	const char *missing;      /* mandatory, and this is what to write; NULL: it may be left out */
	/* The key of the same section without which it means nothing, whose field is a pointer; NULL: none. */
	const char *with;
	/* Judges one value, given or default, that its type has found nothing wrong with; NULL: nothing more to judge. */
	void (*check)(struct config *c, const struct config_section *s, const char *key, const char *value);
};

/* CONFIG_ROW(struct hub_agent, "local", config_bool, local, .value = "false") */
#define CONFIG_ROW(of, key, kind, member, ...) \
	{ \
		.name = (key), .type = &(kind), .field = offsetof(of, member), __VA_ARGS__ \
	}

enum config_kind {
	CONFIG_ONE,      /* without a title, at most once; its struct is part of the one around it */
	CONFIG_TITLED,   /* each title once; an array */
	CONFIG_REPEATED, /* a title as often as one likes; an array */
};

struct config_table {
	const char *name; /* of the section; NULL: the file itself */
	enum config_kind kind;
	size_t size;  /* of the struct; its first member is the title, an owned char *, unless CONFIG_ONE */
	size_t field; /* in the struct around it: of the pointer to the array, or of the struct itself */
	size_t count; /* in the struct around it: of the size_t with the length of the array */
	bool sorted;  /* the array is in the order of strcmp(3) of the titles, else of the file */
	const struct config_row *rows;              /* up to one without a name */
	const struct config_table *const *sections; /* NULL-terminated; NULL: none */
	/* Judges a title; `key` is NULL. */
	void (*check)(struct config *c, const struct config_section *s, const char *key, const char *title);
};

/* CONFIG_ARRAY(struct hub_config, agents, agent_count): where the sections of a table go. */
#define CONFIG_ARRAY(of, array, length) \
	.size = sizeof(*((of *)NULL)->array), .field = offsetof(of, array), .count = offsetof(of, length)

/* Reads `path` into `object`, all zero before. NULL: it cannot be read or has faults of form, all of which have been
 * appended to `told`, a line each. Else the faults of meaning up to here are in what is returned; the caller adds his own
 * and calls config_end. Either way config_release frees what `object` has. */
struct config *config_read(const char *path, const struct config_table *table, void *object, struct buf *told);
/* Appends the faults, "file:line: message\n" in the order of their lines, and frees; -1 when there were any. */
int config_end(struct config *c, struct buf *told);

/* Everything that a struct of this table says, defaults included, in a form that is read again as the same. */
void config_print(const struct config_table *table, const void *object, struct buf *out);
void config_release(const struct config_table *table, void *object);

/* The file itself. A section that may stand once is in it, empty, when it does not stand in the file. */
struct config_section *config_root(struct config *c);
/* Records a fault at the line where `key` was last given; where it was not, or for NULL, where the section began. */
void config_fault(struct config *c, const struct config_section *s, const char *key, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
bool config_has(const struct config_section *s, const char *key); /* given in the file */
/* All values of a key in the order of the file. The array, which ends with NULL, is the caller's; the texts are not. */
char **config_values(const struct config_section *s, const char *key, size_t *ret_count);
/* A fault for each value that stands in `list` a second time as `compare`, which is strcmp or strcasecmp, sees it. */
void config_check_twice(struct config *c, const struct config_section *s, const char *key, char *const *list,
	int (*compare)(const char *, const char *));

#endif
