#include "agent/root/resume.h"
#include "agent/root/operation.h"
#include "agent/common/adopt_lock.h"
#include "lib/core/clock.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"

#include <string.h>

/* Reads what live/ points at, also when one of its files was changed and nothing is known of what was in it. Returns 1,
 * 0 when there is none, or -1 when it is there and cannot be read now; then nothing else is put in its place. */
static int read_live(struct root_certificate *k, struct file_set *ret, struct error *err)
{
	struct revision live;
	struct error why, ignored;
	int found = install_live(&k->install, &live, err);
	if (found != 1)
		return found < 0 && err->kind == ERROR_RETRY ? -1 : 0;
	if (file_set_read(k->install.archive, live, ret, &why) == 0)
		return 1;
	if (why.kind == ERROR_RETRY) {
		*err = why;
		return -1;
	}
	if (content_is_set(&k->journal.served) || file_set_agreed(k->install.archive, live, ret, &ignored) < 0)
		return 0;
	root_certificate_write_anew(k, ret, &why);
	return 1;
}

/* Chooses the best that there is to serve: what live/ points at, else the newest revision that is valid, else the
 * newest. Returns -1 as read_live does. */
static int choose_set(struct root_certificate *k, struct file_set *ret, struct error *err)
{
	int found = read_live(k, ret, err);
	if (found)
		return found;
	if (install_newest(&k->install, clock_wall(), ret))
		return 1;
	return install_newest(&k->install, 0, ret);
}

/* The placeholder is read back before it takes the place of anything. Where not even this can be read, what could not
 * be read before is not known to be damaged: OpenSSL may have no memory, for example. */
static int make_placeholder(struct root_certificate *k, struct file_set *ret, struct error *err)
{
	auto_set struct file_set s = {0};
	if (file_set_placeholder(k->certificate->name, clock_wall(), &s, err) < 0 ||
		file_set_write(k->install.archive, &s, err) < 0)
		return -1;
	if (file_set_read(k->install.archive, s.content.revision, ret, err) < 0) {
		err->kind = ERROR_RETRY;
		return error_wrap(err, "what was just written cannot be read, so no set is taken for damaged");
	}
	log_event(LOG_LEVEL_NOTICE, "placeholder", "certificate=%s text=\"no certificate has come yet\"",
		k->certificate->name);
	return 0;
}

/* Serves again what is there; high_water is left alone unless it is unknown. */
static int rebuild(struct root_certificate *k, struct error *err)
{
	auto_set struct file_set s = {0};
	auto_set struct file_set newest = {0};
	struct journal *j = &k->journal;
	int found = choose_set(k, &s, err);
	if (found < 0 || (found == 0 && make_placeholder(k, &s, err) < 0))
		return -1;
	struct content high_water = j->high_water;
	if (!content_is_set(&high_water)) {
		high_water = install_newest(&k->install, 0, &newest) ? newest.content : s.content;
		if (revision_compare(high_water.revision, s.content.revision) < 0)
			high_water = s.content;
	}
	*j = (struct journal){.served = s.content, .high_water = high_water};
	memcpy(j->certificate, k->certificate->name, strlen(k->certificate->name) + 1);
	return root_certificate_save(k, err);
}

static bool is_whole(struct root_certificate *k, const struct content *entry, struct error *err)
{
	auto_set struct file_set s = {0};
	return root_certificate_read(k, entry, &s, err) >= 0;
}

static int rebuild_for(struct root_certificate *k, const struct error *why, struct error *err)
{
	char text[REVISION_TEXT_MAX];
	if (rebuild(k, err) < 0)
		return -1;
	log_event(LOG_LEVEL_ERROR, "rebuilt", "certificate=%s served=%s error=\"%s\"", k->certificate->name,
		revision_text(k->journal.served.revision, text), why->message);
	return 0;
}

static int load(struct root_certificate *k, struct error *err)
{
	struct error damage;
	int found = journal_read(k->root_state, k->certificate->name, &k->journal, &damage);
	if (found == 0)
		return rebuild(k, err);
	/* A journal that cannot be read now is not known to be damaged, and what it says must not be forgotten. */
	if (found < 0 && damage.kind == ERROR_RETRY) {
		*err = damage;
		return -1;
	}
	return found < 0 ? rebuild_for(k, &damage, err) : 0;
}

/* A clock that was set back must not keep a pending revision for longer than the request could have asked for. */
static void arm(struct root_certificate *k)
{
	struct error damage;
	int64_t left = k->journal.deadline - clock_wall();
	if (left > OPERATION_TIMEOUT_MAX)
		left = OPERATION_TIMEOUT_MAX;
	if (k->undoing || !is_whole(k, &k->journal.pending, &damage))
		left = 0;
	k->undo_at_ms = clock_monotonic_ms() + (left > 0 ? left * 1000 : 0);
}

static int start(struct root_certificate *k, struct error *err)
{
	struct error damage;
	install_sweep(&k->install);
	if (load(k, err) < 0)
		return -1;
	k->undoing = k->undoing && root_certificate_is_pending(k);
	if (root_certificate_is_pending(k)) {
		k->adopt_lock = k->adopt_lock < 0 ? adopt_lock_share(k->root_state) : k->adopt_lock;
		arm(k);
		root_certificate_tick(k);
	}
	if (root_certificate_is_pending(k) || is_whole(k, &k->journal.served, &damage))
		return 0;
	if (damage.kind == ERROR_RETRY) {
		*err = damage;
		return -1;
	}
	return rebuild_for(k, &damage, err);
}

int root_certificate_start(struct root_certificate *k, struct error *err)
{
	if (start(k, err) < 0) {
		error_wrap(err, "certificate %s", k->certificate->name);
		k->fault = *err;
		return -1;
	}
	k->ready = true;
	root_certificate_repair(k);
	root_certificate_prune(k);
	return 0;
}

void root_certificate_tick(struct root_certificate *k)
{
	if (root_certificate_due(k) != 0)
		return;
	struct reply *reply = mem_alloc(sizeof(*reply));
	char revision[REVISION_TEXT_MAX];
	revision_text(k->journal.pending.revision, revision);
	log_event(LOG_LEVEL_WARNING, "deadline", "certificate=%s revision=%s text=\"not committed in time: undone\"",
		k->certificate->name, revision);
	operation_undo(k, reply);
	if (!reply->ok)
		log_event(LOG_LEVEL_ERROR, "undo", "certificate=%s revision=%s error=\"%s\" output=\"%s\"",
			k->certificate->name, revision, reply->text, reply->output);
	reply_release(reply);
	mem_free_cleanup(&reply);
}
