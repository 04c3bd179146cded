#include "agent/root/guard.h"
#include "agent/common/adopt_lock.h"
#include "agent/root/resume.h"
#include "lib/core/clock.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"

#include <string.h>

enum {
	GUARD_INTERVAL_MS = 15 * 60 * 1000,
	GUARD_RETRY_MS = 60 * 1000,
	GUARD_ADOPT_MS = 2 * 1000, /* whether an adopt has come to its end */
	GUARD_GAP_MIN_MS = 200,    /* a writer's several events are one */
	GUARD_GAP_MAX_MS = 5 * 60 * 1000,
	GUARD_QUIET_MS = 10 * 60 * 1000,
};

void guard_init(struct guard *g)
{
	*g = (struct guard){.check_at_ms = clock_monotonic_ms() + GUARD_INTERVAL_MS, .gap_ms = GUARD_GAP_MIN_MS};
}

void guard_release(struct guard *g)
{
	watch_free(g->watch);
	g->watch = NULL;
}

/* A directory that does not exist, or not yet, cannot be watched, but the checks find what becomes of it. Running out
 * of watches is said once. */
static void add(struct guard *g, const char *directory, const char *name)
{
	struct error err;
	if (watch_add(g->watch, directory, name, &err) == 0 || err.kind == ERROR_PERMANENT || g->complained)
		return;
	g->complained = true;
	log_event(LOG_LEVEL_WARNING, "watch", "error=\"%s\" text=\"changes are found every 15 minutes only\"",
		err.message);
}

static void add_file(struct guard *g, const char *path)
{
	const char *slash = strrchr(path, '/');
	auto_free char *directory = slash == path ? mem_strdup("/") : mem_strndup(path, (size_t)(slash - path));
	add(g, directory, slash + 1);
}

static void add_certificate(struct guard *g, const struct root_certificate *k)
{
	char revision[REVISION_TEXT_MAX];
	revision_text(root_certificate_wanted(k)->revision, revision);
	auto_free char *live = mem_printf("%s/live", k->config->directory);
	auto_free char *archive = mem_printf("%s/archive/%s", k->config->directory, k->certificate->name);
	auto_free char *set = mem_printf("%s/%s", archive, revision);
	add(g, live, k->certificate->name);
	add(g, archive, revision);
	add(g, set, NULL);
	for (size_t i = 0; i < k->certificate->service_count; i++)
		for (size_t n = 0; n < k->certificate->services[i].file_count; n++) {
			const struct agent_file *f = &k->certificate->services[i].files[n];
			add_file(g, f->path);
			if (f->password_file)
				add_file(g, f->password_file);
		}
}

int guard_fd(const struct guard *g)
{
	return g->watch ? watch_fd(g->watch) : -1;
}

static void check_within(struct guard *g, int64_t milliseconds)
{
	int64_t at = clock_monotonic_ms() + milliseconds;
	if (at < g->check_at_ms)
		g->check_at_ms = at;
}

void guard_event(struct guard *g)
{
	if (g->watch && watch_read(g->watch))
		check_within(g, g->gap_ms);
}

void guard_arm(struct guard *g, const struct root_certificate *certificates, size_t count)
{
	struct error err;
	/* Only the watches that end now have told of what has happened up to now. */
	guard_event(g);
	if (!g->watch)
		g->watch = watch_new(&err);
	if (!g->watch) {
		if (!g->complained)
			log_event(LOG_LEVEL_WARNING, "watch", "error=\"%s\"", err.message);
		g->complained = true;
		return;
	}
	watch_begin(g->watch);
	for (size_t i = 0; i < count; i++)
		if (certificates[i].ready)
			add_certificate(g, &certificates[i]);
	watch_end(g->watch);
}

void guard_check_soon(struct guard *g)
{
	check_within(g, GUARD_RETRY_MS);
}

void guard_check_now(struct guard *g)
{
	check_within(g, 0);
}

int64_t guard_due(const struct guard *g)
{
	int64_t left = g->check_at_ms - clock_monotonic_ms();
	return left > 0 ? left : 0;
}

static void slow_down(struct guard *g, int64_t now_ms)
{
	g->gap_ms = g->gap_ms * 4 < GUARD_GAP_MAX_MS ? g->gap_ms * 4 : GUARD_GAP_MAX_MS;
	g->repaired_at_ms = now_ms;
}

bool guard_tick(struct guard *g, struct root_certificate *certificates, size_t count)
{
	bool repaired = false;
	int64_t now_ms = clock_monotonic_ms();
	if (now_ms < g->check_at_ms)
		return false;
	if (now_ms - g->repaired_at_ms > GUARD_QUIET_MS)
		g->gap_ms = GUARD_GAP_MIN_MS;
	/* Watches come before the look at the files, so that what changes after the look makes an event. */
	guard_arm(g, certificates, count);
	g->check_at_ms = now_ms + GUARD_INTERVAL_MS;
	for (size_t i = 0; i < count; i++) {
		struct error err;
		struct root_certificate *k = &certificates[i];
		if (!k->ready && root_certificate_start(k, &err) < 0)
			log_event(LOG_LEVEL_ERROR, "start", "error=\"%s\"", err.message);
		int changed = k->ready ? root_certificate_repair(k) : -1;
		/* What was changed during a hold is put right as soon as it ends. */
		if (k->ready && root_certificate_held(k) > 0)
			check_within(g, root_certificate_held(k) + GUARD_GAP_MIN_MS);
		if (k->ready && adopt_lock_is_taken(k->root_state))
			check_within(g, GUARD_ADOPT_MS);
		repaired = repaired || changed > 0;
		if (changed > 0)
			slow_down(g, now_ms);
		else if (changed < 0)
			check_within(g, GUARD_RETRY_MS);
	}
	return repaired;
}
