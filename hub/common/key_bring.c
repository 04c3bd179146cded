#include "hub/common/key_bring.h"
#include "lib/core/mem.h"
#include "lib/core/pass.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { PATIENCE_S = 30 };

char *key_bring_path(const char *run)
{
	return mem_printf("%s-keys/keys.sock", run);
}

static int connect_to(const char *path, struct error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const struct timeval patience = {.tv_sec = PATIENCE_S};
	if (strlen(path) >= sizeof(address.sun_path))
		return error_set(err, ERROR_USAGE, "%s is too long for a socket's path", path);
	memcpy(address.sun_path, path, strlen(path));
	auto_close int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
		connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return error_errno(err,
			"cannot reach certsync-keys at %s (does certsync-hub run, and are you in its operators' group?)",
			path);
	return steal_fd(&fd);
}

static int seal_memory(const void *text, size_t len, struct error *err)
{
	auto_close int fd = memfd_create("certsync", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || write(fd, text, len) != (ssize_t)len || fcntl(fd, F_ADD_SEALS, KEY_BRING_SEALS) < 0)
		return error_errno(err, "cannot put a file into memory");
	return steal_fd(&fd);
}

int key_bring(const char *socket_path, const void *text, size_t len, struct buf *ret, struct error *err)
{
	static const char record[] = {KEY_BRING_RECORD};
	auto_close int memory = seal_memory(text, len, err);
	auto_close int fd = memory < 0 ? -1 : connect_to(socket_path, err);
	if (fd < 0 || pass_send(fd, record, sizeof(record), memory, err) < 0)
		return -1;
	uint8_t *at = buf_reserve(ret, KEY_BRING_LEFT_MAX);
	ssize_t got = at ? recv(fd, at, KEY_BRING_LEFT_MAX, 0) : -1;
	if (got <= 0)
		return error_set(
			err, ERROR_RETRY, "certsync-keys did not answer: look at the hub's log, then try again");
	buf_added(ret, (size_t)got);
	return 0;
}
