#include "hub/daemon/acme/renewal.h"
#include "hub/daemon/acme/account.h"
#include "hub/daemon/acme/authorities.h"
#include "hub/daemon/acme/renewal_info.h"
#include "hub/daemon/events.h"
#include "hub/daemon/rollout/fleet.h"
#include "hub/daemon/acme/limits.h"
#include "hub/daemon/acme/order.h"
#include "hub/daemon/acme/preflight.h"
#include "hub/daemon/publish/publish.h"
#include "hub/daemon/revoked.h"
#include "hub/daemon/acme/schedule.h"
#include "lib/core/clock.h"
#include "lib/crypto/bundle.h"
#include "lib/core/files.h"
#include "hub/daemon/record.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { RENEWAL_WAKE_MAX = 3600, RENEWAL_RECORD_MAX = 16384 };

struct renewal {
	struct renewal *next;
	struct hub *hub;
	struct authorities authorities;
	const struct hub_certificate *certificate; /* as the chosen authority is asked for it; in `authorities` */
	/* At most one of these runs. */
	struct account *account;
	struct preflight *preflight;
	struct order *order;
	struct event *timer;
	struct renewal_info *advice; /* of the authority that has issued what is current; NULL: nobody is asked */
	size_t advises;              /* its number */
	struct schedule_state state;
	char step[128];
	char error[ERROR_MESSAGE_MAX];
	char held[ERROR_MESSAGE_MAX]; /* by the authorities' limits */
	cJSON *findings;              /* owned: of the last preflight */
	bool refused;      /* by the gate to publish, for what the certificate is: its order is kept, unless an
			    operator orders anew */
	bool new_key;      /* the one in use must not be used again */
	bool resumes;      /* a stored order was broken off; it is resumed whatever the current certificate is */
	bool revoked;      /* the current certificate was, from here */
	bool waiting;      /* for what is being done to its account */
	const char *lacks; /* borrowed: a configured name that the current certificate has not; NULL: none */
};

static bool is_running(const struct renewal *r)
{
	return r->account || r->preflight || r->order || r->waiting;
}

/* ---- the record: encoder and decoder ---- */

static struct record record_of(const struct renewal *r)
{
	return (struct record){"renewals", r->certificate->name, "state.json", RENEWAL_RECORD_MAX,
		"how often it has failed is forgotten, and it is tried anew"};
}

static void save(const struct renewal *r)
{
	const struct record record = record_of(r);
	auto_json cJSON *o = cJSON_CreateObject();
	cJSON_AddNumberToObject(o, "failures", r->state.failures);
	cJSON_AddNumberToObject(o, "last_failure", (double)r->state.last_failure);
	cJSON_AddNumberToObject(o, "retry_after", (double)r->state.retry_after);
	cJSON_AddStringToObject(o, "error", r->error);
	cJSON_AddBoolToObject(o, "new_key", r->new_key);
	cJSON_AddBoolToObject(o, "refused", r->refused);
	authorities_encode(&r->authorities, o);
	record_keep(r->hub->store, &record, o);
}

static int decode(const cJSON *o, struct renewal *r, struct error *err)
{
	const char *reason = json_string(o, "error", sizeof(r->error) - 1, err);
	if (!reason || json_u32(o, "failures", &r->state.failures, err) < 0 ||
		json_i64(o, "last_failure", &r->state.last_failure, err) < 0)
		return -1;
	snprintf(r->error, sizeof(r->error), "%s", reason);
	r->new_key = json_true(o, "new_key");
	r->refused = json_true(o, "refused");
	if (json_i64(o, "retry_after", &r->state.retry_after, err) < 0)
		return -1;
	if (json_get(o, "authorities"))
		return authorities_decode(&r->authorities, o, err);
	/* A hub that knew of one authority only has written it. */
	if (r->state.failures)
		authorities_failed(&r->authorities, AUTHORITY_FAILED, r->state.retry_after, r->state.last_failure);
	r->authorities.list[0].failures = r->state.failures;
	return 0;
}

static void restore(struct renewal *r)
{
	struct error err;
	const struct record record = record_of(r);
	auto_json cJSON *o = NULL;
	int got = record_get(r->hub->store, &record, &o, &err);
	if (got < 0 || (got > 0 && decode(o, r, &err) < 0)) {
		record_damaged(r->hub->store, &record, &err);
		r->state = (struct schedule_state){0};
		authorities_init(&r->authorities, hub_config_certificate(r->hub->config, r->certificate->name));
	}
}

