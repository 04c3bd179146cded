#include "lib/core/pass.h"
#include "lib/core/mem.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The control message for one descriptor, aligned as the kernel wants it. */
union one_descriptor {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(int))];
};

int pass_pair(int ret_pair[2], struct error *err)
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_pair) < 0)
		return error_errno(err, "cannot make a pair of sockets");
	return 0;
}

int pass_send(int socket, const void *data, size_t len, int fd, struct error *err)
{
	struct iovec bytes = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
	union one_descriptor control = {.bytes = {0}};
	struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1};
	if (fd >= 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = sizeof(control.bytes);
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	}
	ssize_t sent;
	do
		sent = sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	if (sent >= 0)
		return 0;
	int why = errno;
	error_errno(err, "cannot hand over a record");
	errno = why;
	return -1;
}

/* Returns the descriptor that came with a record, or -1. */
static int received(struct msghdr *message)
{
	int fd = -1;
	struct cmsghdr *header = message->msg_controllen ? CMSG_FIRSTHDR(message) : NULL;
	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
		header->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	return fd;
}

long pass_receive(int socket, void *data, size_t max, int *ret_fd, struct error *err)
{
	struct iovec bytes = {.iov_base = data, .iov_len = max};
	union one_descriptor control = {.bytes = {0}};
	struct msghdr message = {.msg_iov = &bytes,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes)};
	*ret_fd = -1;
	ssize_t got;
	do
		got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return PASS_NONE;
	if (got < 0 && errno == ECONNRESET)
		return 0;
	if (got < 0)
		return error_errno(err, "cannot take a record");
	auto_close int fd = received(&message);
	/* What did not fit was cut off, and a surplus descriptor closed, by the kernel. */
	if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
		return error_set(err, ERROR_PERMANENT, "a record is longer than it may be");
	*ret_fd = steal_fd(&fd);
	return got;
}
