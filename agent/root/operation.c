#include "agent/root/operation.h"
#include "agent/common/adopt_lock.h"
#include "agent/root/opener.h"
#include "agent/root/output.h"
#include "lib/core/clock.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"
#include "lib/crypto/verify.h"

#include <stdio.h>
#include <string.h>

static bool is_entry(const struct content *e, struct revision r)
{
	return content_is_set(e) && revision_compare(e->revision, r) == 0;
}

/* Fills a reply that is not ok, with the reason. The old files count as back whenever nothing new is installed. */
static void refuse(const struct root_certificate *k, struct reply *reply, const char *step, const struct error *err)
{
	static const char validity[] = "validity:";
	/* A clock that is wrong now may be right later, so that verdict is not final. */
	bool of_the_clock = strncmp(err->message, validity, strlen(validity)) == 0;
	reply->ok = false;
	reply->permanent = err->kind == ERROR_UNTRUSTED && !of_the_clock;
	reply->rolled_back = !root_certificate_is_pending(k);
	snprintf(reply->step, sizeof(reply->step), "%s", step);
	snprintf(reply->text, sizeof(reply->text), "%s", err->message);
}

static void refuse_revision(const struct root_certificate *k, struct reply *reply, const char *step, const char *needed)
{
	struct error err;
	char asked[REVISION_TEXT_MAX], staged[REVISION_TEXT_MAX], pending[REVISION_TEXT_MAX], served[REVISION_TEXT_MAX];
	error_set(&err, ERROR_PERMANENT, "revision %s is not %s (staged %s, pending %s, served %s)",
		revision_text(reply->revision, asked), needed, revision_text(k->journal.staged.revision, staged),
		revision_text(k->journal.pending.revision, pending), revision_text(k->journal.served.revision, served));
	refuse(k, reply, step, &err);
}

/* ---- stage ---- */

/* Returns the names that clients of this node ask for, which what is probed must cover. The list ends with NULL; its
 * names are borrowed. */
static const char **required_names(const struct agent_certificate *certificate)
{
	const char **names = mem_array(certificate->service_count + 1, sizeof(*names));
	size_t count = 0;
	for (size_t i = 0; i < certificate->service_count; i++) {
		const struct agent_service *service = &certificate->services[i];
		if (service->probe && service->probe[0])
			names[count++] = service->sni ? service->sni : certificate->name;
	}
	return names;
}

/* Has a bundle opened and verified in the child (agent/root/opener.h), and makes a set of what it hands back. */
static int open_sealed(struct root_certificate *k, const struct sealed *b, struct file_set *ret, struct error *err)
{
	const struct bundle *checked = b->checked;
	const struct content *served = &k->journal.served, *high_water = &k->journal.high_water;
	auto_free const char **required = required_names(k->certificate);
	int64_t now = clock_wall();
	bool replaces = !revision_is_placeholder(served->revision) && served->not_after > now;
	const struct opener_policy policy = {
		.anchors = k->config->anchors,
		.required = required,
		.allow = (const char *const *)k->certificate->allow,
		.now = now,
		.replaces_not_after = replaces ? served->not_after : 0,
		.may_expire_sooner = checked->flags & (BUNDLE_MAY_EXPIRE_SOONER | BUNDLE_ROLLBACK),
	};
	struct parts pairs[BUNDLE_PAIRS_MAX];
	size_t count;
	if (verify_revision(checked->revision, checked->digest, high_water->revision, high_water->digest, err) < 0 ||
		opener_bundle(
			k->install.archive, b->data, b->len, checked, b->seal_private, &policy, pairs, &count, err) < 0)
		return -1;
	int result = file_set_make(checked->revision, pairs, count, ret, err);
	for (size_t i = 0; i < count; i++)
		parts_release(&pairs[i]);
	return result;
}

/* A retry finds its set in the archive already; a set that was changed there is written anew. */
static int archive(struct root_certificate *k, const struct file_set *s, struct error *err)
{
	auto_set struct file_set found = {0};
	struct error ignored;
	int read = root_certificate_read(k, &s->content, &found, &ignored);
	if (read == ROOT_CERTIFICATE_WHOLE || read == ROOT_CERTIFICATE_RESTORED)
		return 0;
	return root_certificate_write(k, s, err);
}

