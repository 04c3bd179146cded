#include "lib/wire/listener.h"
#include "lib/core/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct listener {
	int fd;
	char *path;
	struct event *event;
	struct event *pause; /* no descriptor was free: not looked at for a second, or the loop would spin */
	listener_accept *accept;
	void *context;
};

static int make_address(const char *path, struct sockaddr_un *ret, struct error *err)
{
	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(ret->sun_path))
		return error_set(err, ERROR_USAGE,
			"the socket's path %s is longer than %zu bytes: configure a shorter `run`", path,
			sizeof(ret->sun_path) - 1);
	snprintf(ret->sun_path, sizeof(ret->sun_path), "%s", path);
	return 0;
}

int listener_connect(const char *path, int nonblocking, struct error *err)
{
	struct sockaddr_un address;
	if (make_address(path, &address, err) < 0)
		return -1;
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0), 0);
	if (fd < 0)
		return error_errno(err, "cannot make a socket");
	const struct timeval limit = {.tv_sec = LISTENER_WAIT_SECONDS};
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return errno == EAGAIN
			? error_set(err, ERROR_RETRY,
				  "cannot connect to %s: who listens there lets nobody in: it hangs", path)
			: error_errno(err, "cannot connect to %s", path);
	return steal_fd(&fd);
}

static void on_connection(evutil_socket_t listening, short what, void *context)
{
	(void)what;
	struct listener *l = context;
	int fd = accept4((int)listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
		const struct timeval second = {1, 0};
		event_del(l->event);
		event_add(l->pause, &second);
	}
	if (fd < 0)
		return;
	struct ucred peer;
	socklen_t len = sizeof(peer);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0) {
		close(fd);
		return;
	}
	l->accept(fd, peer.uid, l->context);
}

static void on_pause_over(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	struct listener *l = context;
	event_add(l->event, NULL);
}

/* The socket is bound under another name and renamed, so that nobody can connect before it has its mode and group. */
static int bind_file(int fd, const char *path, mode_t mode, gid_t gid, struct error *err)
{
	struct sockaddr_un address;
	auto_free char *temporary = mem_printf("%s.new", path);
	if (make_address(temporary, &address, err) < 0)
		return -1;
	unlink(temporary);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return error_errno(err, "cannot bind %s", path);
	if ((gid != (gid_t)-1 && chown(temporary, (uid_t)-1, gid) < 0) || chmod(temporary, mode) < 0 ||
		listen(fd, 128) < 0 || rename(temporary, path) < 0) {
		error_errno(err, "cannot listen on %s", path);
		unlink(temporary);
		return -1;
	}
	return 0;
}

struct listener *listener_new(struct event_base *base, const char *path, mode_t mode, gid_t gid,
	listener_accept *accept, void *context, struct error *err)
{
	struct error ignored;
	auto_close int running = listener_connect(path, 0, &ignored);
	if (running >= 0) {
		error_set(err, ERROR_USAGE, "somebody already answers on %s: is certsync running already?", path);
		return NULL;
	}
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		error_errno(err, "cannot make a socket");
		return NULL;
	}
	if (bind_file(fd, path, mode, gid, err) < 0)
		return NULL;
	struct listener *l = mem_alloc(sizeof(*l));
	l->fd = steal_fd(&fd);
	l->path = mem_strdup(path);
	l->accept = accept;
	l->context = context;
	l->event = event_new(base, l->fd, EV_READ | EV_PERSIST, on_connection, l);
	l->pause = event_new(base, -1, 0, on_pause_over, l);
	if (!l->event || !l->pause || event_add(l->event, NULL) < 0)
		mem_abort(__func__);
	return l;
}

void listener_free(struct listener *l)
{
	if (!l)
		return;
	event_free(l->event);
	event_free(l->pause);
	close(l->fd);
	unlink(l->path);
	free(l->path);
	free(l);
}
