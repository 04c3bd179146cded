#include "agent/cli/adopt/plan_copy.h"
#include "agent/cli/services/find.h"
#include "lib/config/syntax.h"
#include "lib/core/mem.h"

#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

bool plan_copy_is_done(const struct agent_config *config, const char *path)
{
	for (size_t i = 0; i < config->certificate_count; i++)
		for (size_t k = 0; k < config->certificates[i].service_count; k++) {
			const struct agent_service *s = &config->certificates[i].services[k];
			for (size_t n = 0; n < s->file_count; n++)
				if (strcmp(s->files[n].path, path) == 0)
					return true;
		}
	return false;
}

static const struct config_section *find_section(
	const struct config_section *around, const char *name, const char *title)
{
	const struct config_section *s = NULL;
	while (around && (s = config_section_next(around, name, s)))
		if (s->title && strcmp(s->title, title) == 0)
			return s;
	return NULL;
}

/* Finds the place behind the brace of service "S" in certificate "NAME", and whether the brace ends its line. */
static int find_place(
	const char *path, const char *certificate, const char *service, size_t *ret, bool *ret_line, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(EDIT_FILE_MAX);
	if (fs_read(AT_FDCWD, path, true, &text, err) < 0)
		return -1;
	struct config_faults faults = {0};
	struct config_section *root = config_syntax(buf_text(&text), text.len, &faults);
	const struct config_section *s =
		find_section(find_section(root, "certificate", certificate), "service", service);
	*ret = s && faults.count == 0 ? s->body : 0;
	config_faults_release(&faults);
	config_section_free(root);
	if (*ret == 0)
		return error_set(err, ERROR_USAGE, "%s: the section of service \"%s\" is not found", path, service);
	size_t after = *ret + strspn(buf_text(&text) + *ret, " \t");
	*ret_line = buf_text(&text)[after] == '\n' || buf_text(&text)[after] == '#';
	return 0;
}

static char *owner_name(uid_t uid)
{
	const struct passwd *entry = getpwuid(uid);
	return entry ? mem_strdup(entry->pw_name) : NULL;
}

static char *group_name(gid_t gid)
{
	const struct group *entry = getgrgid(gid);
	return entry ? mem_strdup(entry->gr_name) : NULL;
}

/* The root half can write this file only if there is no link at it or on the way. */
static int check_file(const char *path, struct stat *st, struct error *err)
{
	char resolved[PATH_MAX];
	if (lstat(path, st) < 0)
		return error_errno(err, "cannot look at it");
	if (!S_ISREG(st->st_mode))
		return error_set(err, ERROR_PERMANENT,
			"is no regular file: point the service at a file of its own, and let agent.conf "
			"write it");
	if (!realpath(path, resolved) || strcmp(resolved, path) != 0)
		return error_set(err, ERROR_PERMANENT,
			"is behind a symbolic link: point the service at a file of its own, and let "
			"agent.conf write it");
	return 0;
}

/* The section's text, and where it goes. */
struct section {
	char *text; /* owned */
	size_t at;
};

static int make_section(const struct agent_config *config, const char *certificate, const char *service,
	const struct found_use *use, struct section *ret, struct error *err)
{
	struct stat st;
	size_t at = 0;
	bool line = false;
	if (check_file(use->path, &st, err) < 0)
		return -1;
	auto_free char *owner = owner_name(st.st_uid);
	auto_free char *group = group_name(st.st_gid);
	bool secret = strcmp(use->content, "fullchain") != 0;
	if (!owner || !group)
		return error_set(err, ERROR_PERMANENT, "its owner or group has no name");
	if (find_place(config->path, certificate, service, &at, &line, err) < 0)
		return -1;
	ret->at = at;
	ret->text = mem_printf("\n\t\tfile \"%s\" { content = \"%s\" owner = \"%s\" group = \"%s\" mode = \"%04o\" }%s",
		use->path, use->content, owner, group, (unsigned)(st.st_mode & (secret ? 0770 : 0777)),
		line ? "" : "\n\t\t");
	return 0;
}

int plan_copy_check_place(const char *service, const struct found_use *use, struct error *err)
{
	if (!find_is_shared(use->path))
		return 0;
	return error_set(err, ERROR_USAGE,
		"belongs to Debian's package ssl-cert, and other programs name it, too: point the service at files of its "
		"own, and write those by `file` in service \"%s\" of agent.conf (certsync-agent.conf(5), HOOKS)",
		service);
}

int plan_copy_check(const struct agent_config *config, const struct plan_certificate *certificate, const char *service,
	const struct found_use *use, struct error *err)
{
	struct section section = {0};
	if (plan_copy_check_place(service, use, err) < 0)
		return -1;
	int result = make_section(config, certificate->certificate->name, service, use, &section, err);
	free(section.text);
	return result;
}

int plan_copy(struct plan *p, const struct agent_config *config, const struct plan_certificate *certificate,
	const char *service, const struct found_use *use, struct error *err)
{
	char resolved[PATH_MAX];
	struct section section = {0};
	auto_buf struct buf pem = BUF_INIT(CHAIN_PEM_MAX);
	auto_free char *source = mem_printf("%s/%s.pem", certificate->directory, use->content);
	if (fs_read(AT_FDCWD, source, true, &pem, err) < 0 ||
		edit_whole(&p->edit, use->path, &pem, strcmp(use->content, "fullchain") != 0, err) < 0)
		return -1;
	if (make_section(config, certificate->certificate->name, service, use, &section, err) < 0)
		return -1;
	auto_free char *text = section.text;
	p->config_changes = true;
	return edit_replace(&p->edit, realpath(config->path, resolved) ? resolved : config->path, section.at,
		section.at, text, err);
}
