#include "hub/watchlist.h"
#include "hub/watch.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/proc.h"

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
	w->count = 0;
}

void watchlist_load(struct watchlist *w, const struct hub_config *config, int64_t now)
{
	watchlist_release(w);
	w->items = mem_array(config->certificate_count, sizeof(*w->items));
	for (size_t i = 0; i < config->certificate_count && w->count < WATCH_MAX; i++) {
		const struct hub_certificate *certificate = &config->certificates[i];
		if (certificate->watch)
			w->items[w->count++] =
				(struct watchlist_item){certificate->name, certificate->watch, now};
	}
	w->interval = config->scan_interval * 1000;
	w->periodic_at = now + w->interval;
	w->start_at = now;
}

static void start_watcher(struct watchlist *w, int64_t now)
{
	struct error err;
	auto_free const char **directories = mem_array(w->count, sizeof(*directories));
	for (size_t i = 0; i < w->count; i++)
		directories[i] = w->items[i].directory;
	w->started_at = now;
	pid_t pid = watch_start(w->program, directories, w->count, &w->fd, &err);
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
	if (value < w->count && w->items[value].due > now + COALESCE)
		w->items[value].due = now + COALESCE;
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
	/* It has ended; SIGCHLD follows. */
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
	/* What it still wrote is covered by the next one: once that is armed, everything is read. */
	end_watcher(w);
	if (now - w->started_at >= HEALTHY_AFTER)
		w->backoff = BACKOFF_MIN;
	const bool anew = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	log_event(anew ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING, "watch", "result=\"%s\" again_ms=%lld",
		anew ? "a directory was moved or replaced, or too much happened at once"
		     : proc_status_text(status),
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

static int item_compare(const void *left, const void *right)
{
	const struct watchlist_item *a = left, *b = right;
	return strcmp(a->certificate, b->certificate);
}

struct watchlist_item *watchlist_find(struct watchlist *w, const char *certificate)
{
	const struct watchlist_item wanted = {.certificate = certificate};
	return bsearch(&wanted, w->items, w->count, sizeof(wanted), item_compare);
}

void watchlist_all(struct watchlist *w, int64_t due)
{
	for (size_t i = 0; i < w->count; i++)
		if (w->items[i].due > due)
			w->items[i].due = due;
}
