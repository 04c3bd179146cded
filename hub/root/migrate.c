#include "hub/root/migrate.h"
#include "hub/common/keys_root.h"
#include "lib/core/clock.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

enum { PATIENCE_S = 30 };

static const char done_file[] = "keys-moved";

struct migration {
	int state; /* the directory */
	struct frame_stream *keys;
	size_t count; /* of files that were met in this pass */
};

/* One key file of a directory, or one that was renamed. */
struct old_key {
	const char *file;
	enum keys_adopt adopt;
	const char *left; /* what is left in its place; NULL: nothing */
};

typedef int visit(struct migration *m, int dir, const struct old_key *key, struct error *err);

/* ---- where they are ---- */

static const struct old_key of_revision[] = {
	{"privkey.pem", KEYS_ADOPT_COMMITTED, NULL}, {"privkey-2.pem", KEYS_ADOPT_COMMITTED, NULL}, {NULL, 0, NULL}};
static const struct old_key of_account[] = {{"account.key", KEYS_ADOPT_ACCOUNT, "account.pub"}, {NULL, 0, NULL}};
static const struct old_key of_order[] = {{"privkey.pem", KEYS_ADOPT_PENDING, "key.pub"},
	{"privkey-2.pem", KEYS_ADOPT_PENDING, "key-2.pub"}, {NULL, 0, NULL}};
static const struct old_key of_signer[] = {{"sign.key", KEYS_ADOPT_SIGNER, NULL}, {NULL, 0, NULL}};

/* The place of such files, so many names deep below the state's directory. */
static const struct old_place {
	const char *path;
	int depth;
	const struct old_key *keys;
} places[] = {
	{"records/acme", 1, of_account},
	{"records/acme-next", 1, of_account},
	{"records/orders", 1, of_order},
	{"records/orders-2", 1, of_order},
	{"records/nextkeys", 1, of_order},
	{"certificates", 2, of_revision},
	{"keys", 0, of_signer},
};

/* Returns 1 with the directory open, 0 when it does not exist or is no directory, or -1. */
static int open_directory(int parent, const char *name, int *ret, struct error *err)
{
	*ret = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (*ret >= 0)
		return 1;
	return errno == ENOENT || errno == ENOTDIR || errno == ELOOP
		? 0
		: error_errno(err, "cannot open the directory %s", name);
}