/* ---- whose turn it is ---- */

/* Returns the number of the authority that has an order under way, or that of none. */
static size_t begun(const struct renewal *r)
{
	struct error ignored;
	auto_buf struct buf text = BUF_INIT(FILES_FILE_MAX);
	if (store_get(r->hub->store, "orders", r->certificate->name, "order.json", &text, &ignored) <= 0)
		return r->authorities.count;
	auto_json cJSON *record = json_parse(text.data, text.len, &ignored);
	return authorities_find(&r->authorities, json_text(record, "account"));
}

/* The schedule goes by the tries at the authority whose turn it is. */
static void take_turn(struct renewal *r)
{
	const struct authority *chosen = &r->authorities.list[r->authorities.chosen];
	r->certificate = &r->authorities.at[r->authorities.chosen];
	r->state.failures = chosen->failures;
	r->state.last_failure = chosen->last_failure;
	r->state.retry_after = chosen->retry_after;
}

/* Chooses who is asked next; `why` is what has just been learnt. Nothing runs meanwhile. */
static bool choose(struct renewal *r, const char *why)
{
	int64_t now = clock_wall();
	bool life_is_short = r->revoked || authority_life_is_short(r->state.not_before, r->state.not_after, now);
	const char *before = r->certificate->acme->name;
	if (!authorities_choose(&r->authorities, begun(r), life_is_short, now, why))
		return false;
	take_turn(r);
	r->refused = false; /* what this one issues is another certificate */
	log_event(LOG_LEVEL_WARNING, "authority", "certificate=%s authority=%s before=%s reason=\"%s\"",
		r->certificate->name, r->certificate->acme->name, before, why);
	save(r);
	return true;
}

static void draw_jitter(struct renewal *r)
{
	if (getrandom(&r->state.jitter, sizeof(r->state.jitter), 0) != sizeof(r->state.jitter))
		mem_abort(__func__);
}

static void take_advice(struct renewal *r)
{
	r->state.advised = r->advice ? renewal_info_record(r->advice)->moment : 0;
}

/* The key in use is somebody else's too. An order that was stored before may be for it. */
static void demand_new_key(struct renewal *r)
{
	struct error err;
	if (r->new_key)
		return;
	r->new_key = true;
	save(r);
	r->resumes = false;
	if (!is_running(r) && order_forget(r->hub->store, r->hub->keys, r->certificate->name, &err) < 0)
		log_event(LOG_LEVEL_ERROR, "store", "certificate=%s error=\"%s\"", r->certificate->name, err.message);
}

/* Returns whether the chosen authority has an order under way. */
static bool has_stored_order(const struct renewal *r)
{
	return begun(r) == r->authorities.chosen;
}

/* A name that was added has nobody wait until the renewal is due. What a person has gone back to had every name that
 * was configured then, so a name that it lacks was added since. */
static void look_at_names(struct renewal *r, const struct manifest *current)
{
	const char *before = r->lacks;
	r->lacks = current
		? verify_names(current->names, current->name_count, (const char *const *)(void *)r->certificate->names)
		: NULL;
	if (r->lacks && r->lacks != before)
		log_event(LOG_LEVEL_NOTICE, "renewal", "certificate=%s reason=\"%s is not in it yet: it is ordered\"",
			r->certificate->name, r->lacks);
}

static void on_advice(void *context);

/* Only the authority that has issued a certificate knows when it should be renewed. */
static void have_advised(struct renewal *r, size_t by)
{
	if (by == r->authorities.count || by == r->advises)
		return;
	renewal_info_free(r->advice);
	r->advises = by;
	r->advice = renewal_info_new(r->hub, &r->authorities.at[by], on_advice, r);
}