static int remember_staged(struct root_certificate *k, const struct file_set *s, bool no_return, struct error *err)
{
	struct journal before = k->journal;
	int64_t now = clock_wall();
	/* What was revoked counts as expired for whoever asks later, also after a crash. */
	if (no_return && k->journal.served.not_after > now)
		k->journal.served.not_after = now;
	if (!content_same(&k->journal.served, &s->content))
		k->journal.staged = s->content;
	k->journal.high_water = s->content;
	if (root_certificate_save(k, err) == 0)
		return 0;
	k->journal = before;
	return -1;
}

void operation_stage(struct root_certificate *k, const struct sealed *b, struct reply *reply)
{
	auto_set struct file_set s = {0};
	struct error err;
	if (open_sealed(k, b, &s, &err) < 0) {
		refuse(k, reply, "verify", &err);
		return;
	}
	if (archive(k, &s, &err) < 0 || remember_staged(k, &s, b->checked->flags & BUNDLE_NO_RETURN, &err) < 0) {
		refuse(k, reply, "stage", &err);
		return;
	}
	/* The wanted revision was sent again, since something of it was lost here. */
	if (content_same(root_certificate_wanted(k), &s.content))
		root_certificate_repair(k);
	root_certificate_prune(k);
	reply->ok = true;
}

/* ---- hooks ---- */

static char *live_directory(const struct root_certificate *k)
{
	return mem_printf("%s/live/%s", k->config->directory, k->certificate->name);
}

static char *archive_directory(const struct root_certificate *k, struct revision r)
{
	char text[REVISION_TEXT_MAX];
	return mem_printf("%s/archive/%s/%s", k->config->directory, k->certificate->name, revision_text(r, text));
}

static struct service_call call_for(
	const struct root_certificate *k, size_t service, const struct content *entry, const char *directory)
{
	return (struct service_call){
		.service = &k->certificate->services[service],
		.hooks = k->config->hooks,
		.certificate = k->certificate->name,
		.content = entry,
		.directory = directory,
		.stop_fd = k->stop_fd,
	};
}

static void keep_output(struct reply *reply, const struct service_result *result)
{
	snprintf(reply->output, sizeof(reply->output), "%s", result->output);
}

/* Keeps what a hook printed, as it was, for root alone, and says where: with the reason of a failure, or in front of
 * what is shown. */
static void keep_whole(const struct root_certificate *k, const struct service_call *call, const char *verb,
	struct service_result *result, struct error *failure)
{
	struct error err;
	auto_free char *path = NULL;
	if (!call->raw->len || (!failure && !result->blotted))
		return;
	int kept = output_keep(
		k->config, k->root_state, call->certificate, call->service->name, verb, call->raw, &path, &err);
	auto_free char *where = kept == 0 ? mem_printf("its output is in %s, for root", path)
					  : mem_printf("its output could not be kept (%s)", err.message);
	if (failure) {
		const struct error why = *failure;
		error_set(failure, why.kind, "%s: %s", why.message, where);
		return;
	}
	auto_free char *shown = mem_strdup(result->output);
	snprintf(result->output, sizeof(result->output), "[%s]\n%s", where, shown);
}

/* Runs a hook that has to exit 0. */
static int run_hook(const struct root_certificate *k, const struct service_call *call, const char *verb,
	struct service_result *result, struct error *err)
{
	auto_buf struct buf raw = BUF_INIT(HOOK_RAW_MAX);
	struct service_call with = *call;
	with.raw = &raw;
	int status = service_check(&with, verb, result, err);
	keep_whole(k, &with, verb, result, status < 0 ? err : NULL);
	return status;
}

