#include "agent/cli/adopt/journal.h"
#include "agent/common/adopt_lock.h"
#include "lib/core/clock.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"
#include "lib/wire/json_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { STATE_MAX = 1024 * 1024, FILES_MAX = 1000 };

static const char name[] = "adopt.json";

bool adopt_journal_is_there(const struct agent_config *config)
{
	auto_free char *path = mem_printf("%s/%s", config->root_state, name);
	return access(path, F_OK) == 0;
}

static int read_state(struct adopt_journal *j, struct error *err)
{
	int found = json_file_read(j->directory, name, STATE_MAX, &j->state, err);
	if (found == 0 || (found < 0 && err->kind == ERROR_RETRY))
		return found;
	if (!j->state || !json_array(j->state, "files", FILES_MAX, err) ||
		!json_array(j->state, "services", FILES_MAX, err))
		return error_wrap(err,
			"what an interrupted adopt has written cannot be read: compare the files with their "
			"backups "
			"(.NAME.certsync-DATE beside them), then remove %s",
			name);
	return 0;
}

int adopt_journal_open(const struct agent_config *config, struct adopt_journal *ret, struct error *err)
{
	*ret = (struct adopt_journal){.directory = -1, .lock = -1};
	ret->directory = fs_open_directory(AT_FDCWD, config->root_state, err);
	if (ret->directory < 0)
		return -1;
	ret->lock = adopt_lock_take(ret->directory, err);
	return ret->lock < 0 ? -1 : read_state(ret, err);
}

void adopt_journal_close(struct adopt_journal *j)
{
	cJSON_Delete(j->state);
	if (j->lock >= 0)
		close(j->lock);
	if (j->directory >= 0)
		close(j->directory);
	*j = (struct adopt_journal){.directory = -1, .lock = -1};
}

static void digest(const struct buf *b, char ret[CHAIN_HEX_MAX])
{
	uint8_t sha256[CHAIN_SHA256_SIZE];
	SHA256(b->data ? b->data : (const uint8_t *)"", b->len, sha256);
	chain_hex(sha256, ret);
}

/* Returns a path like DIRECTORY/.NAME.certsync-20261123T053200Z. */
static char *backup_path(const struct edit_file *f, int64_t now)
{
	char date[32];
	struct tm tm;
	time_t at = (time_t)now;
	gmtime_r(&at, &tm);
	strftime(date, sizeof(date), "%Y%m%dT%H%M%SZ", &tm);
	return mem_printf("%s.certsync-%s", f->backup, date);
}

int adopt_journal_begin(struct adopt_journal *j, const struct edit *edit, int64_t now, struct error *err)
{
	char at[CLOCK_TEXT_MAX];
	if (edit->count > FILES_MAX)
		return error_set(
			err, ERROR_USAGE, "more than %d files would change: adopt one --service at a time", FILES_MAX);
	j->state = cJSON_CreateObject();
	cJSON_AddStringToObject(j->state, "at", clock_text(now, at));
	cJSON *files = cJSON_AddArrayToObject(j->state, "files");
	cJSON_AddArrayToObject(j->state, "services");
	for (size_t i = 0; i < edit->count; i++) {
		char sha256[CHAIN_HEX_MAX];
		auto_free char *backup = backup_path(&edit->files[i], now);
		cJSON *file = cJSON_CreateObject();
		digest(&edit->files[i].after, sha256);
		cJSON_AddStringToObject(file, "path", edit->files[i].path);
		cJSON_AddStringToObject(file, "backup", backup);
		cJSON_AddStringToObject(file, "after", sha256);
		cJSON_AddItemToArray(files, file);
	}
	return 0;
}

int adopt_journal_service(struct adopt_journal *j, const char *certificate, const char *service)
{
	cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "certificate", certificate);
	cJSON_AddStringToObject(o, "service", service);
	return cJSON_AddItemToArray(cJSON_GetObjectItemCaseSensitive(j->state, "services"), o) ? 0 : -1;
}

int adopt_journal_write(struct adopt_journal *j, struct error *err)
{
	return json_file_write(j->directory, name, j->state, STATE_MAX, err);
}

int adopt_journal_backup(const struct adopt_journal *j, const struct edit *edit, struct error *err)
{
	const cJSON *file;
	size_t i = 0;
	cJSON_ArrayForEach (file, json_get(j->state, "files")) {
		const struct edit_file *f = &edit->files[i++];
		const char *base;
		auto_close int directory = fs_open_parent(json_text(file, "backup"), &base, err);
		if (directory < 0 || fs_write(directory, base, f->before.data, f->before.len, f->owner, err) < 0)
			return error_wrap(err, "no backup of %s", f->path);
	}
	return 0;
}

/* Returns 1 when the file was put back, 0 when it was as it had been, 2 when it was left alone, or -1. */
static int put_back(const cJSON *file, struct error *err)
{
	char now[CHAIN_HEX_MAX];
	struct stat st;
	auto_buf struct buf current = BUF_INIT(EDIT_FILE_MAX), old = BUF_INIT(EDIT_FILE_MAX);
	const char *path = json_text(file, "path"), *name_there, *backup;
	auto_close int directory = fs_open_parent(path, &name_there, err);
	auto_close int beside = directory < 0 ? -1 : fs_open_parent(json_text(file, "backup"), &backup, err);
	if (beside < 0)
		return error_wrap(err, "%s cannot be put back", path);
	if (fstatat(beside, backup, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
		return 0; /* files are changed only when every backup is there */
	if (fs_read(beside, backup, false, &old, err) < 0 || fstatat(beside, backup, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return error_wrap(err, "%s cannot be put back", path);
	int found = fs_read(directory, name_there, false, &current, err);
	digest(&current, now);
	bool same =
		found == 0 && current.len == old.len && (old.len == 0 || memcmp(current.data, old.data, old.len) == 0);
	if (!same && found == 0 && strcmp(now, json_text(file, "after")) != 0)
		return 2;
	const struct fs_owner owner = {st.st_uid, st.st_gid, st.st_mode & 07777};
	if (!same && fs_write(directory, name_there, old.data, old.len, owner, err) < 0)
		return -1;
	if (unlinkat(beside, backup, 0) < 0)
		return error_errno(err, "cannot remove %s", json_text(file, "backup"));
	return same ? 0 : 1;
}

int adopt_journal_put_back(const struct adopt_journal *j, struct error *err)
{
	const cJSON *file;
	int result = 0;
	cJSON_ArrayForEach (file, json_get(j->state, "files")) {
		struct error why;
		const char *path = json_text(file, "path");
		if (path[0] != '/')
			continue;
		int done = put_back(file, &why);
		fs_sweep_beside(path); /* what an interrupted write has left may hold a key */
		if (done == 1)
			printf("%s: put back\n", path);
		else if (done == 2) {
			printf("%s: left, since somebody has changed it since; it was as in %s\n", path,
				json_text(file, "backup"));
			result = result < 0 ? result : 1;
		} else if (done < 0) {
			*err = why;
			result = -1;
		}
	}
	return result;
}

int adopt_journal_end(struct adopt_journal *j, struct error *err)
{
	cJSON_Delete(j->state);
	j->state = NULL;
	if (unlinkat(j->directory, name, 0) < 0 && errno != ENOENT)
		return error_errno(err, "cannot remove %s", name);
	return fs_sync_directory(j->directory, err);
}