/* What is published decides when the next order is due. */
static void look_at_current(struct renewal *r)
{
	struct error err;
	struct revoked how;
	auto_manifest struct manifest m = {0};
	int had = store_current(r->hub->store, r->certificate->name, &m, &err);
	if (had < 0)
		log_event(LOG_LEVEL_ERROR, "store", "certificate=%s error=\"%s\"", r->certificate->name, err.message);
	r->state.not_before = had > 0 ? m.content.not_before : 0;
	r->state.not_after = had > 0 ? m.content.not_after : 0;
	r->state.published = had > 0 ? m.published : 0;
	r->state.gone_back = had > 0 && strcmp(m.source, "rollback") == 0;
	r->revoked = had > 0 && revoked_find_either(r->hub->store, r->certificate->name, &m, &how);
	if (r->revoked && strcmp(how.reason, "keyCompromise") == 0)
		demand_new_key(r);
	look_at_names(r, had > 0 ? &m : NULL);
	if (had > 0 && strcmp(m.source, "acme") == 0)
		have_advised(r, authorities_find(&r->authorities, m.reason));
	renewal_info_current(r->advice, had > 0 ? &m : NULL);
	take_advice(r);
}

/* A revoked certificate is of no use to anybody, one without a name that it should have is of none to those who ask for
 * it, and an order that was begun is not left, so only a backoff is waited for. */
static int64_t due(const struct renewal *r, int64_t now)
{
	struct schedule_state s = r->state;
	if (r->revoked || r->resumes || r->lacks)
		s.not_before = s.not_after = 0;
	int64_t when = schedule_due(&s, now), held_until = r->authorities.list[r->authorities.chosen].held_until;
	return held_until > when ? held_until : when;
}

static void wake_later(struct renewal *r)
{
	int64_t now = clock_wall();
	int64_t wait = due(r, now) - now;
	/* The wall clock may be set in between, so it looks again within the hour. */
	wait = wait < 0 ? 0 : wait > RENEWAL_WAKE_MAX ? RENEWAL_WAKE_MAX : wait;
	const struct timeval delay = {wait, 0};
	event_add(r->timer, &delay);
}

static void succeed(struct renewal *r)
{
	authorities_issued(&r->authorities);
	take_turn(r);
	r->error[0] = '\0';
	r->new_key = r->resumes = false;
	draw_jitter(r);
	look_at_current(r);
	save(r);
	wake_later(r);
}

static void fail(struct renewal *r, const struct error *err, int64_t retry_after, enum authority_trouble trouble)
{
	char when[CLOCK_TEXT_MAX];
	authorities_failed(&r->authorities, trouble, retry_after, clock_wall());
	take_turn(r);
	snprintf(r->error, sizeof(r->error), "%s", err->message);
	choose(r, err->message);
	r->resumes = !r->refused && has_stored_order(r);
	save(r);
	wake_later(r);
	log_event(LOG_LEVEL_ERROR, "renewal", "certificate=%s failures=%u next=%s error=\"%s\"", r->certificate->name,
		authorities_failures(&r->authorities), clock_text(due(r, clock_wall()), when), err->message);
}

static void changed(struct renewal *r)
{
	r->hub->events->changed(r->hub, fleet_find(r->hub, r->certificate->name));
}

static void progress(struct renewal *r, const char *step)
{
	snprintf(r->step, sizeof(r->step), "%s", step);
	log_event(LOG_LEVEL_INFO, "order", "certificate=%s step=\"%s\"", r->certificate->name, step);
	changed(r);
}

/* ---- an order's events ---- */

static struct renewal *of(void *context, const char *certificate)
{
	return renewal_find(context, certificate);
}

static void on_progress(const char *certificate, const char *step, void *context)
{
	progress(of(context, certificate), step);
}

static void count_issued(struct renewal *r, size_t pairs)
{
	struct error err;
	while (pairs-- > 0)
		if (limits_issued(r->hub->store, r->certificate->acme, r->certificate->names, clock_wall(), &err) < 0)
			log_event(LOG_LEVEL_ERROR, "store", "certificate=%s error=\"%s\"", r->certificate->name,
				err.message);
}

/* What was revoked, here or elsewhere (then its authority wants it replaced at once), must not wait for a window. */
static bool is_urgent(const struct renewal *r)
{
	struct schedule_state rule = r->state;
	rule.advised = 0;
	rule.failures = 0;
	int64_t now = clock_wall();
	return r->revoked || r->new_key ||
		(r->advice && r->state.advised && renewal_info_record(r->advice)->window.end <= now &&
			schedule_due(&rule, now) > now);
}