/* What a hook that succeeded has printed is shown if its service is seen serving something else. */
static void add_output(struct reply *reply, const char *service, const struct service_result *result)
{
	size_t used = strlen(reply->output);
	if (result->output[0])
		snprintf(reply->output + used, sizeof(reply->output) - used, "%s%s: %s", used ? "\n" : "", service,
			result->output);
}

static void add_stopped(struct reply *reply, const char *service)
{
	if (reply->stopped_count < REQUEST_SERVICES_MAX)
		snprintf(reply->stopped[reply->stopped_count++], NAME_SERVICE_MAX, "%s", service);
}

/* A service that cannot be told to run or not counts as running, and that is said. */
static bool is_stopped(const struct root_certificate *k, const struct service_call *call, struct reply *reply)
{
	struct service_result *result = mem_alloc(sizeof(*result));
	auto_buf struct buf raw = BUF_INIT(HOOK_RAW_MAX);
	struct service_call with = *call;
	struct error err;
	with.raw = &raw;
	int running = service_running(&with, result, &err);
	if (running < 0)
		keep_whole(k, &with, "running", result, &err);
	if (running < 0 && !result->interrupted)
		log_event(LOG_LEVEL_WARNING, "running", "certificate=%s service=%s error=\"%s\" output=\"%s\"",
			call->certificate, call->service->name, err.message, result->output);
	if (running == 0)
		add_stopped(reply, call->service->name);
	mem_free_cleanup(&result);
	return running == 0;
}

/* Returns whether REQUEST_RUNNING saw the service running a moment ago. A stopped one is asked again: it may have been
 * started since, with the old files. */
static bool was_running(const struct root_certificate *k, size_t service)
{
	int64_t seen = service < REQUEST_SERVICES_MAX ? k->running_ms[service] : 0;
	return seen && clock_monotonic_ms() - seen < OPERATION_RUNNING_MS;
}

/* Runs each running service's `reload`; with `all` it goes on after a failure, as an undo does. Returns 0, or -1 with
 * the first failure; *ret_interrupted says that the program is to end. */
static int reload_services(struct root_certificate *k, const struct content *entry, bool all, struct reply *reply,
	bool *ret_interrupted, struct error *err)
{
	auto_free char *directory = live_directory(k);
	auto_free struct service_result *result = mem_alloc(sizeof(*result));
	struct error later;
	bool failed = false;
	*ret_interrupted = false;
	for (size_t i = 0; i < k->certificate->service_count && !*ret_interrupted && (all || !failed); i++) {
		const struct service_call call = call_for(k, i, entry, directory);
		bool seen = was_running(k, i);
		if (!seen && is_stopped(k, &call, reply))
			continue;
		if (run_hook(k, &call, "reload", result, failed ? &later : err) == 0) {
			if (!failed)
				add_output(reply, call.service->name, result);
			continue;
		}
		if (seen && !result->interrupted && is_stopped(k, &call, reply))
			continue;
		*ret_interrupted = result->interrupted;
		if (!failed)
			keep_output(reply, result);
		failed = true;
	}
	return failed ? -1 : 0;
}

/* Returns the entry of a revision that is in the archive (staged, pending or served), or NULL. */
static const struct content *find_entry(const struct journal *j, struct revision revision)
{
	const struct content *const entries[] = {&j->staged, &j->pending, &j->served};
	for (size_t i = 0; i < COUNT(entries); i++)
		if (is_entry(entries[i], revision))
			return entries[i];
	return NULL;
}

/* Returns whether an adopt is at work, which is a step of its own: nothing is wrong with the revision. What is pending goes
 * on, since adopt has not begun before it. */
static bool must_wait(const struct root_certificate *k, struct reply *reply)
{
	struct error err;
	if (root_certificate_is_pending(k) || !adopt_lock_is_taken(k->root_state))
		return false;
	error_set(&err, ERROR_RETRY, "certsync-agent adopt is changing services on this node: tried again soon");
	refuse(k, reply, "adopt", &err);
	return true;
}

