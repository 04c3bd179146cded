#include "agent/root/certificate.h"
#include "lib/core/clock.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"

#include <string.h>

int keeper_open(struct keeper *k, const struct agent_config *config, const struct agent_certificate *certificate,
	int root_state, int stop_fd, struct error *err)
{
	struct keeper keeper = {
		.config = config,
		.certificate = certificate,
		.root_state = root_state,
		.stop_fd = stop_fd,
	};
	if (install_open(config, certificate, &keeper.install, err) < 0)
		return error_wrap(err, "certificate %s", certificate->name);
	memcpy(keeper.journal.certificate, certificate->name, strlen(certificate->name) + 1);
	*k = keeper;
	return 0;
}

void keeper_close(struct keeper *k)
{
	install_close(&k->install);
}

bool keeper_is_pending(const struct keeper *k)
{
	return journal_entry_is_set(&k->journal.pending);
}

const struct journal_entry *keeper_wanted(const struct keeper *k)
{
	if (!keeper_is_pending(k))
		return &k->journal.served;
	return k->undoing ? &k->journal.previous : &k->journal.pending;
}

int keeper_save(struct keeper *k, struct error *err)
{
	return journal_write(k->root_state, &k->journal, err);
}

static size_t find_mark(const struct keeper *k, const struct journal_entry *entry)
{
	size_t i = 0;
	while (i < KEEPER_MARKS && !journal_entry_same(entry, &k->marks[i].entry))
		i++;
	return i;
}

/* Makes room in front for the digests that are about to be used; `from` is where they stand, or KEEPER_MARKS. */
static void to_front(struct keeper *k, size_t from)
{
	size_t over = from < KEEPER_MARKS ? from : KEEPER_MARKS - 1;
	struct mark used = k->marks[over];
	memmove(&k->marks[1], &k->marks[0], over * sizeof(used));
	k->marks[0] = used;
}

static void remember(struct keeper *k, const struct set *s)
{
	to_front(k, find_mark(k, &s->entry));
	mark_take(&k->marks[0], s);
}

static int read_marked(struct keeper *k, const struct journal_entry *entry, struct set *ret)
{
	size_t i = find_mark(k, entry);
	if (i == KEEPER_MARKS || mark_read(&k->marks[i], k->install.archive, ret) < 0)
		return -1;
	to_front(k, i);
	return 0;
}

int keeper_write(struct keeper *k, const struct set *s, struct error *err)
{
	if (set_write(k->install.archive, s, err) < 0)
		return -1;
	remember(k, s);
	return 0;
}

static int read_whole(const struct keeper *k, const struct journal_entry *entry, struct set *ret, struct error *err)
{
	auto_set struct set s = {0};
	if (set_read(k->install.archive, entry->revision, &s, err) < 0)
		return -1;
	if (!journal_entry_same(entry, &s.entry)) {
		char text[REVISION_TEXT_MAX];
		return error_set(err, ERROR_PERMANENT, "revision %s in the archive has another content than was staged",
			revision_text(entry->revision, text));
	}
	*ret = s;
	s = (struct set){0};
	return 0;
}

enum keeper_found keeper_write_anew(struct keeper *k, const struct set *s, const struct error *why)
{
	struct error err;
	char revision[REVISION_TEXT_MAX];
	revision_text(s->entry.revision, revision);
	if (keeper_write(k, s, &err) < 0) {
		log_event(LOG_LEVEL_ERROR, "restore", "certificate=%s revision=%s error=\"%s\" text=\"%s\"",
			k->certificate->name, revision, err.message, why->message);
		return KEEPER_BROKEN;
	}
	log_event(LOG_LEVEL_WARNING, "restore",
		"certificate=%s revision=%s reason=\"%s\" text=\"written anew from what was left of it\"",
		k->certificate->name, revision, why->message);
	return KEEPER_RESTORED;
}

int keeper_read(struct keeper *k, const struct journal_entry *entry, struct set *ret, struct error *err)
{
	struct error ignored;
	if (read_marked(k, entry, ret) == 0)
		return KEEPER_WHOLE;
	if (read_whole(k, entry, ret, err) == 0) {
		remember(k, ret);
		return KEEPER_WHOLE;
	}
	if (set_recover(k->install.archive, entry, ret, &ignored) < 0)
		return -1;
	return keeper_write_anew(k, ret, err);
}