static int on_issued(const char *certificate, const struct chain *pairs, size_t count, void *context)
{
	struct renewal *r = of(context, certificate);
	/* Who asks for a profile asks for the life that it gives, and who names another authority for what that gives. */
	struct manifest meta = {.source = "acme",
		.urgent = is_urgent(r),
		.flags = r->certificate->profile || r->authorities.chosen > 0 ? BUNDLE_MAY_EXPIRE_SOONER : 0};
	struct revision revision;
	struct error err;
	bool unchanged;
	snprintf(meta.reason, sizeof(meta.reason), "%.100s", r->certificate->acme->name);
	r->order = NULL;
	if (!r->refused)
		count_issued(r, count);
	int result = publish(r->hub, r->certificate, pairs, count, &meta, &revision, &unchanged, &err);
	r->refused = result < 0 && err.kind == ERROR_UNTRUSTED;
	if (result < 0) {
		error_wrap(&err, "issued, but not published");
		fail(r, &err, 0, AUTHORITY_FAILED);
	} else {
		succeed(r);
	}
	changed(r);
	/* When it was refused the order stays, so that the next try judges the same certificate again. To order anew
	 * each time would spend the CA's limit of duplicates while, for example, an anchor is missing here. */
	return result;
}

static void on_failed(const char *certificate, const struct error *err, int64_t retry_after,
	enum authority_trouble trouble, void *context)
{
	struct renewal *r = of(context, certificate);
	r->order = NULL;
	fail(r, err, retry_after, trouble);
	changed(r);
}

static void on_warning(const char *certificate, const char *text, void *context)
{
	(void)context;
	log_event(LOG_LEVEL_WARNING, "order", "certificate=%s warning=\"%s\"", certificate, text);
}

static void on_invalid(const char *certificate, const char *name, void *context)
{
	struct renewal *r = of(context, certificate);
	struct error err;
	if (limits_failed(r->hub->store, r->certificate->acme, name, clock_wall(), &err) < 0)
		log_event(LOG_LEVEL_ERROR, "store", "certificate=%s error=\"%s\"", certificate, err.message);
}

static const struct order_handler order_handler = {.progress = on_progress,
	.issued = on_issued,
	.failed = on_failed,
	.invalid = on_invalid,
	.warning = on_warning};

/* ---- the way to an order ---- */

/* Finds the identifiers of what is replaced, where this authority issued it. */
static size_t find_replaced(struct renewal *r, char ids[STORE_PAIRS_MAX][ARI_ID_MAX])
{
	struct error ignored;
	struct chain pairs[STORE_PAIRS_MAX] = {0};
	size_t count = 0, found = 0;
	auto_manifest struct manifest m = {0}, content = {0};
	if (!r->certificate->acme->ari || store_current(r->hub->store, r->certificate->name, &m, &ignored) <= 0 ||
		strcmp(m.source, "acme") != 0 || strcmp(m.reason, r->certificate->acme->name) != 0 ||
		store_load(r->hub->store, r->certificate->name, m.content.revision, pairs, &count, &content, &ignored) <
			0)
		return 0;
	while (found < count && ari_id(pairs[found].leaf, ids[found], &ignored) == 0)
		found++;
	while (count > 0)
		chain_release(&pairs[--count]);
	return found;
}

static void start_order(struct renewal *r)
{
	struct error err;
	char ids[STORE_PAIRS_MAX][ARI_ID_MAX];
	struct order_options options = {.resolvers = r->hub->config->resolvers,
		.anchors = r->hub->config->anchors,
		.new_key = r->new_key,
		.responder = r->hub->responder};
	size_t count = find_replaced(r, ids);
	for (size_t i = 0; i < count; i++)
		options.replaces[i] = ids[i];
	snprintf(r->step, sizeof(r->step), "starting");
	r->order = order_start(r->hub->workers, r->hub->store, r->hub->keys, r->hub->challenge, r->certificate,
		&options, &order_handler, r->hub, &err);
	if (!r->order)
		fail(r, &err, 0, AUTHORITY_FAILED);
}

static void on_preflight(cJSON *findings, size_t bad, const struct error *why, void *context)
{
	struct renewal *r = context;
	bool required = r->certificate->preflight == HUB_PREFLIGHT_REQUIRE;
	char text[ERROR_MESSAGE_MAX];
	struct error err = *why;
	r->preflight = NULL;
	cJSON_Delete(r->findings);
	r->findings = findings;
	if (findings) {
		preflight_text(findings, text, sizeof(text));
		error_set(&err, ERROR_RETRY, "preflight: %s", text);
	}
	if (findings && !bad) {
		start_order(r);
	} else if (required) {
		error_wrap(&err, "no order was made");
		fail(r, &err, 0, AUTHORITY_FAILED);
	} else {
		log_event(LOG_LEVEL_WARNING, "preflight", "certificate=%s reason=\"%s\"", r->certificate->name,
			err.message);
		start_order(r);
	}
	changed(r);
}

