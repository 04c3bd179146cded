#include "lib/config/config.h"
#include "lib/config/put.h"
#include "lib/core/error.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { CONFIG_FILE_MAX = 8 * 1024 * 1024 };

struct config {
	char *path;
	struct config_section *root;
	struct config_faults faults;
};

struct config_section *config_root(struct config *c)
{
	return c->root;
}

void config_fault(struct config *c, const struct config_section *s, const char *key, const char *fmt, ...)
{
	const struct config_entry *e = key ? config_entry_last(s, key) : NULL;
	va_list args;
	va_start(args, fmt);
	config_faults_vadd(&c->faults, e ? e->line : s->line, fmt, args);
	va_end(args);
}

bool config_has(const struct config_section *s, const char *key)
{
	return config_entry_last(s, key) != NULL;
}

char **config_values(const struct config_section *s, const char *key, size_t *ret_count)
{
	size_t count = 0;
	for (const struct config_entry *e = s->entries; e; e = e->next)
		count += strcmp(e->key, key) == 0 ? e->value_count : 0;
	char **values = mem_array(count + 1, sizeof(*values));
	*ret_count = 0;
	for (const struct config_entry *e = s->entries; e; e = e->next)
		for (size_t i = 0; strcmp(e->key, key) == 0 && i < e->value_count; i++)
			values[(*ret_count)++] = e->values[i];
	return values;
}

struct place {
	char *const *value; /* in the list */
	int (*compare)(const char *, const char *);
};

static int place_compare(const void *left, const void *right)
{
	const struct place *a = left, *b = right;
	int order = a->compare(*a->value, *b->value);
	return order ? order : a->value < b->value ? -1 : a->value > b->value;
}

void config_check_twice(struct config *c, const struct config_section *s, const char *key, char *const *list,
	int (*compare)(const char *, const char *))
{
	size_t count = 0;
	while (list[count])
		count++;
	auto_free struct place *places = mem_array(count, sizeof(*places));
	for (size_t i = 0; i < count; i++)
		places[i] = (struct place){&list[i], compare};
	if (count)
		qsort(places, count, sizeof(*places), place_compare);
	for (size_t i = 1; i < count; i++)
		if (compare(*places[i].value, *places[i - 1].value) == 0)
			config_fault(c, s, key, "%s: %s is listed twice", key, *places[i].value);
}

/* Tables and what they describe. */

static void *field_at(void *object, size_t offset)
{
	return (char *)object + offset;
}

/* Returns the structs that sections of this kind have filled, which hang on the struct around them. */
static void *objects(const struct config_table *t, const void *around, size_t *ret_count)
{
	void *found = (char *)(uintptr_t)around + t->field;
	*ret_count = 1;
	if (t->kind == CONFIG_ONE)
		return found;
	memcpy(ret_count, (const char *)around + t->count, sizeof(*ret_count));
	memcpy(&found, (const char *)around + t->field, sizeof(found));
	return found;
}

static const struct config_row *find_row(const struct config_table *t, const char *name)
{
	const struct config_row *row = t->rows;
	while (row->name && strcmp(row->name, name) != 0)
		row++;
	return row->name ? row : NULL;
}

static const struct config_table *find_table(const struct config_table *t, const char *name)
{
	const struct config_table *const *inner = t->sections;
	while (inner && *inner && strcmp((*inner)->name, name) != 0)
		inner++;
	return inner ? *inner : NULL;
}

/* Reading. */

/* `what`, "key" or "section", is given, and this kind of section has none of that name; `other`: it is one, or NULL. */
static void unknown(struct config *c, const struct config_section *s, int line, const char *what, const char *name,
	const char *other)
{
	auto_free char *here = s->name ? mem_printf(" in section %s", s->name) : mem_strdup("");
	if (other)
		config_faults_add(&c->faults, line, "%s is a %s%s, not a %s", name, other, here, what);
	else
		config_faults_add(&c->faults, line, "there is no %s %s%s", what, name, here);
}

static void check_unknown(struct config *c, const struct config_section *s, const struct config_table *t)
{
	for (const struct config_entry *e = s->entries; e; e = e->next)
		if (!find_row(t, e->key))
			unknown(c, s, e->line, "key", e->key, find_table(t, e->key) ? "section" : NULL);
	for (const struct config_section *inner = s->sections; inner; inner = inner->next)
		if (!find_table(t, inner->name))
			unknown(c, s, inner->line, "section", inner->name, find_row(t, inner->name) ? "key" : NULL);
}