static int walk(struct migration *m, int parent, const char *name, int depth, const struct old_key *keys, visit *each,
	struct error *err)
{
	int fd, found = open_directory(parent, name, &fd, err);
	auto_close int dir = fd;
	if (found <= 0)
		return found;
	for (; depth == 0 && keys->file; keys++)
		if (each(m, dir, keys, err) < 0)
			return -1;
	if (depth == 0)
		return 0;
	DIR *list = fs_list(dir, err);
	int result = list ? 0 : -1;
	const struct dirent *entry;
	while (result == 0 && (entry = readdir(list)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			result = walk(m, dir, entry->d_name, depth - 1, keys, each, err);
	if (list)
		closedir(list);
	return result < 0 ? error_wrap(err, "%s", name) : 0;
}

static int pass(struct migration *m, visit *each, struct error *err)
{
	m->count = 0;
	for (size_t i = 0; i < COUNT(places); i++) {
		char copy[64], *rest = NULL;
		snprintf(copy, sizeof(copy), "%s", places[i].path);
		const char *first = strtok_r(copy, "/", &rest), *second = strtok_r(NULL, "/", &rest);
		int fd = -1, found = second ? open_directory(m->state, first, &fd, err) : 1;
		auto_close int parent = fd;
		if (found > 0)
			found = walk(m, second ? parent : m->state, second ? second : first, places[i].depth,
				places[i].keys, each, err);
		if (found < 0)
			return -1;
	}
	return syncfs(m->state) < 0 ? error_errno(err, "cannot sync the file system of the store") : 0;
}

/* ---- certsync-keys ---- */

static int receive(struct migration *m, struct frame *ret, struct error *err)
{
	const int64_t deadline = clock_monotonic_ms() + INT64_C(1000) * PATIENCE_S;
	int found;
	while ((found = frame_next(m->keys, ret, err)) == 0) {
		int filled = clock_monotonic_ms() < deadline ? frame_fill(m->keys, err) : 0;
		if (filled <= 0)
			return error_set(err, ERROR_RETRY, "certsync-keys did not answer");
	}
	return found < 0 ? -1 : 0;
}

static int ask(
	struct migration *m, const struct keys_root_request *request, struct keys_root_reply *reply, struct error *err)
{
	struct frame frame;
	auto_buf struct buf record = BUF_INIT(FRAME_RECORD_MAX);
	if (keys_root_request_encode(request, &record) < 0)
		return error_set(err, ERROR_PERMANENT, "it is too long");
	if (frame_send(m->keys->fd, FRAME_RECORD, record.data, record.len, err) < 0 || receive(m, &frame, err) < 0 ||
		keys_root_reply_decode(frame.data, frame.len, reply, err) < 0)
		return -1;
	return reply->ok ? 0 : error_set(err, ERROR_PERMANENT, "%s", reply->text);
}

/* ---- the passes ---- */

/* Returns 1 when it is a regular file, and 0 when there is none, or something that none of our programs has made. */
static int is_file(int dir, const char *name)
{
	struct stat st;
	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

static const char *gone_name(const struct old_key *key, char name[64])
{
	snprintf(name, 64, MIGRATE_GONE "%s", key->file);
	return name;
}

static int hand_over(struct migration *m, int dir, const struct old_key *key, struct error *err)
{
	struct keys_root_reply reply;
	auto_buf struct buf text = BUF_INIT(KEYS_ROOT_FILE_MAX);
	if (!is_file(dir, key->file))
		return 0;
	if (fs_read(dir, key->file, false, &text, err) < 0)
		return -1;
	const struct keys_root_request request = {
		.op = KEYS_ROOT_ADOPT, .adopt = key->adopt, .data = text.data, .len = text.len};
	if (ask(m, &request, &reply, err) < 0)
		return error_wrap(err, "%s", key->file);
	m->count++;
	if (!key->left || !reply.spki_len)
		return 0;
	return fs_write(dir, key->left, reply.spki, reply.spki_len, FS_PRIVATE, err);
}

static int rename_it(struct migration *m, int dir, const struct old_key *key, struct error *err)
{
	char gone[64];
	(void)m;
	if (is_file(dir, key->file) && renameat(dir, key->file, dir, gone_name(key, gone)) < 0)
		return error_errno(err, "cannot rename %s", key->file);
	return 0;
}

static int wipe(struct migration *m, int dir, const struct old_key *key, struct error *err)
{
	char gone[64];
	(void)m;
	return is_file(dir, gone_name(key, gone)) ? fs_wipe(dir, gone, err) : 0;
}

static int note_done(const struct migration *m, struct error *err)
{
	static const char text[] = "The private keys of this store are certsync-keys' (certsync(1), FILES).\n";
	return fs_write(m->state, done_file, text, sizeof(text) - 1, FS_PRIVATE, err);
}

static int move_all(struct migration *m, size_t *ret_count, struct error *err)
{
	struct keys_root_reply reply;
	const struct keys_root_request sync = {.op = KEYS_ROOT_SYNC};
	if (pass(m, hand_over, err) < 0)
		return -1;
	*ret_count = m->count;
	if (*ret_count && ask(m, &sync, &reply, err) < 0)
		return -1;
	if (pass(m, rename_it, err) < 0 || pass(m, wipe, err) < 0)
		return -1;
	return note_done(m, err);
}

/* ---- rights ---- */

static int take_rights(uid_t uid, gid_t gid, struct error *err)
{
	(void)setfsgid(gid);
	(void)setfsuid(uid);
	/* Both report what was before, so only a second call tells whether the first one worked. */
	if (setfsuid((uid_t)-1) != (int)uid || setfsgid((gid_t)-1) != (int)gid)
		return error_set(err, ERROR_PERMANENT, "cannot take the rights of user %u", (unsigned)uid);
	return 0;
}

/* The store is not touched while another hub has it. */
static int lock(int state, struct error *err)
{
	int fd = openat(state, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (fd < 0)
		return error_errno(err, "cannot open its lock");
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	error_set(err, ERROR_RETRY, "another hub holds it");
	close(fd);
	return -1;
}

static int migrate_here(const char *state, struct frame_stream *keys, size_t *ret_count, struct error *err)
{
	auto_close int directory = fs_open_directory(AT_FDCWD, state, err);
	struct migration m = {.state = directory, .keys = keys};
	if (directory < 0)
		return -1;
	if (is_file(directory, done_file))
		return 0;
	auto_close int held = lock(directory, err);
	return held < 0 ? -1 : move_all(&m, ret_count, err);
}

int migrate(const char *state, const struct proc_user *user, struct frame_stream *keys, size_t *ret_count,
	struct error *err)
{
	const struct timeval patience = {.tv_sec = PATIENCE_S};
	*ret_count = 0;
	if (fcntl(keys->fd, F_SETFL, 0) < 0 ||
		setsockopt(keys->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
		setsockopt(keys->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0)
		return error_errno(err, "cannot set up the socket of certsync-keys");
	int result = user ? take_rights(user->uid, user->gid, err) : 0;
	if (result == 0)
		result = migrate_here(state, keys, ret_count, err);
	struct error ignored;
	if (user && take_rights(0, 0, &ignored) < 0)
		mem_abort(__func__); /* cannot happen, and nothing would be right afterwards */
	if (fcntl(keys->fd, F_SETFL, O_NONBLOCK) < 0)
		return error_errno(err, "cannot set up the socket of certsync-keys");
	return result < 0 ? error_wrap(err, "the private keys of %s cannot be moved to certsync-keys", state) : 0;
}