static void start_preflight(struct renewal *r)
{
	struct error err;
	if (r->certificate->preflight == HUB_PREFLIGHT_OFF || r->certificate->challenge == HUB_CHALLENGE_DNS ||
		has_stored_order(r)) {
		start_order(r);
		return;
	}
	progress(r, "preflight");
	r->preflight = preflight_start(r->hub, r->certificate, on_preflight, r, &err);
	if (!r->preflight)
		on_preflight(NULL, 0, &err, r);
}

/* An account that could not be brought up to date is no reason to let a certificate expire. */
static void on_account(const struct error *err, void *context)
{
	struct renewal *r = context;
	r->account = NULL;
	if (err->kind != ERROR_NONE)
		log_event(LOG_LEVEL_WARNING, "account", "account=%s error=\"%s\"", r->certificate->acme->name,
			err->message);
	start_preflight(r);
}

static void start(struct renewal *r)
{
	struct error err;
	static const struct timeval soon = {1, 0};
	r->held[0] = '\0';
	r->authorities.list[r->authorities.chosen].held_until = 0;
	r->waiting = account_is_busy(r->hub, r->certificate->acme);
	if (r->waiting) {
		progress(r, "waits for its account");
		event_add(r->timer, &soon);
		return;
	}
	if (account_needs_upkeep(r->hub, r->certificate->acme)) {
		progress(r, "account");
		r->account = account_upkeep(r->hub, r->certificate->acme, on_account, r, &err);
		if (!r->account)
			on_account(&err, r);
		return;
	}
	start_preflight(r);
}

/* ---- what may hold it ---- */

/* Returns true when the chosen authority would refuse it; then `held` says so, and until when. `anew` says that a stored
 * order is not continued. */
static bool is_held_there(struct renewal *r, bool anew)
{
	struct error err;
	int64_t until;
	int64_t now = clock_wall();
	if (!r->certificate->acme->limits || (!anew && has_stored_order(r)) ||
		limits_check(r->hub->store, r->certificate->acme, r->certificate->names,
			r->state.not_after - r->state.not_before, now, &until, &err) == 0)
		return false;
	if (!until) {
		log_event(LOG_LEVEL_ERROR, "store", "certificate=%s error=\"%s\"", r->certificate->name, err.message);
		return false;
	}
	authorities_held(&r->authorities, until);
	snprintf(r->held, sizeof(r->held), "%s", err.message);
	log_event(LOG_LEVEL_ERROR, "limits", "certificate=%s reason=\"%s\"", r->certificate->name, err.message);
	return true;
}

/* Returns true when every authority would refuse it; else one that would not is chosen. */
static bool is_held(struct renewal *r, bool anew)
{
	for (size_t i = 0; i < r->authorities.count; i++) {
		if (!is_held_there(r, anew))
			return false;
		if (!choose(r, r->held))
			return true;
	}
	return true;
}

/* Fails when the authority asked to be left alone, and the time is not over. */
static int check_retry_after(const struct renewal *r, struct error *err)
{
	char when[CLOCK_TEXT_MAX];
	int64_t now = clock_wall(), until = r->state.last_failure + r->state.retry_after;
	if (!r->state.retry_after || r->state.last_failure > now || until <= now)
		return 0;
	return error_set(err, ERROR_RETRY,
		"no order was made: %s asked to be left alone until %s (%s). certsync renew --force orders "
		"all the same",
		r->certificate->acme->name, clock_text(until, when), r->error);
}

int renewal_now(struct renewal *r, bool force, struct error *err)
{
	struct error ignored;
	if (is_running(r))
		return 0;
	choose(r, r->error);
	if (!force && check_retry_after(r, err) < 0)
		return -1;
	if (!force && is_held(r, r->refused)) {
		wake_later(r);
		return error_set(err, ERROR_RETRY, "%s", r->held);
	}
	if (r->refused && order_forget(r->hub->store, r->hub->keys, r->certificate->name, &ignored) < 0)
		log_event(
			LOG_LEVEL_ERROR, "store", "certificate=%s error=\"%s\"", r->certificate->name, ignored.message);
	start(r);
	return 0;
}

