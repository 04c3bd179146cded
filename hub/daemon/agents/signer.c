#include "hub/daemon/agents/signer.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

static bool holds_something(const char *state, const char *below)
{
	struct error ignored;
	auto_free char *path = mem_printf("%s/%s", state, below);
	auto_close int fd = fs_open_directory(AT_FDCWD, path, &ignored);
	DIR *dir = fd < 0 ? NULL : fs_list(fd, &ignored);
	bool found = false;
	const struct dirent *entry;
	while (dir && (entry = readdir(dir)))
		found = found || entry->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return found;
}

static int make(const char *path, uint8_t ret_private[SEAL_KEY_SIZE], struct error *err)
{
	uint8_t ignored[SEAL_KEY_SIZE];
	if (sign_keypair(ret_private, ignored, err) < 0)
		return -1;
	return fs_write(AT_FDCWD, path, ret_private, SEAL_KEY_SIZE, FS_PRIVATE, err);
}

int signer_open(const char *state, uint8_t ret_private[SEAL_KEY_SIZE], uint8_t ret_public[SEAL_KEY_SIZE],
	struct error *err)
{
	auto_free char *directory = mem_printf("%s/keys", state);
	auto_free char *path = mem_printf("%s/sign.key", directory);
	if (fs_make_directories(directory, 0700, err) < 0)
		return -1;
	fs_sweep_beside(path); /* a key that a killed start had not given its name yet is nobody's */
	if (access(path, F_OK) < 0 && errno == ENOENT) {
		if (holds_something(state, "certificates") || holds_something(state, "records/agents"))
			return error_set(err, ERROR_PERMANENT,
				"%s is missing, but %s holds certificates or agents: restore it from the same backup (with a new key "
				"every agent would have to join again)", path, state);
		if (make(path, ret_private, err) < 0)
			return error_wrap(err, "cannot make the signing key");
		return sign_public(ret_private, ret_public, err);
	}
	auto_buf struct buf key = BUF_INIT(SEAL_KEY_SIZE);
	if (fs_read(AT_FDCWD, path, false, &key, err) < 0)
		return error_wrap(err, "signing key");
	if (key.len != SEAL_KEY_SIZE)
		return error_set(err, ERROR_PERMANENT,
			"%s has %zu bytes, not %d: restore it from a backup (with a new key every agent would have to join again)",
			path, key.len, SEAL_KEY_SIZE);
	memcpy(ret_private, key.data, SEAL_KEY_SIZE);
	return sign_public(ret_private, ret_public, err);
}
