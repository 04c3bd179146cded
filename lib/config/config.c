#include "lib/config/config.h"
#include "lib/config/config_scan.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"
#include "lib/core/redact.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONFIG_FILE_MAX = 8 * 1024 * 1024 };

struct fault {
	int line;
	size_t order;
	char *text; /* owned */
};

/* A section that has been read, taken out of libconfuse's hands until all is read: it would compare each new
 * title with all before it, and let the new section replace the one of the same title. */
struct kept {
	cfg_opt_t *opt;
	cfg_value_t *value; /* NULL: a section without a title stays where it is */
};

struct config {
	char *path;
	cfg_t *root;
	struct config_scan scan;
	cfg_t **sections;  /* by their index in `scan`; NULL until closed */
	struct kept *kept; /* in the order of `scan.closing` */
	size_t closed;
	struct fault *faults;
	size_t fault_count;
	struct error *err; /* the caller's, while libconfuse parses */
};

/* libconfuse's callbacks have no context, and its scanner is one for the process anyway. */
static struct config *parsing;

/* A fault quotes what it does not understand, and somebody may have named a key for a configuration. */
static void add_fault(struct config *c, int line, const char *text)
{
	size_t n = c->fault_count;
	auto_buf struct buf shown = BUF_INIT(REDACT_ROOM(strlen(text)));
	redact(text, strlen(text), &shown);
	c->faults = mem_grow(c->faults, n + 1, sizeof(*c->faults));
	c->faults[n] = (struct fault){.line = line, .order = n, .text = mem_strdup(buf_text(&shown))};
	text_clean(c->faults[n].text, 0);
	c->fault_count++;
}

static int section_index(const struct config *c, const cfg_t *section)
{
	for (size_t i = 0; i < c->scan.section_count; i++)
		if (c->sections[i] == section)
			return (int)i;
	return CONFIG_SCAN_ROOT;
}

/* Called by libconfuse after each section, in the order of their closing braces. */
static int section_closed(cfg_t *parent, cfg_opt_t *opt)
{
	(void)parent;
	struct config *c = parsing;
	cfg_t *section = cfg_opt_getnsec(opt, cfg_opt_size(opt) - 1);
	if (c->closed == c->scan.section_count)
		return -1;
	struct kept *kept = &c->kept[c->closed];
	int index = c->scan.closing[c->closed++];
	bool seen = !section->title && section_index(c, section) != CONFIG_SCAN_ROOT;
	c->sections[index] = section;
	section->line = c->scan.section_lines[index];
	if (section->title) {
		*kept = (struct kept){opt, opt->values[opt->nvalues - 1]};
		opt->nvalues--;
	}
	if (seen) {
		auto_free char *text = mem_printf("%s is given twice", opt->name);
		add_fault(c, section->line, text);
	}
	return 0;
}

static void watch_sections(cfg_t *root, cfg_opt_t *options, const char *prefix)
{
	for (; options && options->name; options++) {
		if (options->type != CFGT_SEC)
			continue;
		auto_free char *path = mem_printf("%s%s%s", prefix, *prefix ? "|" : "", options->name);
		cfg_set_validate_func(root, path, section_closed);
		watch_sections(root, options->subopts, path);
	}
}

__attribute__((format(printf, 2, 0))) static void syntax_error(cfg_t *section, const char *fmt, va_list args)
{
	char text[512];
	vsnprintf(text, sizeof(text), fmt, args);
	if (parsing->err->kind == ERROR_NONE)
		error_set(parsing->err, ERROR_USAGE, "%s:%d: %s", parsing->path, section->line, text);
}

static void give_back(struct config *c)
{
	for (size_t i = 0; i < c->closed; i++) {
		cfg_opt_t *opt = c->kept[i].opt;
		if (!c->kept[i].value)
			continue;
		opt->values = mem_grow(opt->values, opt->nvalues + 1, sizeof(*opt->values));
		opt->values[opt->nvalues++] = c->kept[i].value;
	}
}

static int parse(struct config *c, cfg_opt_t *options, struct error *err)
{
	c->root = cfg_init(options, CFGF_NONE);
	if (!c->root)
		return error_set(err, ERROR_PERMANENT, "%s: libconfuse does not start", c->path);
	cfg_set_error_function(c->root, syntax_error);
	watch_sections(c->root, options, "");
	*err = (struct error){.kind = ERROR_NONE};
	c->err = err;
	parsing = c;
	int result = cfg_parse_buf(c->root, c->scan.text);
	parsing = NULL;
	give_back(c);
	if (result == CFG_SUCCESS)
		return 0;
	if (err->kind == ERROR_NONE)
		error_set(err, ERROR_USAGE, "%s: libconfuse cannot read it", c->path);
	return -1;
}

