#include "agent/cli/services/find.h"
#include "agent/cli/services/stunnel.h"
#include "agent/cli/services/tokens.h"
#include "lib/core/mem.h"

#include <ctype.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* stunnel takes a longer line as two. */
enum { LINE_MAX_LEN = 16 * 1024 - 2, INCLUDES_MAX = 32 };

struct parse {
	struct stunnel_config *config;
	const char *path, *text;
	int includes;
};

static int read_file(struct parse *r, const char *path, struct error *err);

static void section_release(struct stunnel_section *s)
{
	for (size_t i = 0; i < s->accept_count; i++)
		free(s->accepts[i]);
	free(s->accepts);
	free(s->cert.text);
	free(s->key.text);
	free(s->sni.text);
	free(s->protocol.text);
	free(s->name);
}

void stunnel_release(struct stunnel_config *c)
{
	for (size_t i = 0; i < c->count; i++)
		section_release(&c->sections[i]);
	for (size_t i = 0; i < c->file_count; i++)
		free(c->files[i]);
	for (size_t i = 0; i < c->directory_count; i++)
		free(c->directories[i]);
	free(c->sections);
	free(c->files);
	free(c->directories);
	free(c->pid);
	free(c->chroot);
	free(c->setuid);
	free(c->setgid);
	*c = (struct stunnel_config){0};
}

static void append(char ***list, size_t *count, char *text)
{
	*list = mem_grow(*list, *count + 1, sizeof(**list));
	(*list)[(*count)++] = text;
}

/* Returns text[start…end) without carriage returns, which stunnel passes over; the caller frees it. */
static char *copy(const char *text, size_t start, size_t end)
{
	char *result = mem_strndup(text + start, end - start), *to = result;
	for (const char *from = result; *from; from++)
		if (*from != '\r')
			*to++ = *from;
	*to = '\0';
	return result;
}

/* ---- sections ---- */

static struct stunnel_section *current(const struct parse *r)
{
	return &r->config->sections[r->config->count - 1];
}

static void inherit(struct stunnel_value *v, const struct stunnel_value *from)
{
	*v = *from;
	v->text = from->text ? mem_strdup(from->text) : NULL;
	v->inherited = true;
}

/* Takes "[name]". What is before all sections is the default of each. */
static void begin_section(struct parse *r, size_t start, size_t end)
{
	struct stunnel_config *c = r->config;
	c->sections = mem_grow(c->sections, c->count + 1, sizeof(*c->sections));
	const struct stunnel_section *all = &c->sections[0];
	struct stunnel_section *s = &c->sections[c->count++];
	*s = (struct stunnel_section){.name = copy(r->text, start + 1, end - 1),
		.file = r->path,
		.end = end,
		.client = all->client,
		.engine = all->engine};
	inherit(&s->cert, &all->cert);
	inherit(&s->key, &all->key);
	inherit(&s->sni, &all->sni);
	inherit(&s->protocol, &all->protocol);
	for (size_t i = 0; i < all->accept_count; i++)
		append(&s->accepts, &s->accept_count, mem_strdup(all->accepts[i]));
}

/* ---- settings ---- */

