#include "hub/root/authorized_keys.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char mark[] = "certsync:";

struct word {
	const char *at;
	size_t len;
};

/* Takes the last word off a line, of which *len is left. */
static struct word take_last(const char *line, size_t *len)
{
	while (*len && (line[*len - 1] == ' ' || line[*len - 1] == '\t' || line[*len - 1] == '\r'))
		(*len)--;
	size_t end = *len;
	while (*len && line[*len - 1] != ' ' && line[*len - 1] != '\t')
		(*len)--;
	return (struct word){line + *len, end - *len};
}

/* Returns whether the line's last word says that we wrote it. A comment belongs to somebody else whatever it says. */
static bool is_ours(const char *line, size_t len)
{
	const struct word last = take_last(line, &len);
	return len > 0 && line[0] != '#' && last.len > strlen(mark) && memcmp(last.at, mark, strlen(mark)) == 0;
}

static int keep_foreign(const char *old, struct buf *out)
{
	while (*old) {
		size_t len = strcspn(old, "\n");
		if (!is_ours(old, len) && (buf_add(out, old, len) < 0 || buf_put_u8(out, '\n') < 0))
			return -1;
		old += len + (old[len] == '\n');
	}
	return 0;
}

/* ---- lines of ours that stay ---- */

/* A line as the file has it, and what it is; the key is empty when the line has none. */
struct kept {
	struct word line;
	struct hub_key is;
};

static bool is_asked_for(const struct hub_key *keys, size_t count, const struct hub_key *is)
{
	enum hub_key_use use = is->use == HUB_KEY_JOIN ? HUB_KEY_JOIN_KEPT : HUB_KEY_AGENT_KEPT;
	for (size_t i = 0; i < count; i++)
		if (keys[i].use == use && strcmp(keys[i].agent, is->agent) == 0)
			return true;
	return false;
}

static void read_line(const char *line, size_t len, struct kept *ret)
{
	static const char joins[] = "command=\"join:";
	size_t left = len;
	const struct word name = take_last(line, &left), base64 = take_last(line, &left), type = take_last(line, &left);
	*ret = (struct kept){.line = {line, (size_t)(name.at - line) + name.len}};
	snprintf(ret->is.agent, sizeof(ret->is.agent), "%.*s", (int)(name.len - strlen(mark)), name.at + strlen(mark));
	snprintf(ret->is.key, sizeof(ret->is.key), "%.*s %.*s", (int)type.len, type.at, (int)base64.len, base64.at);
	if (!hub_key_is_valid(ret->is.key))
		ret->is.key[0] = '\0';
	ret->is.use = memmem(line, left, joins, strlen(joins)) ? HUB_KEY_JOIN : HUB_KEY_AGENT;
}

/* Finds the lines that are to stay. The caller frees the array; they borrow from `old`. */
static struct kept *find_kept(const char *old, const struct hub_key *keys, size_t count, size_t *ret_count)
{
	struct kept *list = NULL;
	bool any = false;
	*ret_count = 0;
	for (size_t i = 0; i < count; i++)
		any = any || hub_key_is_kept(keys[i].use);
	for (size_t len; any && *old; old += len + (old[len] == '\n')) {
		struct kept line;
		len = strcspn(old, "\n");
		if (!is_ours(old, len))
			continue;
		read_line(old, len, &line);
		if (!is_asked_for(keys, count, &line.is))
			continue;
		list = mem_grow(list, *ret_count + 1, sizeof(*list));
		list[(*ret_count)++] = line;
	}
	return list;
}

/* ---- the new file ---- */

static int by_key(const void *left, const void *right)
{
	const struct hub_key *const *a = left, *const *b = right;
	return strcmp((*a)->key, (*b)->key);
}

static int by_agent(const void *left, const void *right)
{
	const struct hub_key *const *a = left, *const *b = right;
	int order = strcmp((*a)->agent, (*b)->agent);
	order = order ? order : (int)(*a)->use - (int)(*b)->use;
	return order ? order : by_key(left, right);
}

static int check_unique(const struct hub_key **keys, size_t count, struct error *err)
{
	qsort(keys, count, sizeof(*keys), by_key);
	for (size_t i = 1; i < count; i++)
		if (keys[i]->key[0] && by_key(&keys[i - 1], &keys[i]) == 0)
			return error_set(err, ERROR_PERMANENT,
				"the agents %s and %s have the same SSH key: sshd could not tell "
				"them apart; make a new one on the node that was cloned",
				keys[i - 1]->agent, keys[i]->agent);
	return 0;
}

