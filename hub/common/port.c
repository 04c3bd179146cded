#include "hub/common/port.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"
#include "lib/probe/endpoint.h"

#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int listen_at(const struct endpoint *at)
{
	static const int on = 1;
	auto_close int fd = socket(at->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
		bind(fd, (const struct sockaddr *)&at->address, at->address_len) < 0)
		return -1;
	return listen(fd, 1);
}

/* The kernel takes a change of user for one of identity, after which there might be a core again (prctl(2)). */
static void become(uid_t user)
{
	if (seteuid(user) < 0)
		mem_abort(__func__);
	prctl(PR_SET_DUMPABLE, 0);
}

int port_try(const char *address, uid_t user, struct error *err)
{
	struct endpoint at;
	if (endpoint_parse(address, &at, err) < 0)
		return -1;
	const bool changes = geteuid() == 0 && user != 0;
	if (changes)
		become(user);
	const int result = listen_at(&at) < 0 ? error_errno(err, "cannot listen at %s", address) : 0;
	if (changes)
		become(0);
	return result;
}
