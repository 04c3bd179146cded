#include "lib/config/types.h"
#include "lib/config/put.h"
#include "lib/config/value.h"
#include "lib/core/helo.h"
#include "lib/core/mem.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* Points to the field of a row in its struct, as what it is. */
#define FIELD(type, row, object) ((type *)(void *)((char *)(uintptr_t)(object) + (row)->field))

bool config_check_words(
	struct config *c, const struct config_section *s, const struct config_row *row, const char *value)
{
	auto_buf struct buf all = BUF_INIT(1024);
	for (size_t i = 0; row->words && row->words[i]; i++) {
		if (strcmp(row->words[i], value) == 0)
			return true;
		buf_addf(&all, "%s%s", i ? ", " : "", row->words[i]);
	}
	if (!row->words)
		return true;
	config_fault(c, s, row->name, "%s: \"%s\" is not one of %s", row->name, value, buf_text(&all));
	return false;
}

/* Texts. */

static void text_read(struct config *c, const struct config_section *s, const struct config_row *row,
	char *const *values, void *object)
{
	*FIELD(char *, row, object) = mem_strdup(values[0]);
	if (!values[0][0])
		config_fault(c, s, row->name, "%s is empty", row->name);
	else if (config_check_words(c, s, row, values[0]) && row->check)
		row->check(c, s, row->name, values[0]);
}

static void text_print(const struct config_row *row, const void *object, int tabs, struct buf *out)
{
	config_put(out, tabs, row->name, *FIELD(char *, row, object));
}

static void text_release(const struct config_row *row, void *object)
{
	free(*FIELD(char *, row, object));
}

const struct config_type config_text = {"text", false, text_read, text_print, text_release};

/* Takes a slash away from the end of a path; what is no path is a fault, and false is returned. */
static bool check_path(struct config *c, const struct config_section *s, const char *key, char *path)
{
	size_t len = strlen(path);
	bool good = config_is_path(path);
	if (!good)
		config_fault(c, s, key, "%s: %s is not an absolute path without \"//\", \".\" and \"..\"", key, path);
	else if (len > 1 && path[len - 1] == '/')
		path[len - 1] = '\0';
	return good;
}

static void path_read(struct config *c, const struct config_section *s, const struct config_row *row,
	char *const *values, void *object)
{
	char *path = mem_strdup(values[0]);
	*FIELD(char *, row, object) = path;
	if (!path[0])
		config_fault(c, s, row->name, "%s is empty", row->name);
	else if (check_path(c, s, row->name, path) && row->check)
		row->check(c, s, row->name, path);
}

const struct config_type config_path = {"path", false, path_read, text_print, text_release};

/* Lists. */

void config_list_free(char **list)
{
	for (size_t i = 0; list && list[i]; i++)
		free(list[i]);
	free(list);
}

static char **list_copy(char *const *values)
{
	size_t count = 0;
	while (values[count])
		count++;
	char **list = mem_array(count + 1, sizeof(*list));
	for (size_t i = 0; i < count; i++)
		list[i] = mem_strdup(values[i]);
	return list;
}

void config_list_read(struct config *c, const struct config_section *s, const struct config_row *row,
	char *const *values, void *object)
{
	char **list = list_copy(values);
	*FIELD(char **, row, object) = list;
	for (size_t i = 0; list[i]; i++)
		if (config_check_words(c, s, row, list[i]) && row->check)
			row->check(c, s, row->name, list[i]);
}

static void paths_read(struct config *c, const struct config_section *s, const struct config_row *row,
	char *const *values, void *object)
{
	char **list = list_copy(values);
	*FIELD(char **, row, object) = list;
	for (size_t i = 0; list[i]; i++)
		if (check_path(c, s, row->name, list[i]) && row->check)
			row->check(c, s, row->name, list[i]);
	config_check_twice(c, s, row->name, list, strcmp);
}

static void list_print(const struct config_row *row, const void *object, int tabs, struct buf *out)
{
	config_put_list(out, tabs, row->name, *FIELD(char **, row, object));
}