/* Judges the form in which a key is given: as a list in braces, with +=, more than once. */
static void check_form(struct config *c, const struct config_section *s, const struct config_row *row)
{
	const struct config_entry *first = NULL;
	for (const struct config_entry *e = s->entries; e; e = e->next) {
		if (strcmp(e->key, row->name) != 0)
			continue;
		if (!row->type->list && e->append)
			config_faults_add(&c->faults, e->line, "%s: it has one value, and += adds to lists", e->key);
		else if (!row->type->list && e->braces)
			config_faults_add(&c->faults, e->line, "%s: it has one value, not a list in braces", e->key);
		else if (first && !e->append)
			config_faults_add(
				&c->faults, e->line, "%s is given twice, first in line %d", e->key, first->line);
		if (!first)
			first = e;
	}
}

static void check_missing(struct config *c, const struct config_section *s, const struct config_row *row)
{
	if (s->title)
		config_fault(
			c, s, row->name, "%s \"%s\": %s is missing: %s", s->name, s->title, row->name, row->missing);
	else
		config_fault(c, s, row->name, "%s is missing: %s", row->name, row->missing);
}

static void read_row(struct config *c, const struct config_section *s, const struct config_row *row, void *object)
{
	size_t count;
	auto_free char **values = config_values(s, row->name, &count);
	char *const fallback[] = {(char *)(uintptr_t)row->value, NULL};
	const bool given = config_has(s, row->name), usable = given && (count || row->type->list);
	if (!usable && row->value)
		count = 1;
	if (count == 0 && row->missing)
		check_missing(c, s, row);
	if (given && row->with && !config_has(s, row->with))
		config_fault(c, s, row->name, "%s: it is for a %s with %s", row->name, s->name, row->with);
	if (row->type->list && row->high && count > (size_t)row->high)
		config_fault(c, s, row->name, "%s: %zu are listed, and at most %lld can be", row->name, count,
			(long long)row->high);
	if (row->type->read && (count || row->type->list))
		row->type->read(c, s, row, !usable ? fallback : row->type->list ? values : values + count - 1, object);
}

static const char *title_of(const struct config_section *s)
{
	return s->title ? s->title : "";
}

static int section_compare(const void *left, const void *right)
{
	const struct config_section *const *a = left, *const *b = right;
	int order = strcmp(title_of(*a), title_of(*b));
	return order ? order : (*a)->line - (*b)->line;
}

/* Returns the sections of a kind in the order of the file, or of their titles; the caller owns the array. */
static struct config_section **collect(
	const struct config_section *around, const struct config_table *t, bool sorted, size_t *ret_count)
{
	size_t count = 0;
	struct config_section *s;
	for (s = NULL; (s = config_section_next(around, t->name, s));)
		count++;
	struct config_section **list = mem_array(count, sizeof(*list));
	*ret_count = count;
	for (s = NULL, count = 0; (s = config_section_next(around, t->name, s));)
		list[count++] = s;
	if (count && sorted)
		qsort(list, count, sizeof(struct config_section *), section_compare);
	return list;
}

static void check_titles(struct config *c, const struct config_section *around, const struct config_table *t)
{
	size_t count;
	auto_free struct config_section **list = collect(around, t, false, &count);
	for (size_t i = 0; i < count; i++) {
		if (t->kind == CONFIG_ONE && list[i]->title)
			config_fault(c, list[i], NULL, "%s: this section has no title", t->name);
		else if (t->kind == CONFIG_ONE && i > 0)
			config_fault(
				c, list[i], NULL, "%s is given twice, first in line %d", t->name, list[i - 1]->line);
		else if (t->kind != CONFIG_ONE && !list[i]->title)
			config_fault(c, list[i], NULL, "%s: its title is missing: %s \"…\" { … }", t->name, t->name);
	}
	if (t->kind != CONFIG_TITLED || count == 0)
		return;
	qsort(list, count, sizeof(struct config_section *), section_compare);
	for (size_t i = 1; i < count; i++)
		if (list[i]->title && strcmp(list[i]->title, title_of(list[i - 1])) == 0)
			config_fault(c, list[i], NULL, "%s \"%s\" is given twice, first in line %d", t->name,
				list[i]->title, list[i - 1]->line);
}

static void fill(struct config *c, struct config_section *s, const struct config_table *t, void *object);

