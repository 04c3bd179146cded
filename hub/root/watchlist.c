#include "hub/root/watchlist.h"
#include "hub/root/watch.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"
#include "lib/core/proc.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { COALESCE = 100, BACKOFF_MIN = 100, BACKOFF_MAX = 10 * 1000, HEALTHY_AFTER = 5 * 1000 };

void watchlist_init(struct watchlist *w, const char *program)
{
	*w = (struct watchlist){.program = program, .fd = -1, .backoff = BACKOFF_MIN};
}

static void end_watcher(struct watchlist *w)
{
	if (w->fd >= 0)
		close(w->fd);
	w->fd = -1;
	w->has_half = false;
	if (!w->pid)
		return;
	kill(w->pid, SIGKILL);
	while (waitpid(w->pid, NULL, 0) < 0 && errno == EINTR)
		;
	w->pid = 0;
}

void watchlist_release(struct watchlist *w)
{
	end_watcher(w);
	free(steal(w->items));
	free(steal(w->owners));
	w->count = w->path_count = 0;
}

static void add_item(struct watchlist *w, const struct hub_certificate *certificate, int64_t now)
{
	size_t paths = 0;
	while (certificate->watch[paths])
		paths++;
	/* A path that is not watched is still read at each scan interval. */
	if (w->path_count + paths <= WATCH_MAX) {
		w->owners = mem_grow(w->owners, w->path_count + paths, sizeof(*w->owners));
		for (size_t i = 0; i < paths; i++)
			w->owners[w->path_count++] = w->count;
	}
	w->items[w->count++] = (struct watchlist_item){certificate, now};
}

void watchlist_load(struct watchlist *w, const struct hub_config *config, int64_t now)
{
	watchlist_release(w);
	w->items = mem_array(config->certificate_count, sizeof(*w->items));
	for (size_t i = 0; i < config->certificate_count; i++)
		if (config->certificates[i].watch[0])
			add_item(w, &config->certificates[i], now);
	w->interval = config->scan_interval * 1000;
	w->periodic_at = now + w->interval;
	w->start_at = now;
}

static void start_watcher(struct watchlist *w, int64_t now)
{
	struct error err;
	auto_free const char **paths = mem_array(w->path_count, sizeof(*paths));
	for (size_t i = 0, k = 0; i < w->path_count; i++) {
		k = i > 0 && w->owners[i] == w->owners[i - 1] ? k + 1 : 0;
		paths[i] = w->items[w->owners[i]].certificate->watch[k];
	}
	w->started_at = now;
	pid_t pid = watch_start(w->program, paths, w->path_count, &w->fd, &err);
	if (pid > 0) {
		w->pid = pid;
		return;
	}
	log_event(LOG_LEVEL_ERROR, "watch", "error=\"%s\" again_ms=%lld", err.message, (long long)w->backoff);
	w->start_at = now + w->backoff;
	w->backoff = w->backoff * 2 > BACKOFF_MAX ? BACKOFF_MAX : w->backoff * 2;
}

void watchlist_tick(struct watchlist *w, int64_t now)
{
	if (!w->count)
		return;
	if (now >= w->periodic_at) {
		end_watcher(w);
		w->periodic_at = now + w->interval;
		w->start_at = now;
		watchlist_all(w, now);
	}
	if (!w->pid && now >= w->start_at)
		start_watcher(w, now);
}

int64_t watchlist_due(const struct watchlist *w)
{
	if (!w->count)
		return INT64_MAX;
	return !w->pid && w->start_at < w->periodic_at ? w->start_at : w->periodic_at;
}

static void take_record(struct watchlist *w, unsigned value, int64_t now)
{
	if (value == WATCH_ARMED) {
		watchlist_all(w, now);
		return;
	}
	if (value < w->path_count && w->items[w->owners[value]].due > now + COALESCE)
		w->items[w->owners[value]].due = now + COALESCE;
}

void watchlist_io(struct watchlist *w, int64_t now)
{
	unsigned char bytes[4096];
	ssize_t got = read(w->fd, bytes, sizeof(bytes));
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	for (ssize_t i = 0; i < got; i++) {
		if (w->has_half)
			take_record(w, (unsigned)w->half << 8 | bytes[i], now);
		else
			w->half = bytes[i];
		w->has_half = !w->has_half;
	}
	if (got > 0)
		return;
	/* The watcher has ended, and SIGCHLD follows. */
	close(w->fd);
	w->fd = -1;
	w->has_half = false;
}

void watchlist_reap(struct watchlist *w, int64_t now)
{
	int status;
	if (!w->pid || waitpid(w->pid, &status, WNOHANG) != w->pid)
		return;
	w->pid = 0;
	/* What it had still to write is covered by the next one: once that is armed, everything is read. */
	end_watcher(w);
	if (now - w->started_at >= HEALTHY_AFTER)
		w->backoff = BACKOFF_MIN;
	const bool anew = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	log_event(anew ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING, "watch", "result=\"%s\" again_ms=%lld",
		anew ? "a directory was moved or replaced, or too much happened at once" : proc_status_text(status),
		(long long)w->backoff);
	w->start_at = now + w->backoff;
	w->backoff = w->backoff * 2 > BACKOFF_MAX ? BACKOFF_MAX : w->backoff * 2;
}

struct watchlist_item *watchlist_first(struct watchlist *w)
{
	struct watchlist_item *first = NULL;
	for (size_t i = 0; i < w->count; i++)
		if (w->items[i].due != INT64_MAX && (!first || w->items[i].due < first->due))
			first = &w->items[i];
	return first;
}

static int item_compare(const void *name, const void *item)
{
	return strcmp(name, ((const struct watchlist_item *)item)->certificate->name);
}

struct watchlist_item *watchlist_find(struct watchlist *w, const char *certificate)
{
	return w->count ? bsearch(certificate, w->items, w->count, sizeof(*w->items), item_compare) : NULL;
}

void watchlist_all(struct watchlist *w, int64_t due)
{
	for (size_t i = 0; i < w->count; i++)
		if (w->items[i].due > due)
			w->items[i].due = due;
}
