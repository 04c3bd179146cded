#include "agent/root/certificate.h"
#include "agent/common/adopt_lock.h"
#include "lib/core/clock.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"

#include <string.h>

int root_certificate_open(struct root_certificate *k, const struct agent_config *config,
	const struct agent_certificate *certificate, int root_state, int stop_fd, struct error *err)
{
	struct root_certificate opened = {
		.config = config,
		.certificate = certificate,
		.root_state = root_state,
		.stop_fd = stop_fd,
		.adopt_lock = -1,
	};
	if (install_open(config, certificate, &opened.install, err) < 0)
		return error_wrap(err, "certificate %s", certificate->name);
	memcpy(opened.journal.certificate, certificate->name, strlen(certificate->name) + 1);
	*k = opened;
	return 0;
}

void root_certificate_close(struct root_certificate *k)
{
	install_close(&k->install);
	mem_close_cleanup(&k->adopt_lock);
}

bool root_certificate_is_pending(const struct root_certificate *k)
{
	return content_is_set(&k->journal.pending);
}

const struct content *root_certificate_wanted(const struct root_certificate *k)
{
	if (!root_certificate_is_pending(k))
		return &k->journal.served;
	return k->undoing ? &k->journal.previous : &k->journal.pending;
}

int root_certificate_save(struct root_certificate *k, struct error *err)
{
	if (journal_write(k->root_state, &k->journal, err) < 0)
		return -1;
	if (!root_certificate_is_pending(k)) {
		mem_close_cleanup(&k->adopt_lock);
		k->adopt_lock = -1;
	}
	return 0;
}

static size_t find_mark(const struct root_certificate *k, const struct content *entry)
{
	size_t i = 0;
	while (i < ROOT_CERTIFICATE_MARKS && !content_same(entry, &k->marks[i].content))
		i++;
	return i;
}

/* Makes room in front for the digests that are about to be used; `from` is where they stand, or ROOT_CERTIFICATE_MARKS. */
static void to_front(struct root_certificate *k, size_t from)
{
	size_t over = from < ROOT_CERTIFICATE_MARKS ? from : ROOT_CERTIFICATE_MARKS - 1;
	struct digests used = k->marks[over];
	memmove(&k->marks[1], &k->marks[0], over * sizeof(used));
	k->marks[0] = used;
}

static void remember(struct root_certificate *k, const struct file_set *s)
{
	to_front(k, find_mark(k, &s->content));
	digests_take(&k->marks[0], s);
}

static int read_marked(struct root_certificate *k, const struct content *entry, struct file_set *ret)
{
	size_t i = find_mark(k, entry);
	if (i == ROOT_CERTIFICATE_MARKS || digests_read(&k->marks[i], k->install.archive, ret) < 0)
		return -1;
	to_front(k, i);
	return 0;
}

int root_certificate_write(struct root_certificate *k, const struct file_set *s, struct error *err)
{
	if (file_set_write(k->install.archive, s, err) < 0)
		return -1;
	remember(k, s);
	return 0;
}

static int read_whole(
	const struct root_certificate *k, const struct content *entry, struct file_set *ret, struct error *err)
{
	auto_set struct file_set s = {0};
	if (file_set_read(k->install.archive, entry->revision, &s, err) < 0)
		return -1;
	if (!content_same(entry, &s.content)) {
		char text[REVISION_TEXT_MAX];
		return error_set(err, ERROR_PERMANENT, "revision %s in the archive has another content than was staged",
			revision_text(entry->revision, text));
	}
	*ret = s;
	s = (struct file_set){0};
	return 0;
}

enum root_certificate_found root_certificate_write_anew(
	struct root_certificate *k, const struct file_set *s, const struct error *why)
{
	struct error err;
	char revision[REVISION_TEXT_MAX];
	revision_text(s->content.revision, revision);
	if (root_certificate_write(k, s, &err) < 0) {
		log_event(LOG_LEVEL_ERROR, "restore", "certificate=%s revision=%s error=\"%s\" text=\"%s\"",
			k->certificate->name, revision, err.message, why->message);
		return ROOT_CERTIFICATE_BROKEN;
	}
	log_event(LOG_LEVEL_WARNING, "restore",
		"certificate=%s revision=%s reason=\"%s\" text=\"written anew from what was left of it\"",
		k->certificate->name, revision, why->message);
	return ROOT_CERTIFICATE_RESTORED;
}