static void step_test(struct root_certificate *k, struct reply *reply)
{
	const struct content *entry = find_entry(&k->journal, reply->revision);
	if (!entry) {
		refuse_revision(k, reply, "test", "the staged one");
		return;
	}
	auto_free char *directory = archive_directory(k, entry->revision);
	auto_free struct service_result *result = mem_alloc(sizeof(*result));
	struct error err;
	if (must_wait(k, reply))
		return;
	for (size_t i = 0; i < k->certificate->service_count; i++) {
		const struct service_call call = call_for(k, i, entry, directory);
		if (run_hook(k, &call, "test", result, &err) == 0)
			continue;
		refuse(k, reply, "test", &err);
		keep_output(reply, result);
		return;
	}
	reply->ok = true;
}

static void step_reload(struct root_certificate *k, struct reply *reply)
{
	const struct content *wanted = root_certificate_wanted(k);
	struct error err;
	bool interrupted;
	if (!is_entry(wanted, reply->revision)) {
		refuse_revision(k, reply, "reload", "activated");
		return;
	}
	if (must_wait(k, reply))
		return;
	if (reload_services(k, wanted, false, reply, &interrupted, &err) < 0)
		refuse(k, reply, "reload", &err);
	else
		reply->ok = true;
}

static void step_running(struct root_certificate *k, struct reply *reply)
{
	auto_free char *directory = live_directory(k);
	for (size_t i = 0; i < k->certificate->service_count; i++) {
		const struct service_call call = call_for(k, i, root_certificate_wanted(k), directory);
		bool stopped = is_stopped(k, &call, reply);
		if (i < REQUEST_SERVICES_MAX)
			k->running_ms[i] = stopped ? 0 : clock_monotonic_ms();
	}
	reply->repaired = k->repaired;
	reply->ok = true;
}

static void step_hold(struct root_certificate *k, const struct request *request, struct reply *reply)
{
	struct error err;
	if (request->timeout > REQUEST_HOLD_MAX) {
		error_set(&err, ERROR_PERMANENT, "a hold of %u s is too long", request->timeout);
		refuse(k, reply, "hold", &err);
		return;
	}
	root_certificate_hold(k, request->timeout);
	reply->ok = true;
}

/* ---- undo ---- */

static bool can_put_back(struct root_certificate *k, struct error *err)
{
	const struct content *previous = &k->journal.previous;
	auto_set struct file_set s = {0};
	if (!content_is_set(previous) || revision_is_placeholder(previous->revision)) {
		error_set(err, ERROR_PERMANENT, "there is no predecessor but the placeholder");
		return false;
	}
	if (previous->not_after <= clock_wall()) {
		error_set(err, ERROR_PERMANENT, "the predecessor has expired, or was revoked");
		return false;
	}
	return root_certificate_read(k, previous, &s, err) >= 0;
}

static void end_pending(struct journal *j, bool keep_new)
{
	if (keep_new) {
		j->served = j->pending;
		if (content_same(&j->staged, &j->served))
			j->staged = (struct content){0};
	}
	j->pending = j->previous = (struct content){0};
	j->deadline = 0;
}

static int save_ended(struct root_certificate *k, bool keep_new, struct error *err)
{
	struct journal before = k->journal;
	end_pending(&k->journal, keep_new);
	if (root_certificate_save(k, err) == 0) {
		k->undoing = false;
		return 0;
	}
	k->journal = before;
	return -1;
}

/* All new files stay: a first activation that failed half-way is completed. */
static void keep_new(struct root_certificate *k, const struct error *why, struct reply *reply)
{
	struct error err;
	if (root_certificate_place(k, &k->journal.pending, ROOT_CERTIFICATE_ALL, &err) < 0)
		log_event(
			LOG_LEVEL_ERROR, "activate", "certificate=%s error=\"%s\"", k->certificate->name, err.message);
	if (save_ended(k, true, &err) < 0)
		k->undo_at_ms = clock_monotonic_ms() + OPERATION_RETRY_MS;
	else
		error_set(&err, ERROR_PERMANENT, "%s: the new files stay", why->message);
	refuse(k, reply, "undo", &err);
	reply->rolled_back = false;
}

