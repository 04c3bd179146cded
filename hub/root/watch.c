#include "hub/root/watch.h"
#include "hub/common/rights.h"
#include "lib/core/confine.h"
#include "lib/core/mem.h"
#include "lib/core/log.h"
#include "lib/core/proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inotifytools/inotify.h>
#include <inotifytools/inotifytools.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Only so many links of one path are followed: whoever writes them must not use up everybody's watches. */
enum { LINKS_MAX = 256 };

static const int interesting = IN_CREATE | IN_CLOSE_WRITE | IN_ATTRIB | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE |
	IN_DELETE_SELF | IN_MOVE_SELF;

/* A directory with an inotify watch on it. */
struct place {
	char *path; /* resolved, with a slash at the end, as libinotifytools keeps it */
	int wd;
};

/* What an event in a place means: for any name, or for `name` only. */
struct link {
	size_t place;
	size_t index;    /* of the configured path */
	char *name;      /* NULL: any */
	bool structural; /* the watches are to be made anew */
};

struct watcher {
	char *const *paths;
	size_t count;
	struct place *places;
	size_t place_count;
	struct link *links;
	size_t link_count;
};

/* Returns the index of the place with this resolved path, or -1 when it cannot be watched. A place that is watched
 * already may still be out of the reach of whoever controls the path that has led there. */
static long find_place(struct watcher *w, const char *path)
{
	auto_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	for (size_t i = 0; i < w->place_count; i++)
		if (strcmp(w->places[i].path, path) == 0)
			return (long)i;
	if (!inotifytools_watch_file(path, interesting)) {
		int code = inotifytools_error();
		if (code != ENOENT && code != ENOTDIR)
			log_event(LOG_LEVEL_WARNING, "watch",
				"directory=%s error=\"%s%s\" result=\"only read every scan_interval\"", path,
				strerror(code), code == ENOSPC ? ": raise the sysctl fs.inotify.max_user_watches" : "");
		return -1;
	}
	size_t n = w->place_count;
	if ((n & (n - 1)) == 0)
		w->places = mem_grow(w->places, n ? 2 * n : 1, sizeof(*w->places));
	w->places[n] = (struct place){mem_strdup(path), inotifytools_wd_from_filename(path)};
	w->place_count++;
	return (long)n;
}

static bool same_link(const struct link *l, size_t place, size_t index, const char *name)
{
	return l->place == place && l->index == index &&
		(l->name && name ? strcmp(l->name, name) == 0 : l->name == name);
}

/* `directory` is any path to it; the inode that it leads to now is watched, with the rights that are in force. */
static int add_link(struct watcher *w, const char *directory, size_t index, const char *name, bool structural)
{
	char resolved[PATH_MAX];
	size_t of_path = 0;
	for (size_t i = 0; i < w->link_count; i++)
		of_path += w->links[i].index == index;
	if (of_path >= LINKS_MAX || !realpath(directory, resolved))
		return -1;
	auto_free char *path = mem_printf("%s%s", resolved, strcmp(resolved, "/") == 0 ? "" : "/");
	long place = find_place(w, path);
	if (place < 0)
		return -1;
	for (size_t i = 0; i < w->link_count; i++)
		if (same_link(&w->links[i], (size_t)place, index, name))
			return 0;
	size_t n = w->link_count;
	if ((n & (n - 1)) == 0)
		w->links = mem_grow(w->links, n ? 2 * n : 1, sizeof(*w->links));
	w->links[n] = (struct link){(size_t)place, index, name ? mem_strdup(name) : NULL, structural};
	w->link_count++;
	return 0;
}

/* Watches the file that a link leads to, in its own directory, with the rights of whoever can make the link lead
 * elsewhere. */
static void follow_link(struct watcher *w, const char *directory, const char *name, size_t index)
{
	char target[PATH_MAX];
	struct rights rights;
	struct error ignored;
	auto_free char *path = mem_printf("%s/%s", directory, name);
	if (rights_enter(path, &rights, &ignored) < 0)
		return;
	if (realpath(path, target)) {
		char *slash = strrchr(target, '/');
		*slash = '\0';
		add_link(w, target[0] ? target : "/", index, slash + 1, false);
	}
	rights_leave();
}

/* Watches a directory that hub.conf names, or one around it. */
static int add_directory(struct watcher *w, const char *directory, size_t index, const char *name, bool structural)
{
	struct rights rights;
	struct error ignored;
	if (rights_enter(directory, &rights, &ignored) < 0)
		return -1;
	int result = add_link(w, directory, index, name, structural);
	rights_leave();
	return result;
}

static DIR *list(const char *path)
{
	struct rights rights;
	struct error ignored;
	if (rights_enter(path, &rights, &ignored) < 0)
		return NULL;
	DIR *dir = opendir(path);
	rights_leave();
	return dir;
}

/* A configured path is a directory with links in it, or itself a link to a file. */
static void follow_links(struct watcher *w, size_t index)
{
	const char *path = w->paths[index], *slash = strrchr(path, '/');
	DIR *dir = list(path);
	struct dirent *entry;
	if (!dir && slash) {
		auto_free char *around = mem_printf("%.*s", (int)(slash - path), path);
		follow_link(w, around, slash + 1, index);
	}
	while (dir && (entry = readdir(dir)))
		if (entry->d_type == DT_LNK)
			follow_link(w, path, entry->d_name, index);
	if (dir)
		closedir(dir);
}

