#include "hub/root/authorized_keys.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char mark[] = "certsync:";

/* Returns whether the line's last word says that we wrote it. A comment belongs to somebody else whatever it says. */
static bool is_ours(const char *line, size_t len)
{
	while (len && (line[len - 1] == ' ' || line[len - 1] == '\t' || line[len - 1] == '\r'))
		len--;
	size_t word = len;
	while (word && line[word - 1] != ' ' && line[word - 1] != '\t')
		word--;
	return word > 0 && line[0] != '#' && len - word > strlen(mark) && memcmp(line + word, mark, strlen(mark)) == 0;
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
		if (by_key(&keys[i - 1], &keys[i]) == 0)
			return error_set(err, ERROR_PERMANENT,
				"the agents %s and %s have the same SSH key: sshd could not tell "
				"them apart; make a new one on the node that was cloned",
				keys[i - 1]->agent, keys[i]->agent);
	qsort(keys, count, sizeof(*keys), by_agent);
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
	auto_free const struct hub_key **sorted = mem_array(count, sizeof(*sorted));
	for (size_t i = 0; i < count; i++)
		sorted[i] = &keys[i];
	if (check_unique(sorted, count, err) < 0)
		return -1;
	int result = keep_foreign(old, out);
	for (size_t i = 0; i < count && result == 0; i++)
		result = add_line(sorted[i], out);
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