static int compare(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* Each file of the directory is read, whatever its name, in the order of the names. */
static int include(struct parse *r, const char *directory, int line, struct error *err)
{
	struct dirent **list;
	int result = 0;
	if (directory[0] != '/')
		return error_set(err, ERROR_PERMANENT,
			"%s:%d: include = %s: where that is depends on where stunnel was started", r->path, line,
			directory);
	if (r->includes == INCLUDES_MAX)
		return error_set(err, ERROR_PERMANENT, "%s:%d: includes that go on for ever", r->path, line);
	int count = scandir(directory, &list, NULL, compare);
	if (count < 0) {
		error_errno(err, "%s:%d: include = %s cannot be read", r->path, line, directory);
		return -1;
	}
	append(&r->config->directories, &r->config->directory_count, mem_strdup(directory));
	r->includes++;
	for (int i = 0; i < count; i++) {
		struct stat st;
		auto_free char *path = mem_printf("%s/%s", directory, list[i]->d_name);
		if (result == 0 && stat(path, &st) == 0 && S_ISREG(st.st_mode))
			result = read_file(r, path, err);
		free(list[i]);
	}
	free(list);
	r->includes--;
	return result;
}

/* Of two the last counts. */
static void set(char **to, char *text)
{
	free(*to);
	*to = text;
}

static bool set_global(struct stunnel_config *c, const char *name, const char *text)
{
	const struct {
		const char *name;
		char **to;
	} all[] = {{"pid", &c->pid}, {"chroot", &c->chroot}, {"setuid", &c->setuid}, {"setgid", &c->setgid}};
	for (size_t i = 0; i < COUNT(all); i++)
		if (strcasecmp(name, all[i].name) == 0) {
			set(all[i].to, mem_strdup(text));
			return true;
		}
	return false;
}

/* `v` has the place of the setting and its text, which is given away. */
static int take_setting(struct parse *r, const char *name, struct stunnel_value *v, struct error *err)
{
	struct stunnel_section *s = current(r);
	const struct {
		const char *name;
		struct stunnel_value *to;
	} all[] = {{"cert", &s->cert}, {"key", &s->key}, {"sni", &s->sni}, {"protocol", &s->protocol}};
	auto_free char *text = v->text;
	if (strcasecmp(name, "include") == 0)
		return include(r, text, v->line, err);
	if (r->config->count == 1 && set_global(r->config, name, text))
		return 0;
	if (strcasecmp(name, "accept") == 0)
		append(&s->accepts, &s->accept_count, steal(text));
	else if (strcasecmp(name, "client") == 0)
		s->client = strcasecmp(text, "yes") == 0;
	else if (strcasecmp(name, "engineId") == 0 || strcasecmp(name, "engineNum") == 0)
		s->engine = true;
	for (size_t i = 0; i < COUNT(all); i++)
		if (strcasecmp(name, all[i].name) == 0) {
			free(all[i].to->text);
			*all[i].to = *v;
			all[i].to->text = steal(text);
			return 0;
		}
	return 0;
}

/* ---- lines ---- */

static void trim(const char *text, size_t *start, size_t *end)
{
	while (*start < *end && isspace((unsigned char)text[*start]))
		(*start)++;
	while (*end > *start && isspace((unsigned char)text[*end - 1]))
		(*end)--;
}

static int take_line(struct parse *r, const struct line *line, struct error *err)
{
	static const char mark[] = "\xef\xbb\xbf";
	size_t start = line->start, end = line->end;
	if (end - start > LINE_MAX_LEN)
		return error_set(
			err, ERROR_PERMANENT, "%s:%d: stunnel takes so long a line as two", r->path, line->number);
	if (line->number == 1 && end - start >= 3 && memcmp(r->text, mark, 3) == 0)
		start += 3;
	trim(r->text, &start, &end);
	if (start == end || r->text[start] == '#' || r->text[start] == ';')
		return 0;
	if (r->text[start] == '[' && r->text[end - 1] == ']' && end - start > 1) {
		begin_section(r, start, end);
		return 0;
	}
	const char *sign = memchr(r->text + start, '=', end - start);
	if (!sign)
		return error_set(err, ERROR_PERMANENT,
			"%s:%d: neither a comment nor [SECTION] nor NAME = VALUE: stunnel refuses that", r->path,
			line->number);
	size_t name_end = (size_t)(sign - r->text);
	struct stunnel_value v = {.file = r->path, .start = name_end + 1, .end = end, .line = line->number};
	trim(r->text, &start, &name_end);
	trim(r->text, &v.start, &v.end);
	auto_free char *name = copy(r->text, start, name_end);
	v.text = copy(r->text, v.start, v.end);
	return take_setting(r, name, &v, err);
}

static int read_file(struct parse *r, const char *path, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(FIND_FILE_MAX);
	const struct parse outer = *r;
	struct line line = {0};
	int result = 0;
	if (r->config->file_count == FIND_FILES_MAX)
		return error_set(err, ERROR_PERMANENT, "%s: more than %d files", path, FIND_FILES_MAX);
	if (find_read(path, &text, err) < 0)
		return -1;
	append(&r->config->files, &r->config->file_count, mem_strdup(path));
	r->path = r->config->files[r->config->file_count - 1];
	r->text = buf_text(&text);
	while (result == 0 && line_next(r->text, text.len, LINE_SINGLE, &line))
		result = take_line(r, &line, err);
	r->path = outer.path;
	r->text = outer.text;
	return result;
}

int stunnel_read(const char *path, struct stunnel_config *ret, struct error *err)
{
	*ret = (struct stunnel_config){.sections = mem_array(1, sizeof(*ret->sections)), .count = 1};
	struct parse r = {.config = ret};
	int result = read_file(&r, path, err);
	if (result < 0)
		stunnel_release(ret);
	return result;
}