static int place_set(struct keeper *k, const struct set *s, enum keeper_effort effort, struct error *err)
{
	struct error later;
	bool placeholder = revision_is_placeholder(s->entry.revision);
	int files = install_files(&k->install, s, placeholder ? INSTALL_MISSING : INSTALL_DIFFERING, err);
	if (files < 0 && effort == KEEPER_STRICT)
		return -1;
	int switched = install_switch(&k->install, s->entry.revision, files < 0 ? &later : err);
	return files < 0 || switched < 0 ? -1 : files + switched;
}

int keeper_place(struct keeper *k, const struct journal_entry *entry, enum keeper_effort effort, struct error *err)
{
	auto_set struct set s = {0};
	int found = keeper_read(k, entry, &s, err);
	if (found < 0)
		return -1;
	if (found == KEEPER_BROKEN && effort == KEEPER_STRICT)
		return error_set(
			err, ERROR_RETRY, "the set in the archive was changed, and cannot be written anew now");
	return place_set(k, &s, effort, err);
}

void keeper_prune(struct keeper *k)
{
	const struct journal *j = &k->journal;
	const struct journal_entry *const kept[] = {&j->served, &j->staged, &j->pending, &j->previous};
	struct revision keep[COUNT(kept)];
	size_t count = 0;
	struct error err;
	for (size_t i = 0; i < COUNT(kept); i++)
		if (journal_entry_is_set(kept[i]))
			keep[count++] = kept[i]->revision;
	if (install_prune(&k->install, keep, count, &err) < 0)
		log_event(LOG_LEVEL_WARNING, "prune", "certificate=%s error=\"%s\"", k->certificate->name, err.message);
}

int64_t keeper_due(const struct keeper *k)
{
	if (!keeper_is_pending(k))
		return -1;
	int64_t left = k->undo_at_ms - clock_monotonic_ms();
	return left > 0 ? left : 0;
}

int64_t keeper_held(const struct keeper *k)
{
	int64_t left = k->held_until_ms ? k->held_until_ms - clock_monotonic_ms() : 0;
	return left > 0 ? left : 0;
}

void keeper_hold(struct keeper *k, uint32_t seconds)
{
	bool was_held = keeper_held(k) > 0;
	k->held_until_ms = seconds ? clock_monotonic_ms() + (int64_t)seconds * 1000 : 0;
	if (seconds)
		log_event(LOG_LEVEL_NOTICE, "hold", "certificate=%s seconds=%u text=\"nothing is put right meanwhile\"",
			k->certificate->name, seconds);
	else if (was_held)
		log_event(LOG_LEVEL_NOTICE, "hold", "certificate=%s text=\"it has ended\"", k->certificate->name);
}

static void note_end_of_hold(struct keeper *k)
{
	if (!k->held_until_ms || keeper_held(k) > 0)
		return;
	k->held_until_ms = 0;
	log_event(LOG_LEVEL_NOTICE, "hold", "certificate=%s text=\"its time is over\"", k->certificate->name);
}

int keeper_repair(struct keeper *k)
{
	struct error err;
	note_end_of_hold(k);
	/* What an undo is about is its own business: it is due, or tried again soon. */
	if (keeper_due(k) == 0 || k->undoing || keeper_held(k) > 0)
		return 0;
	const struct journal_entry *wanted = keeper_wanted(k);
	char revision[REVISION_TEXT_MAX];
	revision_text(wanted->revision, revision);
	auto_set struct set s = {0};
	int found = keeper_read(k, wanted, &s, &err);
	if (found < 0) {
		if (!k->drifted)
			log_event(LOG_LEVEL_ERROR, "drift",
				"certificate=%s revision=%s error=\"%s: nothing is repaired "
				"from it; push the certificate again\"",
				k->certificate->name, revision, err.message);
		k->drifted = true;
		return -1;
	}
	k->drifted = false;
	int changed = place_set(k, &s, KEEPER_ALL, &err);
	if (changed < 0)
		log_event(LOG_LEVEL_ERROR, "repair", "certificate=%s revision=%s error=\"%s\"", k->certificate->name,
			revision, err.message);
	else if (changed > 0)
		log_event(LOG_LEVEL_NOTICE, "repair", "certificate=%s revision=%s files=%d", k->certificate->name,
			revision, changed);
	/* A placeholder that is written for the first time was never anything else, so nothing was repaired. */
	if ((changed > 0 || found == KEEPER_RESTORED) && !revision_is_placeholder(wanted->revision))
		k->repaired = clock_wall();
	if (changed < 0 || found == KEEPER_BROKEN)
		return -1;
	return changed + (found == KEEPER_RESTORED);
}