void renewal_replace(struct renewal *r, bool new_key)
{
	struct error err;
	look_at_current(r);
	r->new_key = r->new_key || new_key;
	save(r);
	if (new_key) {
		/* An order under way may be for the key that is not wanted any more. */
		order_cancel(steal(r->order));
		if (order_forget(r->hub->store, r->hub->keys, r->certificate->name, &err) < 0)
			log_event(LOG_LEVEL_ERROR, "store", "certificate=%s error=\"%s\"", r->certificate->name,
				err.message);
	}
	renewal_now(r, true, &err);
}

void renewal_published(struct hub *hub, const char *certificate)
{
	struct renewal *r = renewal_find(hub, certificate);
	if (!r)
		return;
	look_at_current(r);
	if (!is_running(r))
		wake_later(r);
}

static void on_advice(void *context)
{
	struct renewal *r = context;
	take_advice(r);
	if (!is_running(r))
		wake_later(r);
	changed(r);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	struct renewal *r = context;
	if (r->waiting) {
		start(r);
		return;
	}
	if (is_running(r))
		return;
	choose(r, r->error);
	/* A revoked certificate is of no use, so no limit of ours is worth serving it. */
	if (due(r, clock_wall()) > clock_wall() || (!r->revoked && is_held(r, false)))
		wake_later(r);
	else
		start(r);
}

static void open_one(struct hub *hub, const struct hub_certificate *certificate)
{
	struct renewal *r = mem_alloc(sizeof(*r));
	r->next = hub->renewals;
	hub->renewals = r;
	r->hub = hub;
	authorities_init(&r->authorities, certificate);
	r->certificate = r->authorities.at;
	r->advises = r->authorities.count;
	r->timer = event_new(hub->base, -1, 0, on_timer, r);
	if (!r->timer)
		mem_abort(__func__);
	restore(r);
	r->state.renew_before = certificate->renew_before;
	take_turn(r);
	have_advised(r, 0);
	draw_jitter(r);
	r->resumes = has_stored_order(r);
	look_at_current(r);
	wake_later(r);
}

void renewal_open(struct hub *hub)
{
	for (size_t i = 0; i < hub->config->certificate_count; i++)
		if (hub->config->certificates[i].acme)
			open_one(hub, &hub->config->certificates[i]);
}

void renewal_close(struct hub *hub)
{
	while (hub->renewals) {
		struct renewal *r = hub->renewals;
		hub->renewals = r->next;
		if (r->order)
			order_cancel(r->order);
		account_cancel(r->account);
		preflight_cancel(r->preflight);
		renewal_info_free(r->advice);
		cJSON_Delete(r->findings);
		event_free(r->timer);
		free(r);
	}
	account_close(hub);
}

struct renewal *renewal_find(struct hub *hub, const char *certificate)
{
	for (struct renewal *r = hub->renewals; r; r = r->next)
		if (strcmp(r->certificate->name, certificate) == 0)
			return r;
	return NULL;
}

int renewal_check_idle(const struct hub *hub, const struct hub_acme *acme, struct error *err)
{
	for (const struct renewal *r = hub->renewals; r; r = r->next)
		if (r->certificate->acme == acme && is_running(r))
			return error_set(err, ERROR_RETRY,
				"account %s: the order of %s is under way with it: try again when it is done "
				"(certsync status)",
				acme->name, r->certificate->name);
	return 0;
}

void renewal_status(const struct renewal *r, struct renewal_status *ret)
{
	int64_t now = clock_wall(), held_until = r->authorities.list[r->authorities.chosen].held_until;
	*ret = (struct renewal_status){
		.running = is_running(r),
		.step = r->step,
		.error = r->error,
		.held = held_until > now ? r->held : "",
		.basis = held_until > now ? "limits"
			: r->revoked      ? "revoked"
			: r->lacks        ? "names"
					  : schedule_basis(&r->state, now),
		.lacks = r->lacks,
		.authority = r->certificate->acme->name,
		.instead = r->authorities.reason,
		.instead_since = r->authorities.left,
		.at_first = r->authorities.chosen == 0,
		.failures = authorities_failures(&r->authorities),
		.due = due(r, now),
		.ari = r->advice ? renewal_info_record(r->advice) : NULL,
		.preflight = r->findings,
	};
}