static void check_twice(struct config *c)
{
	for (size_t i = 0; i < c->scan.assignment_count; i++) {
		const struct config_assignment *a = &c->scan.assignments[i];
		const struct config_assignment *first = config_scan_first(&c->scan, a->section, a->key);
		if (a == first || a->append)
			continue;
		auto_free char *text = mem_printf("%s is given twice, first in line %d", a->key, first->line);
		add_fault(c, a->line, text);
	}
}

struct titled {
	const char *title;
	int line;
};

static int titled_compare(const void *left, const void *right)
{
	const struct titled *a = left, *b = right;
	int order = strcmp(a->title, b->title);
	return order ? order : a->line - b->line;
}

static void check_titles(struct config *c, cfg_opt_t *opt)
{
	size_t count = cfg_opt_size(opt);
	auto_free struct titled *titles = mem_array(count, sizeof(*titles));
	for (size_t i = 0; i < count; i++) {
		cfg_t *section = cfg_opt_getnsec(opt, (unsigned)i);
		titles[i].title = cfg_title(section);
		titles[i].line = section->line;
	}
	qsort(titles, count, sizeof(*titles), titled_compare);
	for (size_t i = 1; i < count; i++) {
		if (strcmp(titles[i].title, titles[i - 1].title) != 0)
			continue;
		auto_free char *text = mem_printf(
			"%s \"%s\" is given twice, first in line %d", opt->name, titles[i].title, titles[i - 1].line);
		add_fault(c, titles[i].line, text);
	}
}

static void check_all_titles(struct config *c, cfg_t *section)
{
	for (cfg_opt_t *opt = section->opts; opt->name; opt++) {
		if (opt->type != CFGT_SEC)
			continue;
		for (unsigned i = 0; i < cfg_opt_size(opt); i++)
			check_all_titles(c, cfg_opt_getnsec(opt, i));
		if (opt->flags & CFGF_NO_TITLE_DUPES)
			check_titles(c, opt);
	}
}

struct config *config_parse(const char *path, const char *text, cfg_opt_t *options, struct error *err)
{
	auto_buf struct buf file = BUF_INIT(CONFIG_FILE_MAX);
	if (!text && fs_read(AT_FDCWD, path, true, &file, err) < 0)
		return NULL;
	size_t len = text ? strlen(text) : file.len;
	struct config *c = mem_alloc(sizeof(*c));
	c->path = mem_strdup(path);
	if (config_scan(path, text ? text : buf_text(&file), len, &c->scan, err) < 0) {
		config_free(c);
		return NULL;
	}
	c->sections = mem_array(c->scan.section_count, sizeof(*c->sections));
	c->kept = mem_array(c->scan.section_count, sizeof(*c->kept));
	if (parse(c, options, err) < 0) {
		config_free(c);
		return NULL;
	}
	check_twice(c);
	check_all_titles(c, c->root);
	return c;
}

void config_free(struct config *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->fault_count; i++)
		free(c->faults[i].text);
	free(c->faults);
	free(c->sections);
	free(c->kept);
	if (c->root)
		cfg_free(c->root);
	config_scan_release(&c->scan);
	free(c->path);
	free(c);
}

cfg_t *config_root(struct config *c)
{
	return c->root;
}

void config_fault(struct config *c, cfg_t *section, const char *key, const char *fmt, ...)
{
	char text[ERROR_MESSAGE_MAX];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	const struct config_assignment *a = key ? config_scan_last(&c->scan, section_index(c, section), key) : NULL;
	add_fault(c, a ? a->line : section == c->root ? 1 : section->line, text);
}

size_t config_fault_count(const struct config *c)
{
	return c->fault_count;
}

static int fault_compare(const void *left, const void *right)
{
	const struct fault *a = left, *b = right;
	if (a->line != b->line)
		return a->line < b->line ? -1 : 1;
	return a->order < b->order ? -1 : a->order > b->order;
}

void config_faults(struct config *c, struct buf *out)
{
	if (c->fault_count)
		qsort(c->faults, c->fault_count, sizeof(*c->faults), fault_compare);
	for (size_t i = 0; i < c->fault_count; i++)
		if (buf_addf(out, "%s:%d: %s\n", c->path, c->faults[i].line, c->faults[i].text) < 0)
			return;
}