int root_certificate_read(
	struct root_certificate *k, const struct content *entry, struct file_set *ret, struct error *err)
{
	struct error ignored;
	if (read_marked(k, entry, ret) == 0)
		return ROOT_CERTIFICATE_WHOLE;
	if (read_whole(k, entry, ret, err) == 0) {
		remember(k, ret);
		return ROOT_CERTIFICATE_WHOLE;
	}
	if (file_set_recover(k->install.archive, entry, ret, &ignored) < 0)
		return -1;
	return root_certificate_write_anew(k, ret, err);
}

static int place_set(
	struct root_certificate *k, const struct file_set *s, enum root_certificate_effort effort, struct error *err)
{
	struct error later;
	bool placeholder = revision_is_placeholder(s->content.revision);
	int files = install_files(&k->install, s, placeholder ? INSTALL_MISSING : INSTALL_DIFFERING, err);
	if (files < 0 && effort == ROOT_CERTIFICATE_STRICT)
		return -1;
	int switched = install_switch(&k->install, s->content.revision, files < 0 ? &later : err);
	return files < 0 || switched < 0 ? -1 : files + switched;
}

int root_certificate_place(
	struct root_certificate *k, const struct content *entry, enum root_certificate_effort effort, struct error *err)
{
	auto_set struct file_set s = {0};
	int found = root_certificate_read(k, entry, &s, err);
	if (found < 0)
		return -1;
	if (found == ROOT_CERTIFICATE_BROKEN && effort == ROOT_CERTIFICATE_STRICT)
		return error_set(
			err, ERROR_RETRY, "the set in the archive was changed, and cannot be written anew now");
	return place_set(k, &s, effort, err);
}

void root_certificate_prune(struct root_certificate *k)
{
	const struct journal *j = &k->journal;
	const struct content *const kept[] = {&j->served, &j->staged, &j->pending, &j->previous};
	struct revision keep[COUNT(kept)];
	size_t count = 0;
	struct error err;
	for (size_t i = 0; i < COUNT(kept); i++)
		if (content_is_set(kept[i]))
			keep[count++] = kept[i]->revision;
	if (install_prune(&k->install, keep, count, &err) < 0)
		log_event(LOG_LEVEL_WARNING, "prune", "certificate=%s error=\"%s\"", k->certificate->name, err.message);
}

int64_t root_certificate_due(const struct root_certificate *k)
{
	if (!root_certificate_is_pending(k))
		return -1;
	int64_t left = k->undo_at_ms - clock_monotonic_ms();
	return left > 0 ? left : 0;
}

int64_t root_certificate_held(const struct root_certificate *k)
{
	int64_t left = k->held_until_ms ? k->held_until_ms - clock_monotonic_ms() : 0;
	return left > 0 ? left : 0;
}

void root_certificate_hold(struct root_certificate *k, uint32_t seconds)
{
	bool was_held = root_certificate_held(k) > 0;
	k->held_until_ms = seconds ? clock_monotonic_ms() + (int64_t)seconds * 1000 : 0;
	if (seconds)
		log_event(LOG_LEVEL_NOTICE, "hold", "certificate=%s seconds=%u text=\"nothing is put right meanwhile\"",
			k->certificate->name, seconds);
	else if (was_held)
		log_event(LOG_LEVEL_NOTICE, "hold", "certificate=%s text=\"it has ended\"", k->certificate->name);
}

static void note_end_of_hold(struct root_certificate *k)
{
	if (!k->held_until_ms || root_certificate_held(k) > 0)
		return;
	k->held_until_ms = 0;
	log_event(LOG_LEVEL_NOTICE, "hold", "certificate=%s text=\"its time is over\"", k->certificate->name);
}