/* Watches the nearest directory around `path` that exists, for the name that leads on to it. */
static void add_outside(struct watcher *w, const char *path, size_t index)
{
	auto_free char *around = mem_strdup(path);
	for (char *slash; (slash = strrchr(around, '/'));) {
		*slash = '\0';
		if (add_directory(w, slash == around ? "/" : around, index, slash + 1, true) == 0)
			return;
	}
}

/* A file is watched by its name in its directory, which may be replaced as well. */
static void add_file(struct watcher *w, size_t index)
{
	const char *path = w->paths[index], *slash = strrchr(path, '/');
	auto_free char *around = mem_printf("%.*s", slash == path ? 1 : (int)(slash - path), path);
	add_outside(w, around, index);
	add_directory(w, around, index, slash + 1, false);
	follow_links(w, index);
}

static void add_path(struct watcher *w, size_t index)
{
	struct stat st;
	if (stat(w->paths[index], &st) == 0 && !S_ISDIR(st.st_mode)) {
		add_file(w, index);
		return;
	}
	add_outside(w, w->paths[index], index);
	if (add_directory(w, w->paths[index], index, NULL, false) == 0)
		follow_links(w, index);
}

static void tell(unsigned value)
{
	const unsigned char record[WATCH_RECORD_SIZE] = {(unsigned char)(value >> 8), (unsigned char)value};
	/* A record is shorter than PIPE_BUF, so all or nothing is written. Without a reader SIGPIPE ends us. */
	if (write(STDOUT_FILENO, record, sizeof(record)) != sizeof(record))
		exit(1);
}

/* Returns false when the watches have to be made anew. */
static bool handle(struct watcher *w, const struct inotify_event *event)
{
	if (event->wd < 0 || (event->mask & (IN_Q_OVERFLOW | IN_MOVE_SELF | IN_DELETE_SELF | IN_IGNORED | IN_UNMOUNT)))
		return false;
	const char *name = event->len ? event->name : "";
	const bool content_only = !(event->mask & (IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE));
	/* follow_links may add to the array, but never for this event. */
	for (size_t i = 0, count = w->link_count; i < count; i++) {
		const struct link link = w->links[i];
		if (w->places[link.place].wd != event->wd || (link.name && strcmp(link.name, name) != 0))
			continue;
		if (link.structural && !content_only)
			return false;
		tell((unsigned)link.index);
		if (!content_only)
			follow_links(w, link.index);
	}
	return true;
}

static void release(struct watcher *w)
{
	for (size_t i = 0; i < w->place_count; i++)
		free(w->places[i].path);
	for (size_t i = 0; i < w->link_count; i++)
		free(w->links[i].name);
	free(w->places);
	free(w->links);
}

static int watch(struct watcher *w)
{
	for (size_t i = 0; i < w->count; i++)
		add_path(w, i);
	tell(WATCH_ARMED);
	const struct inotify_event *event;
	while ((event = inotifytools_next_event(-1)))
		if (!handle(w, event))
			return 0;
	log_event(LOG_LEVEL_ERROR, "watch", "error=\"%s\"", strerror(inotifytools_error()));
	return 1;
}

/* The watcher lists directories, wherever links may lead, and opens no file. Of root's capabilities it keeps those to
 * become the owner of a path and to come to it. */
static void confine_watcher(void)
{
	static const struct confine_path everywhere = {CONFINE_LIST, "/"};
	static const struct confine may = {
		.paths = &everywhere,
		.path_count = 1,
		.capabilities =
			UINT64_C(1) << CAP_DAC_READ_SEARCH | UINT64_C(1) << CAP_SETUID | UINT64_C(1) << CAP_SETGID,
	};
	confine(&may);
}

int watch_main(char *const *paths, size_t count)
{
	confine_watcher();
	struct watcher w = {.paths = paths, .count = count};
	if (!inotifytools_initialize()) {
		log_event(LOG_LEVEL_ERROR, "watch", "error=\"inotify does not start: %s\"",
			strerror(inotifytools_error()));
		return 1;
	}
	int result = watch(&w);
	release(&w);
	return result;
}

pid_t watch_start(const char *program, const char *const *paths, size_t count, int *ret_fd, struct error *err)
{
	int ends[2];
	auto_free const char **argv = mem_array(count + 3, sizeof(*argv));
	argv[0] = program;
	argv[1] = WATCH_ARGUMENT;
	memcpy(argv + 2, paths, count * sizeof(*argv));
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_errno(err, "cannot start the watcher");
	const struct proc_spec spec = {
		.argv = argv, .in = -1, .out = ends[1], .err = PROC_INHERIT, .extra = -1, .die_with_parent = true};
	pid_t pid = proc_spawn(&spec, err);
	close(ends[1]);
	if (pid < 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0) {
		close(ends[0]);
		return -1;
	}
	*ret_fd = ends[0];
	return pid;
}
