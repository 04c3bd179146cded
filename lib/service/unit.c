#include "lib/service/unit.h"
#include "lib/core/mem.h"
#include "lib/core/tool.h"

#include <stdlib.h>
#include <string.h>

/* The alphabet of a unit's name is systemd.unit(5)'s. */
#define NAME_ALPHABET "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@"

void unit_release(struct unit *u)
{
	free(u->program);
	free(u->directory);
	buf_release(&u->words);
	*u = UNIT_INIT;
}

/* Returns the text of the first property of this name, up to the end of its line, or NULL when there is none. The
 * caller frees it. */
static char *property(const char *text, const char *name)
{
	size_t len = strlen(name);
	for (const char *line = text; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
		if (strncmp(line, name, len) == 0 && line[len] == '=')
			return mem_strndup(line + len + 1, strcspn(line + len + 1, "\n"));
	return NULL;
}

/* Returns what stands behind `name` in "{ path=… ; argv[]=… ; ignore_errors=no ; … }", up to `end`, or NULL. The caller
 * frees it. */
static char *field(const char *command, const char *name, const char *end)
{
	const char *from = strstr(command, name);
	const char *to = from ? strstr(from, end) : NULL;
	return to ? mem_strndup(from + strlen(name), (size_t)(to - from) - strlen(name)) : NULL;
}

static int read_words(const char *name, const char *command, struct unit *ret, struct error *err)
{
	auto_free char *words = field(command, "; argv[]=", " ; ignore_errors=");
	ret->program = field(command, "{ path=", " ; argv[]=");
	const char *argv = strstr(command, "; argv[]=");
	if (!argv || !words || !ret->program || strstr(argv, "{ path="))
		return error_set(err, ERROR_PERMANENT, "%s has not one ExecStart", name);
	/* The manager replaces variables, and what is quoted or escaped cannot be read back in one way. */
	if (strpbrk(words, "$\"'\\"))
		return error_set(
			err, ERROR_PERMANENT, "ExecStart of %s has words that only systemd knows: %s", name, words);
	char *rest = words;
	const char *word;
	while ((word = strsep(&rest, " ")))
		if (buf_add(&ret->words, word, strlen(word) + 1) < 0)
			return error_set(err, ERROR_PERMANENT, "ExecStart of %s is too long", name);
	return 0;
}

int unit_read(const char *cgroup, struct unit *ret, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(TOOL_OUTPUT_MAX);
	const char *slash = strrchr(cgroup, '/'), *name = slash ? slash + 1 : cgroup;
	const char *const argv[] = {
		"systemctl", "show", "--property=ControlGroup,MainPID,WorkingDirectory,ExecStart", "--", name, NULL};
	*ret = UNIT_INIT;
	if (*name == '\0' || name[strspn(name, NAME_ALPHABET)])
		return error_set(err, ERROR_PERMANENT, "\"%s\" is not the name of a unit", name);
	if (tool_run(argv, &text, err) < 0)
		return -1;
	auto_free char *own = property(buf_text(&text), "ControlGroup"), *pid = property(buf_text(&text), "MainPID");
	auto_free char *directory = property(buf_text(&text), "WorkingDirectory"),
		       *command = property(buf_text(&text), "ExecStart");
	if (!own || strcmp(own, cgroup) != 0)
		return error_set(err, ERROR_PERMANENT, "systemd has no unit at %s", cgroup);
	ret->main_pid = pid ? (pid_t)strtol(pid, NULL, 10) : 0;
	ret->directory = mem_strdup(directory && directory[0] == '/' ? directory : "/");
	if (read_words(name, command ? command : "", ret, err) < 0)
		buf_reset(&ret->words);
	return 0;
}
