/* Runs certsync-keys for tests of the daemon's modules, which have no root half to start it: it is a process of the
 * test's own. */
#ifndef CERTSYNC_TESTS_KEYS_H
#define CERTSYNC_TESTS_KEYS_H

#include "hub/daemon/keys.h"
#include "hub/keys/server.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"
#include "lib/core/pass.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Starts it, with its keys in `directory`. Returns its pid, or -1. It ends when keys_free has hung up. */
static inline pid_t keys_begin(struct keys *keys, const char *directory, struct error *err)
{
	int pair[2];
	const pid_t parent = getpid();
	if (pass_pair(pair, err) < 0)
		return -1;
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		const struct server_fds fds = {.root = -1, .daemon = 3, .operators = -1};
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* Nothing that the parent has open may stay open here, a lock for example. */
		if (getppid() != parent || dup2(pair[1], 3) < 0 || close_range(4, ~0u, 0) < 0)
			_exit(1);
		_exit(server_run(directory, &fds, err) < 0);
	}
	close(pair[1]);
	if (pid > 0)
		keys_connect(keys, pair[0]);
	else
		close(pair[0]);
	return pid;
}

/* Puts a leaf's key where it would be once it was committed. It is written beside `directory` and moved in, because
 * certsync-keys removes at its start what an interrupted write has left there. */
static inline int keys_put(const char *directory, EVP_PKEY *key, struct error *err)
{
	uint8_t id[KEYS_ID_SIZE];
	char hex[CHAIN_HEX_MAX];
	const struct chain only_key = {.key = key};
	auto_buf struct buf pem = BUF_INIT(CHAIN_PEM_MAX);
	auto_free char *leaf = mem_printf("%s/leaf", directory);
	if (chain_key_id(key, id, err) < 0 || chain_write_pem(&only_key, CHAIN_KEY, &pem, err) < 0 ||
		fs_make_directories(leaf, 0700, err) < 0)
		return -1;
	auto_free char *path = mem_printf("%s/%s.pem", leaf, chain_hex(id, hex)),
		       *beside = mem_printf("%s.pem", directory);
	if (fs_write(AT_FDCWD, beside, pem.data, pem.len, FS_PRIVATE, err) < 0)
		return -1;
	return rename(beside, path) < 0 ? error_errno(err, "cannot move %s", beside) : 0;
}

#endif