/* These are enough for a hundred renewals in a row, each of which tests twice. */
static const struct {
	const char *what;
	int64_t interval_ms, burst;
} paces[KEEPER_HOOKS] = {
	[KEEPER_RUNNING] = {"running", 1000, 240},
	[KEEPER_TEST] = {"test", 2500, 240},
	[KEEPER_ACTIVATE] = {"activate", 5000, 120}, /* runs none, but its undo does */
	[KEEPER_RELOAD] = {"reload", 5000, 120},
};

int keeper_may_run(struct keeper *k, enum keeper_hook hook, int64_t now_ms, struct error *err)
{
	int64_t interval = paces[hook].interval_ms, burst = paces[hook].burst;
	int64_t from = k->paced_ms[hook] > now_ms ? k->paced_ms[hook] : now_ms;
	int64_t wait = from + interval - burst * interval - now_ms;
	if (wait > 0)
		return error_set(err, ERROR_RETRY,
			"too often: %s of %s was asked for over %lld times in a row, and then runs once in "
			"%lld s: try again in %lld s",
			paces[hook].what, k->certificate->name, (long long)burst, (long long)interval / 1000,
			(long long)(wait + 999) / 1000);
	k->paced_ms[hook] = from + interval;
	return 0;
}

static uint32_t seconds_left(const struct keeper *k)
{
	int64_t due = keeper_due(k);
	return due < 0 ? 0 : (uint32_t)((due + 999) / 1000);
}

/* The journal knows the first leaf alone. The second one is left as zeros when there is one pair, or when its set
 * cannot be read; then only the first counts as right. */
static void second_leaf(const struct keeper *k, const struct journal_entry *entry, uint8_t ret[CHAIN_SHA256_SIZE])
{
	struct error ignored;
	auto_set struct set s = {0};
	size_t marked = find_mark(k, entry);
	if (marked < KEEPER_MARKS) {
		memcpy(ret, k->marks[marked].second, CHAIN_SHA256_SIZE);
		return;
	}
	if (!journal_entry_is_set(entry) || revision_is_placeholder(entry->revision) ||
		!set_may_have_second(k->install.archive, entry->revision))
		return;
	if (read_whole(k, entry, &s, &ignored) == 0)
		memcpy(ret, s.second, sizeof(s.second));
}

void keeper_inventory(const struct keeper *k, struct inventory *ret)
{
	const struct journal *j = &k->journal;
	*ret = (struct inventory){
		.served = j->served.revision,
		.high_water = j->high_water.revision,
		.staged = j->staged.revision,
		.pending = j->pending.revision,
		.not_before = j->served.not_before,
		.not_after = j->served.not_after,
		.pending_seconds = seconds_left(k),
		.held_seconds = (uint32_t)((keeper_held(k) + 999) / 1000),
	};
	memcpy(ret->certificate, k->certificate->name, strlen(k->certificate->name) + 1);
	if (!revision_is_placeholder(j->served.revision))
		memcpy(ret->digest, j->served.digest, sizeof(ret->digest));
	memcpy(ret->fingerprint, keeper_wanted(k)->fingerprint, sizeof(ret->fingerprint));
	memcpy(ret->staged_fingerprint, j->staged.fingerprint, sizeof(ret->staged_fingerprint));
	memcpy(ret->staged_digest, j->staged.digest, sizeof(ret->staged_digest));
	second_leaf(k, keeper_wanted(k), ret->second);
	second_leaf(k, &j->staged, ret->staged_second);
}
