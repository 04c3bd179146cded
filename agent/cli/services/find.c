#include "agent/cli/services/find.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"
#include "lib/core/owned.h"
#include "lib/core/tool.h"

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int find_read(const char *path, struct buf *out, struct error *err)
{
	if (fs_read(AT_FDCWD, path, true, out, err) < 0)
		return -1;
	/* What stands behind a NUL would be passed over. */
	if (out->len && memchr(out->data, '\0', out->len))
		return error_set(err, ERROR_PERMANENT, "%s contains a NUL byte", path);
	return 0;
}

void find_copy(struct found_service *s, int group, const char *setting, const char *path, const char *content)
{
	struct stat st;
	for (const char *c = path; *c; c++) {
		/* The name will stand in agent.conf. */
		if ((unsigned char)*c < ' ' || *c == '"' || *c == '\\' || *c == '$' || *c == 0x7f) {
			found_note(s, "%s: a file's name has a character that agent.conf cannot have: left", setting);
			return;
		}
	}
	if (path[0] != '/' || lstat(path, &st) < 0) {
		found_note(s, "%s: %s is not there", setting, path);
		return;
	}
	for (size_t i = 0; i < s->use_count; i++) {
		struct found_use *u = &s->uses[i];
		if (u->role != FOUND_COPY || strcmp(u->path, path) != 0)
			continue;
		found_join(s, u->group, group);
		if (strcmp(u->content, content) != 0)
			u->content = "combined"; /* which has both */
		return;
	}
	const struct found_use use = {.role = FOUND_COPY,
		.file = (char *)(uintptr_t)path,
		.setting = (char *)(uintptr_t)setting,
		.path = (char *)(uintptr_t)path,
		.content = content,
		.group = group};
	found_use(s, &use, false);
}

bool find_is_shared(const char *path)
{
	static const char *const names[] = {"/etc/ssl/certs/ssl-cert-snakeoil", "/etc/ssl/private/ssl-cert-snakeoil"};
	for (size_t i = 0; i < COUNT(names); i++)
		if (strncmp(path, names[i], strlen(names[i])) == 0 && !strchr(path + strlen(names[i]), '/'))
			return true;
	return false;
}

/* Returns whether root may write the file on this user's word. A link, or a second name, would make it another's. */
static int check_his(const char *path, const struct proc_user *user, const char *below, struct error *err)
{
	struct stat st, around;
	char resolved[PATH_MAX];
	auto_free char *copy = mem_strdup(path);
	const char *directory = dirname(copy);
	if (lstat(path, &st) < 0 || lstat(directory, &around) < 0)
		return error_errno(err, "cannot look at it");
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1 || !realpath(path, resolved) || strcmp(resolved, path) != 0)
		return error_set(err, ERROR_PERMANENT, "it is a link, or behind one");
	if (owned_check(path, user, err) < 0)
		return -1;
	bool inside = strncmp(path, below, strlen(below)) == 0 && path[strlen(below)] == '/';
	bool his = st.st_uid == user->uid || (st.st_uid == 0 && st.st_gid == user->gid);
	if (around.st_uid == user->uid || (inside && his))
		return 0;
	return error_set(err, ERROR_PERMANENT, "root does not read or write it on the word of user %s", user->name);
}

/* Says in a note why a file of the pair is left. */
static bool may_be_his(struct found_service *s, const struct find_pair *pair, const char *setting, const char *path)
{
	struct error err;
	if (!pair->his || pair->his->uid == 0 || find_is_shared(path) ||
		check_his(path, pair->his, pair->below, &err) == 0)
		return true;
	found_note(s, "%s = %s: left: %s: name a file in a directory of user %s, or below %s with that group", setting,
		path, err.message, pair->his->name, pair->below);
	return false;
}

/* Returns the absolute path, without "." and empty parts; what it names stays the same. The caller frees it. */
static char *below_base(const char *base, const char *path)
{
	auto_free char *whole = path[0] == '/' ? mem_strdup(path) : mem_printf("%s/%s", base, path);
	char *rest = whole;
	char *result = mem_strdup(""), *part;
	while ((part = strsep(&rest, "/"))) {
		if (!*part || strcmp(part, ".") == 0)
			continue;
		char *longer = mem_printf("%s/%s", result, part);
		free(result);
		result = longer;
	}
	return result;
}

void find_pair(struct found_service *s, const struct find_pair *pair)
{
	auto_free char *certificate = below_base(pair->base, pair->certificate);
	auto_free char *key = below_base(pair->base, pair->key);
	bool one = strcmp(certificate, key) == 0;
	if (!may_be_his(s, pair, pair->certificate_setting, certificate) ||
		(!one && !may_be_his(s, pair, pair->key_setting, key)))
		return;
	int group = ++s->groups;
	find_copy(s, group, pair->certificate_setting, certificate, one ? "combined" : "fullchain");
	if (!one)
		find_copy(s, group, pair->key_setting, key, "privkey");
}

void find_addresses(struct found_service *s, const char *list, uint16_t port, const char *protocol)
{
	auto_free char *copy = mem_strdup(list);
	char *rest = copy;
	char *item;
	while ((item = strsep(&rest, ", \t"))) {
		bool any = strcmp(item, "*") == 0 || strcmp(item, "0.0.0.0") == 0 || strcmp(item, "::") == 0;
		if (*item)
			found_port(s, any ? "" : item, port, protocol, false);
	}
}

int find_run_as(const struct proc_user *user, const char *const *argv, struct buf *out, struct error *err)
{
	enum { BEFORE = 5 };
	size_t count = 0;
	if (!user || geteuid() != 0)
		return tool_run(argv, out, err);
	while (argv[count])
		count++;
	auto_free char *uid = mem_printf("--reuid=%s", user->name),
		       *gid = mem_printf("--regid=%u", (unsigned)user->gid);
	const char *const before[BEFORE] = {"setpriv", uid, gid, "--init-groups", "--no-new-privs"};
	auto_free const char **all = mem_array(BEFORE + count + 1, sizeof(*all));
	memcpy(all, before, sizeof(before));
	memcpy(all + BEFORE, argv, count * sizeof(*argv));
	return tool_run(all, out, err);
}
