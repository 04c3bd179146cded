#include "hub/daemon/agents/signer.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"

#include <fcntl.h>
#include <stdbool.h>

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

int signer_public(struct keys *keys, const char *state, uint8_t ret_public[SEAL_KEY_SIZE], struct error *err)
{
	if (keys_signer(keys, false, ret_public, err) == 0)
		return 0;
	if (err->kind != ERROR_USAGE)
		return error_wrap(err, "signing key");
	if (holds_something(state, "certificates") || holds_something(state, "records/agents"))
		return error_set(err, ERROR_PERMANENT,
			"%s-keys/sign.key is missing, but %s holds certificates or agents: restore it from the same backup (with a new key "
			"every agent would have to join again)",
			state, state);
	return keys_signer(keys, true, ret_public, err) < 0 ? error_wrap(err, "signing key") : 0;
}
