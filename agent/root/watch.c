#include "agent/root/watch.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

struct watched {
	int wd;
	char *name; /* owned; NULL: any */
	bool stays;
};

struct watch {
	int fd;
	struct watched *entries;
	size_t count;
};

struct watch *watch_new(struct error *err)
{
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (fd < 0) {
		error_errno(err, "inotify");
		return NULL;
	}
	struct watch *w = mem_alloc(sizeof(*w));
	w->fd = fd;
	return w;
}

void watch_free(struct watch *w)
{
	if (!w)
		return;
	for (size_t i = 0; i < w->count; i++)
		free(w->entries[i].name);
	free(w->entries);
	close(w->fd);
	free(w);
}

int watch_fd(const struct watch *w)
{
	return w->fd;
}

static bool is_same(const struct watched *e, int wd, const char *name)
{
	return e->wd == wd && (name ? e->name && strcmp(e->name, name) == 0 : !e->name);
}

int watch_add(struct watch *w, const char *directory, const char *name, struct error *err)
{
	const uint32_t mask = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ATTRIB |
		IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK;
	int wd = inotify_add_watch(w->fd, directory, mask);
	if (wd < 0)
		return error_errno(err, "cannot watch the directory %s", directory);
	for (size_t i = 0; i < w->count; i++)
		if (is_same(&w->entries[i], wd, name)) {
			w->entries[i].stays = true;
			return 0;
		}
	w->entries = mem_grow(w->entries, w->count + 1, sizeof(*w->entries));
	w->entries[w->count++] = (struct watched){wd, name ? mem_strdup(name) : NULL, true};
	return 0;
}

void watch_begin(struct watch *w)
{
	for (size_t i = 0; i < w->count; i++)
		w->entries[i].stays = false;
}

static bool is_watched(const struct watch *w, int wd)
{
	size_t i = 0;
	while (i < w->count && w->entries[i].wd != wd)
		i++;
	return i < w->count;
}

void watch_end(struct watch *w)
{
	for (size_t i = w->count; i-- > 0;) {
		struct watched gone = w->entries[i];
		if (gone.stays)
			continue;
		w->entries[i] = w->entries[--w->count];
		free(gone.name);
		if (!is_watched(w, gone.wd))
			inotify_rm_watch(w->fd, gone.wd);
	}
}

static bool concerns(const struct watch *w, const struct inotify_event *event)
{
	/* IN_IGNORED of a watch that we have removed ourselves tells nothing. */
	if ((event->mask & IN_IGNORED) && !is_watched(w, event->wd))
		return false;
	if (event->mask & (IN_Q_OVERFLOW | IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT))
		return true;
	if (!event->len || strncmp(event->name, FS_TEMPORARY, strlen(FS_TEMPORARY)) == 0)
		return false;
	for (size_t i = 0; i < w->count; i++) {
		const struct watched *e = &w->entries[i];
		if (e->wd == event->wd && (!e->name || strcmp(e->name, event->name) == 0))
			return true;
	}
	return false;
}

bool watch_read(struct watch *w)
{
	_Alignas(struct inotify_event) char buffer[16384];
	bool found = false;
	ssize_t got;
	while ((got = read(w->fd, buffer, sizeof(buffer))) > 0) {
		for (char *p = buffer; p < buffer + got;) {
			const struct inotify_event *event = (const struct inotify_event *)(const void *)p;
			found = concerns(w, event) || found;
			p += sizeof(*event) + event->len;
		}
	}
	return found;
}