void config_list_release(const struct config_row *row, void *object)
{
	config_list_free(*FIELD(char **, row, object));
}

const struct config_type config_list = {"list", true, config_list_read, list_print, config_list_release};
const struct config_type config_paths = {"paths", true, paths_read, list_print, config_list_release};

/* One word of a few. */

static void bool_read(struct config *c, const struct config_section *s, const struct config_row *row,
	char *const *values, void *object)
{
	static const char *const yes[] = {"true", "yes", "on"}, *const no[] = {"false", "no", "off"};
	for (size_t i = 0; i < COUNT(yes); i++) {
		*FIELD(bool, row, object) = strcasecmp(values[0], yes[i]) == 0;
		if (*FIELD(bool, row, object) || strcasecmp(values[0], no[i]) == 0)
			return;
	}
	config_fault(c, s, row->name, "%s: \"%s\" is neither true nor false", row->name, values[0]);
}

static void bool_print(const struct config_row *row, const void *object, int tabs, struct buf *out)
{
	config_put_bool(out, tabs, row->name, *FIELD(bool, row, object));
}

const struct config_type config_bool = {"bool", false, bool_read, bool_print, NULL};

static void word_read(struct config *c, const struct config_section *s, const struct config_row *row,
	char *const *values, void *object)
{
	unsigned place = 0;
	if (!config_check_words(c, s, row, values[0]))
		return;
	while (strcmp(row->words[place], values[0]) != 0)
		place++;
	*FIELD(unsigned, row, object) = place;
}

static void word_print(const struct config_row *row, const void *object, int tabs, struct buf *out)
{
	config_put(out, tabs, row->name, row->words[*FIELD(unsigned, row, object)]);
}

const struct config_type config_word = {"word", false, word_read, word_print, NULL};

/* Durations. */

static void duration_read(struct config *c, const struct config_section *s, const struct config_row *row,
	char *const *values, void *object)
{
	int64_t *seconds = FIELD(int64_t, row, object);
	if (!duration_parse(values[0], seconds)) {
		config_fault(c, s, row->name,
			"%s: \"%s\" is not a duration: write a number and one of s m h d, like \"90s\" or \"24h\"",
			row->name, values[0]);
		return;
	}
	if (*seconds >= row->low && *seconds <= row->high)
		return;
	auto_free char *from = duration_text(row->low);
	auto_free char *to = duration_text(row->high);
	config_fault(c, s, row->name, "%s: \"%s\" is outside of \"%s\" to \"%s\"", row->name, values[0], from, to);
}

static void duration_print(const struct config_row *row, const void *object, int tabs, struct buf *out)
{
	config_put_duration(out, tabs, row->name, *FIELD(int64_t, row, object));
}

const struct config_type config_duration = {"duration", false, duration_read, duration_print, NULL};

/* Checks of single values. */

void config_check_user(struct config *c, const struct config_section *s, const char *key, const char *user)
{
	if (geteuid() == 0 && !getpwnam(user))
		config_fault(c, s, key,
			"%s: there is no user %s on this machine: create it (adduser --system), or name another", key,
			user);
}

void config_check_helo(struct config *c, const struct config_section *s, const char *key, const char *helo)
{
	if (!helo_is_valid(helo))
		config_fault(c, s, key,
			"%s: \"%s\" is neither a name with a dot, like haproxy.domain.pl, nor an address, like [192.0.2.1]",
			key, helo);
}

void config_check_group(struct config *c, const struct config_section *s, const char *key, const char *group)
{
	if (geteuid() == 0 && !getgrnam(group))
		config_fault(c, s, key,
			"%s: there is no group %s on this machine: create it (addgroup --system), or name another", key,
			group);
}

void config_check_readable(struct config *c, const struct config_section *s, const char *key, const char *path)
{
	if (access(path, R_OK) < 0)
		config_fault(c, s, key, "%s: %s: %s", key, path, strerror(errno));
}

void config_check_executable(struct config *c, const struct config_section *s, const char *key, const char *path)
{
	if (access(path, X_OK) < 0)
		config_fault(c, s, key, "%s: %s: %s", key, path, strerror(errno));
}