int root_certificate_repair(struct root_certificate *k)
{
	struct error err;
	note_end_of_hold(k);
	/* What an undo is about is its own business: it is due, or tried again soon. */
	if (root_certificate_due(k) == 0 || k->undoing || root_certificate_held(k) > 0 ||
		adopt_lock_is_taken(k->root_state))
		return 0;
	const struct content *wanted = root_certificate_wanted(k);
	char revision[REVISION_TEXT_MAX];
	revision_text(wanted->revision, revision);
	auto_set struct file_set s = {0};
	int found = root_certificate_read(k, wanted, &s, &err);
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
	int changed = place_set(k, &s, ROOT_CERTIFICATE_ALL, &err);
	if (changed < 0)
		log_event(LOG_LEVEL_ERROR, "repair", "certificate=%s revision=%s error=\"%s\"", k->certificate->name,
			revision, err.message);
	else if (changed > 0)
		log_event(LOG_LEVEL_NOTICE, k->grown ? "place" : "repair", "certificate=%s revision=%s files=%d",
			k->certificate->name, revision, changed);
	/* A placeholder that is written for the first time was never anything else, so nothing was repaired. */
	if ((changed > 0 || found == ROOT_CERTIFICATE_RESTORED) && !k->grown &&
		!revision_is_placeholder(wanted->revision))
		k->repaired = clock_wall();
	k->grown = k->grown && changed < 0;
	if (changed < 0 || found == ROOT_CERTIFICATE_BROKEN)
		return -1;
	return changed + (found == ROOT_CERTIFICATE_RESTORED);
}

/* These are enough for a hundred renewals in a row, each of which tests twice. */
static const struct {
	const char *what;
	int64_t interval_ms, burst;
} paces[ROOT_CERTIFICATE_HOOKS] = {
	[ROOT_CERTIFICATE_RUNNING] = {"running", 1000, 240},
	[ROOT_CERTIFICATE_TEST] = {"test", 2500, 240},
	[ROOT_CERTIFICATE_ACTIVATE] = {"activate", 5000, 120}, /* runs none, but its undo does */
	[ROOT_CERTIFICATE_RELOAD] = {"reload", 5000, 120},
};

int root_certificate_may_run(
	struct root_certificate *k, enum root_certificate_hook hook, int64_t now_ms, struct error *err)
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

static uint32_t seconds_left(const struct root_certificate *k)
{
	int64_t due = root_certificate_due(k);
	return due < 0 ? 0 : (uint32_t)((due + 999) / 1000);
}

/* The journal knows the first leaf alone. The second one is left as zeros when there is one pair, or when its set
 * cannot be read; then only the first counts as right. */
static void second_leaf(const struct root_certificate *k, const struct content *entry, uint8_t ret[CHAIN_SHA256_SIZE])
{
	struct error ignored;
	auto_set struct file_set s = {0};
	size_t marked = find_mark(k, entry);
	if (marked < ROOT_CERTIFICATE_MARKS) {
		memcpy(ret, k->marks[marked].second, CHAIN_SHA256_SIZE);
		return;
	}
	if (!content_is_set(entry) || revision_is_placeholder(entry->revision) ||
		!file_set_may_have_second(k->install.archive, entry->revision))
		return;
	if (read_whole(k, entry, &s, &ignored) == 0)
		memcpy(ret, s.second, sizeof(s.second));
}

void root_certificate_inventory(const struct root_certificate *k, struct inventory *ret)
{
	const struct journal *j = &k->journal;
	*ret = (struct inventory){
		.served = j->served,
		.staged = j->staged,
		.high_water = j->high_water.revision,
		.pending = j->pending.revision,
		.pending_seconds = seconds_left(k),
		.held_seconds = (uint32_t)((root_certificate_held(k) + 999) / 1000),
	};
	memcpy(ret->certificate, k->certificate->name, strlen(k->certificate->name) + 1);
	if (revision_is_placeholder(j->served.revision))
		memset(ret->served.digest, 0, sizeof(ret->served.digest));
	memcpy(ret->live, root_certificate_wanted(k)->leaf, sizeof(ret->live));
	second_leaf(k, root_certificate_wanted(k), ret->second);
	second_leaf(k, &j->staged, ret->staged_second);
}