static int add_line(const struct hub_key *key, struct buf *out)
{
	char until[40] = "", word[HUB_KEY_WORD_MAX];
	struct tm tm;
	time_t at = (time_t)key->expires;
	/* The time is local, as sshd reads it: only OpenSSH 9.1 and later know a Z for UTC, and with an older one no
	 * such key would log in. */
	if (key->expires &&
		(!localtime_r(&at, &tm) || !strftime(until, sizeof(until), "expiry-time=\"%Y%m%d%H%M%S\",", &tm)))
		return -1;
	hub_key_word(key, word);
	return buf_addf(out, "restrict,%scommand=\"%s\" %s %s%s\n", until, word, key->key, mark, key->agent);
}

int authorized_keys_render(
	const char *old, const struct hub_key *keys, size_t count, struct buf *out, struct error *err)
{
	size_t kept_count, new_count = 0;
	auto_free struct kept *kept = find_kept(old, keys, count, &kept_count);
	auto_free const struct hub_key **new = mem_array(count, sizeof(*new));
	auto_free const struct hub_key **all = mem_array(count + kept_count, sizeof(*all));
	for (size_t i = 0; i < count; i++)
		if (!hub_key_is_kept(keys[i].use))
			new[new_count++] = &keys[i];
	memcpy(all, new, new_count * sizeof(*all));
	for (size_t i = 0; i < kept_count; i++)
		all[new_count + i] = &kept[i].is;
	if (check_unique(all, new_count + kept_count, err) < 0)
		return -1;
	qsort(new, new_count, sizeof(*new), by_agent);
	int result = keep_foreign(old, out);
	for (size_t i = 0; i < kept_count && result == 0; i++)
		result = buf_addf(out, "%.*s\n", (int)kept[i].line.len, kept[i].line.at);
	for (size_t i = 0; i < new_count && result == 0; i++)
		result = add_line(new[i], out);
	if (result < 0)
		return error_set(err, ERROR_PERMANENT, "authorized_keys would be longer than %zu bytes", out->max);
	return 0;
}

/* sshd refuses a file that somebody else could replace, and so do we, before it does so in silence. In a sticky
 * directory (/tmp) nobody can replace what is root's. */
static int check_parents(const char *path, struct error *err)
{
	auto_free char *parent = mem_strdup(path);
	for (char *slash; (slash = strrchr(parent, '/')) && slash != parent;) {
		struct stat st;
		*slash = '\0';
		if (stat(parent, &st) < 0)
			return error_errno(err, "cannot look at %s", parent);
		if (st.st_uid != 0 || ((st.st_mode & 022) && !(st.st_mode & S_ISVTX)))
			return error_set(err, ERROR_PERMANENT,
				"%s is not root's alone to write, and sshd would refuse what is in "
				"it: chown root:root %s; chmod go-w %s",
				parent, parent, parent);
	}
	return 0;
}

static int make_parents(const char *path, struct error *err)
{
	const char *slash = strrchr(path, '/');
	if (!slash || slash == path)
		return 0;
	auto_free char *parent = mem_strndup(path, (size_t)(slash - path));
	/* The gate's user must get through, whatever our umask is. */
	mode_t before = umask(022);
	int result = fs_make_directories(parent, 0755, err);
	umask(before);
	return result;
}

int authorized_keys_write(const char *path, const struct hub_key *keys, size_t count, struct error *err)
{
	bool root = geteuid() == 0;
	auto_buf struct buf old = BUF_INIT(AUTHORIZED_KEYS_MAX), new = BUF_INIT(AUTHORIZED_KEYS_MAX);
	struct fs_owner owner = {root ? 0 : (uid_t)-1, root ? 0 : (gid_t)-1, 0644};
	struct stat st;
	if (make_parents(path, err) < 0 || (root && check_parents(path, err) < 0))
		return error_wrap(err, "cannot write %s", path);
	fs_sweep_beside(path);
	bool exists = lstat(path, &st) == 0;
	if (!exists && errno != ENOENT)
		return error_errno(err, "cannot keep what others wrote into %s", path);
	if (exists && fs_read(AT_FDCWD, path, false, &old, err) < 0)
		return error_wrap(err, "cannot keep what others wrote into it");
	if (old.len && memchr(old.data, '\0', old.len))
		return error_set(
			err, ERROR_PERMANENT, "%s has a NUL byte, and lines behind it would be lost: remove it", path);
	if (authorized_keys_render(buf_text(&old), keys, count, &new, err) < 0)
		return error_wrap(err, "cannot write %s", path);
	bool right = exists && (st.st_mode & 07777) == 0644 && (!root || st.st_uid == 0);
	if (right && strcmp(buf_text(&old), buf_text(&new)) == 0)
		return 0;
	return fs_write(AT_FDCWD, path, new.data, new.len, owner, err);
}