static void fill_sections(struct config *c, struct config_section *around, const struct config_table *t, void *object)
{
	check_titles(c, around, t);
	if (t->kind == CONFIG_ONE) {
		if (!config_section_next(around, t->name, NULL))
			config_section_add(around, t->name, NULL, around->line);
		fill(c, config_section_next(around, t->name, NULL), t, field_at(object, t->field));
		return;
	}
	size_t count;
	auto_free struct config_section **list = collect(around, t, t->sorted, &count);
	char *array = mem_array(count, t->size);
	memcpy(field_at(object, t->field), &array, sizeof(array));
	memcpy(field_at(object, t->count), &count, sizeof(count));
	for (size_t i = 0; i < count; i++)
		fill(c, list[i], t, array + i * t->size);
}

static void fill(struct config *c, struct config_section *s, const struct config_table *t, void *object)
{
	s->object = object;
	if (t->name && t->kind != CONFIG_ONE) {
		char *title = mem_strdup(title_of(s));
		memcpy(object, &title, sizeof(title));
		if (t->check && s->title)
			t->check(c, s, NULL, title);
	}
	check_unknown(c, s, t);
	for (const struct config_row *row = t->rows; row->name; row++) {
		check_form(c, s, row);
		read_row(c, s, row, object);
	}
	for (const struct config_table *const *inner = t->sections; inner && *inner; inner++)
		fill_sections(c, s, *inner, object);
}

struct config *config_read(const char *path, const struct config_table *table, void *object, struct buf *told)
{
	struct error err;
	auto_buf struct buf file = BUF_INIT(CONFIG_FILE_MAX);
	if (fs_read(AT_FDCWD, path, true, &file, &err) < 0) {
		buf_addf(told, "%s\n", err.message);
		return NULL;
	}
	struct config *c = mem_alloc(sizeof(*c));
	c->path = mem_strdup(path);
	const char *text = buf_text(&file);
	c->root = config_syntax(text, file.len, &c->faults);
	if (c->faults.count) {
		config_end(c, told);
		return NULL;
	}
	fill(c, c->root, table, object);
	return c;
}

int config_end(struct config *c, struct buf *told)
{
	const bool faulty = c->faults.count > 0;
	config_faults_tell(&c->faults, c->path, told);
	config_faults_release(&c->faults);
	config_section_free(c->root);
	free(c->path);
	free(c);
	return faulty ? -1 : 0;
}

/* Printing and freeing. */

/* Whether the row's key means anything here: the key that it goes with has a value, or there is no such key. */
static bool applies(const struct config_table *t, const struct config_row *row, const void *object)
{
	const struct config_row *other = row->with ? find_row(t, row->with) : NULL;
	const void *value = object;
	if (other)
		memcpy(&value, (const char *)object + other->field, sizeof(value));
	return value != NULL;
}

static void print_table(const struct config_table *t, const void *object, int tabs, struct buf *out)
{
	for (const struct config_row *row = t->rows; row->name; row++)
		if (applies(t, row, object))
			row->type->print(row, object, tabs, out);
	for (const struct config_table *const *inner = t->sections; inner && *inner; inner++) {
		size_t count;
		const char *array = objects(*inner, object, &count);
		for (size_t i = 0; i < count; i++) {
			const char *title = NULL, *one = array + i * (*inner)->size;
			if ((*inner)->kind != CONFIG_ONE)
				memcpy(&title, one, sizeof(title));
			config_put_section(out, tabs, (*inner)->name, title);
			print_table(*inner, one, tabs + 1, out);
			config_put_end(out, tabs);
		}
	}
}

void config_print(const struct config_table *table, const void *object, struct buf *out)
{
	print_table(table, object, 0, out);
}

void config_release(const struct config_table *t, void *object)
{
	for (const struct config_row *row = t->rows; row->name; row++)
		if (row->type->release)
			row->type->release(row, object);
	for (const struct config_table *const *inner = t->sections; inner && *inner; inner++) {
		size_t count;
		char *array = objects(*inner, object, &count);
		for (size_t i = 0; i < count; i++)
			config_release(*inner, array + i * (*inner)->size);
		if ((*inner)->kind != CONFIG_ONE)
			free(array);
	}
	if (t->name && t->kind != CONFIG_ONE) {
		char *title;
		memcpy(&title, object, sizeof(title));
		free(title);
	}
}