static bool is_live(const struct root_certificate *k, struct revision revision)
{
	struct revision live;
	struct error ignored;
	return install_live(&k->install, &live, &ignored) == 1 && revision_compare(live, revision) == 0;
}

static void undo_later(struct root_certificate *k, struct reply *reply, const struct error *err, bool back)
{
	k->undo_at_ms = clock_monotonic_ms() + OPERATION_RETRY_MS;
	refuse(k, reply, "undo", err);
	reply->rolled_back = back;
}

/* A file of a service's own that cannot be written does not keep the rest from going back; root_certificate_repair goes on trying
 * it. */
static void put_back(struct root_certificate *k, bool reload, struct reply *reply)
{
	struct error err, files, hook;
	bool interrupted = false, reloaded = true;
	const struct content previous = k->journal.previous;
	k->undoing = true;
	bool placed = root_certificate_place(k, &previous, ROOT_CERTIFICATE_ALL, &files) >= 0;
	if (!is_live(k, previous.revision)) {
		if (placed)
			error_set(
				&files, ERROR_RETRY, "live/%s cannot be read: it is tried again", k->certificate->name);
		undo_later(k, reply, &files, false);
		return;
	}
	if (reload)
		reloaded = reload_services(k, &previous, true, reply, &interrupted, &hook) == 0;
	/* It was interrupted. The journal still says that an undo is due, so the next start resumes it. */
	if (interrupted || save_ended(k, false, &err) < 0) {
		undo_later(k, reply, interrupted ? &hook : &err, true);
		return;
	}
	if (!placed)
		refuse(k, reply, "undo", &files);
	else if (!reloaded)
		refuse(k, reply, "undo", &hook);
	else
		reply->ok = true;
	reply->rolled_back = true;
}

static void undo_pending(struct root_certificate *k, bool reload, struct reply *reply)
{
	struct error err, why;
	int64_t now = clock_wall();
	if (k->journal.deadline > now) {
		/* The undo is due from now on, also for whoever starts after a crash. If this does not reach the disk,
		 * the old deadline stands there. */
		k->journal.deadline = now;
		if (root_certificate_save(k, &err) < 0)
			log_event(LOG_LEVEL_WARNING, "undo", "certificate=%s error=\"%s\"", k->certificate->name,
				err.message);
	}
	if (can_put_back(k, &why)) {
		put_back(k, reload, reply);
		return;
	}
	k->undoing = false;
	keep_new(k, &why, reply);
}

void operation_undo(struct root_certificate *k, struct reply *reply)
{
	if (!root_certificate_is_pending(k)) {
		reply->ok = true;
		reply->rolled_back = true;
		return;
	}
	undo_pending(k, true, reply);
}

/* ---- activate and commit ---- */

static int journal_pending(struct root_certificate *k, const struct content *entry, uint32_t timeout, struct error *err)
{
	struct journal before = k->journal;
	int64_t seconds = timeout > OPERATION_TIMEOUT_MAX ? OPERATION_TIMEOUT_MAX : timeout ? timeout : 1;
	if (!root_certificate_is_pending(k))
		k->journal.previous = k->journal.served;
	k->journal.pending = *entry;
	k->journal.deadline = clock_wall() + seconds;
	if (root_certificate_save(k, err) < 0) {
		k->journal = before;
		return -1;
	}
	k->undo_at_ms = clock_monotonic_ms() + seconds * 1000;
	k->undoing = false;
	return 0;
}

/* Nothing was reloaded yet, so nothing is reloaded on the way back. */
static void fail_activation(struct root_certificate *k, struct reply *reply, struct error *err)
{
	auto_free struct reply *undone = mem_alloc(sizeof(*undone));
	undo_pending(k, false, undone);
	if (!undone->rolled_back) {
		const struct error why = *err;
		error_set(err, why.kind, "%s; %s", why.message, undone->text);
	}
	refuse(k, reply, "activate", err);
	reply->rolled_back = undone->rolled_back;
}

