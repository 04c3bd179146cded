#include "hub/root/keys.h"
#include "hub/common/key_bring.h"
#include "hub/common/keys_root.h"
#include "hub/root/migrate.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { ANSWER_MS = 20 * 1000, PING_MS = 60 * 1000, MOVE_AGAIN_MS = 10 * 1000, BACKLOG = 16 };

int keys_listen(const char *run, struct error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	auto_free char *path = key_bring_path(run);
	if (strlen(path) >= sizeof(address.sun_path))
		return error_set(err, ERROR_USAGE, "%s is too long for a socket's path: configure another run", path);
	memcpy(address.sun_path, path, strlen(path));
	auto_close int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || (unlink(path) < 0 && errno != ENOENT))
		return error_errno(err, "cannot make the socket %s", path);
	mode_t before = umask(0117);
	int bound = bind(fd, (const struct sockaddr *)&address, sizeof(address));
	umask(before);
	if (bound < 0 || listen(fd, BACKLOG) < 0)
		return error_errno(err, "cannot listen on %s", path);
	return steal_fd(&fd);
}

/* ---- its life ---- */

static void move_keys(struct keys_watch *w, struct children *c, const char *state, int64_t now)
{
	struct error err;
	size_t count;
	struct supervisor *keys = children_keys(c);
	const struct supervisor *daemon = children_daemon(c);
	int result = migrate(state, daemon->has_user ? &daemon->user : NULL, &keys->in, &count, &err);
	if (result < 0) {
		log_event(LOG_LEVEL_ERROR, "private-keys", "error=\"%s\" result=\"the hub does not start\" again_ms=%d",
			err.message, MOVE_AGAIN_MS);
		w->move_at = now + MOVE_AGAIN_MS;
		if (err.kind == ERROR_RETRY)
			supervisor_kill(keys, "it did not answer");
		return;
	}
	if (count)
		log_event(LOG_LEVEL_NOTICE, "private-keys", "moved=%zu to=\"%s\"", count, c->keys_directory);
	w->move_at = INT64_MAX;
	c->hold_daemon = false;
}

static void ping(struct keys_watch *w, struct children *c, int64_t now)
{
	auto_buf struct buf record = BUF_INIT(FRAME_RECORD_MAX);
	const struct keys_root_request request = {.op = KEYS_ROOT_PING};
	if (keys_root_request_encode(&request, &record) == 0)
		supervisor_send(children_keys(c), FRAME_RECORD, record.data, record.len);
	keys_watch_asked(w, now);
}

bool keys_watch_tick(struct keys_watch *w, struct children *c, const char *state, int64_t now)
{
	struct supervisor *keys = children_keys(c);
	bool anew = keys->pid && keys->pid != w->pid;
	if (anew) {
		w->pid = keys->pid;
		w->asked_at = 0;
		w->ping_at = now + PING_MS;
	}
	if (c->stopping || keys->fd < 0)
		return anew;
	if (w->move_at <= now)
		move_keys(w, c, state, now);
	else if (w->asked_at && now - w->asked_at >= ANSWER_MS)
		supervisor_kill(keys, "it did not answer");
	else if (!w->asked_at && now >= w->ping_at)
		ping(w, c, now);
	return anew;
}

int64_t keys_watch_due(const struct keys_watch *w, const struct children *c)
{
	const struct supervisor *keys = &c->child[HUB_CHILD_KEYS];
	if (c->stopping || keys->fd < 0)
		return INT64_MAX;
	int64_t due = w->asked_at ? w->asked_at + ANSWER_MS : w->ping_at;
	return w->move_at < due ? w->move_at : due;
}

bool keys_watch_is_idle(const struct keys_watch *w, struct children *c)
{
	return !w->asked_at && w->move_at == INT64_MAX && supervisor_is_idle(children_keys(c));
}

void keys_watch_asked(struct keys_watch *w, int64_t now)
{
	w->asked_at = now;
}

void keys_watch_answered(struct keys_watch *w, int64_t now)
{
	w->asked_at = 0;
	w->ping_at = now + PING_MS;
}