static void step_activate(struct root_certificate *k, const struct request *request, struct reply *reply)
{
	struct journal *j = &k->journal;
	struct error err;
	bool again = is_entry(&j->pending, request->revision);
	if (must_wait(k, reply))
		return;
	if (!again && !root_certificate_is_pending(k) && is_entry(&j->served, request->revision)) {
		/* The revision is installed and committed already: what was asked for holds, and nothing is pending. */
		if (root_certificate_place(k, &j->served, ROOT_CERTIFICATE_STRICT, &err) < 0)
			refuse(k, reply, "activate", &err);
		else
			reply->ok = true;
		return;
	}
	if (!again && !is_entry(&j->staged, request->revision)) {
		refuse_revision(k, reply, "activate", "staged");
		return;
	}
	const struct content entry = again ? j->pending : j->staged;
	k->adopt_lock = k->adopt_lock < 0 ? adopt_lock_share(k->root_state) : k->adopt_lock;
	/* One may have begun just now. */
	if (k->adopt_lock < 0 && must_wait(k, reply))
		return;
	if (journal_pending(k, &entry, request->timeout, &err) < 0)
		refuse(k, reply, "activate", &err);
	else if (root_certificate_place(k, &j->pending, ROOT_CERTIFICATE_STRICT, &err) < 0)
		fail_activation(k, reply, &err);
	else
		reply->ok = true;
}

static void step_commit(struct root_certificate *k, struct reply *reply)
{
	struct error err;
	if (!root_certificate_is_pending(k) && is_entry(&k->journal.served, reply->revision)) {
		reply->ok = true;
		return;
	}
	if (k->undoing || !is_entry(&k->journal.pending, reply->revision)) {
		refuse_revision(k, reply, "commit", "pending: without a commit in time it has been undone");
		return;
	}
	if (save_ended(k, true, &err) < 0) {
		refuse(k, reply, "commit", &err);
		return;
	}
	root_certificate_prune(k);
	reply->ok = true;
}

static void step_undo_revision(struct root_certificate *k, struct reply *reply)
{
	if (root_certificate_is_pending(k) && !is_entry(&k->journal.pending, reply->revision))
		refuse_revision(k, reply, "undo", "pending");
	else
		operation_undo(k, reply);
}

static bool may_run(struct root_certificate *k, enum request_op op, struct reply *reply)
{
	static const struct {
		enum request_op op;
		enum root_certificate_hook hook;
		const char *step;
	} paced[] = {
		{REQUEST_TEST, ROOT_CERTIFICATE_TEST, "test"},
		{REQUEST_ACTIVATE, ROOT_CERTIFICATE_ACTIVATE, "activate"},
		{REQUEST_RELOAD, ROOT_CERTIFICATE_RELOAD, "reload"},
		{REQUEST_RUNNING, ROOT_CERTIFICATE_RUNNING, "running"},
	};
	struct error err;
	for (size_t i = 0; i < COUNT(paced); i++) {
		if (paced[i].op != op || root_certificate_may_run(k, paced[i].hook, clock_monotonic_ms(), &err) == 0)
			continue;
		refuse(k, reply, paced[i].step, &err);
		return false;
	}
	return true;
}

void operation_request(struct root_certificate *k, const struct request *request, struct reply *reply)
{
	if (!may_run(k, request->op, reply))
		return;
	switch (request->op) {
	case REQUEST_TEST:
		step_test(k, reply);
		break;
	case REQUEST_ACTIVATE:
		step_activate(k, request, reply);
		break;
	case REQUEST_RELOAD:
		step_reload(k, reply);
		break;
	case REQUEST_RUNNING:
		step_running(k, reply);
		break;
	case REQUEST_COMMIT:
		step_commit(k, reply);
		break;
	case REQUEST_UNDO:
		step_undo_revision(k, reply);
		break;
	case REQUEST_HOLD:
		step_hold(k, request, reply);
		break;
	case REQUEST_INVENTORY:
	case REQUEST_STAGE:
	case REQUEST_HOST_KEYS:
	case REQUEST_SIGNERS:
	case REQUEST_ALIVE:
	case REQUEST_READING:
		break; /* the caller's */
	}
}
