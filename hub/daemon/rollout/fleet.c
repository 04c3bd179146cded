#include "hub/daemon/rollout/fleet.h"
#include "hub/daemon/events.h"
#include "hub/daemon/rollout/history.h"
#include "hub/daemon/rollout/bundle_cache.h"
#include "hub/daemon/agents/enroll.h"
#include "hub/daemon/rollout/hold.h"
#include "hub/daemon/record.h"
#include "hub/daemon/revoked.h"
#include "hub/daemon/agents/session.h"
#include "hub/daemon/rollout/window.h"
#include "hub/daemon/agents/enrolment.h"
#include "lib/crypto/bundle.h"
#include "lib/core/clock.h"
#include "lib/wire/content_json.h"
#include "lib/wire/json.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"
#include "hub/daemon/rollout/progress.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A record holds 2,000 agents, each with a failure's text. */
enum { FLEET_RECORD_MAX = 4 * 1024 * 1024, FLEET_WAKE_MAX = 3600 };

/* A rollout with what only the daemon knows of it. */
struct fleet_item {
	struct rollout rollout;
	enum rollout_state *logged; /* each agent's state when it was last written to the log */
	uint32_t *drifts;           /* the same of its drifts, */
	uint32_t *contradictions;   /* and of its contradictions */
	bool told_no_rollback;
	struct buf saved; /* its record as it is on disk; empty: not known */
	bool was_open;
	bool stale;                        /* only when agents were last seen has changed since */
	bool broken;                       /* its store cannot be read: the record there is left alone */
	struct manifest offered, replaced; /* of the revisions that manifest_of was asked for last; not set: none */
	struct hub *hub;
	struct event *roll_back; /* publishes the old content again, from the loop */
};

struct fleet {
	struct fleet_item *items;
	size_t count;
	struct bundle_cache *bundles; /* what agents fetch now */
	struct event *timer;
	int64_t wake_at; /* when the timer is set for; 0: it is not */
};

size_t fleet_count(const struct hub *hub)
{
	return hub->fleet->count;
}

struct rollout *fleet_at(struct hub *hub, size_t index)
{
	return &hub->fleet->items[index].rollout;
}

int64_t fleet_late(const struct hub *hub)
{
	return hub->fleet->wake_at ? clock_wall() - hub->fleet->wake_at : 0;
}

static struct fleet_item *find_item(struct hub *hub, const char *certificate)
{
	for (size_t i = 0; i < hub->fleet->count; i++)
		if (strcmp(hub->fleet->items[i].rollout.certificate, certificate) == 0)
			return &hub->fleet->items[i];
	return NULL;
}

/* Every rollout that is handed out is part of an item. */
static struct fleet_item *item_of(struct rollout *r)
{
	return (struct fleet_item *)((char *)r - offsetof(struct fleet_item, rollout));
}

struct rollout *fleet_find(struct hub *hub, const char *certificate)
{
	struct fleet_item *item = find_item(hub, certificate);
	return item ? &item->rollout : NULL;
}

/* ---- what a restarted hub must know of an agent: encoder and decoder ---- */

static cJSON *place_encode(const struct rollout_agent *a)
{
	cJSON *o = cJSON_CreateObject();
	cJSON_AddNumberToObject(o, "last_seen", (double)a->last_seen);
	cJSON_AddBoolToObject(o, "failed", a->state == ROLLOUT_FAILED);
	cJSON_AddBoolToObject(o, "failed_staging", a->failed_staging);
	cJSON_AddBoolToObject(o, "failed_activation", a->failed_activation);
	cJSON_AddBoolToObject(o, "rolled_back", a->rolled_back);
	cJSON_AddNumberToObject(o, "failures", a->failures);
	cJSON_AddNumberToObject(o, "next_try", (double)a->next_try);
	cJSON_AddStringToObject(o, "step", a->step);
	cJSON_AddStringToObject(o, "text", a->text);
	cJSON_AddBoolToObject(o, "passed", a->passed);
	cJSON_AddNumberToObject(o, "drifts", a->drifts);
	cJSON_AddNumberToObject(o, "drifted", (double)a->drifted);
	cJSON_AddNumberToObject(o, "repaired", (double)a->repaired);
	cJSON_AddStringToObject(o, "drift", a->drift);
	if (content_is_set(&a->served))
		content_to_json(&a->served, cJSON_AddObjectToObject(o, "served"));
	return o;
}

/* The record of an older version has no drifts. */
static int drift_decode(const cJSON *o, struct rollout_agent *a, struct error *err)
{
	if (!json_get(o, "drifts"))
		return 0;
	const char *drift = json_string(o, "drift", sizeof(a->drift) - 1, err);
	if (!drift || json_u32(o, "drifts", &a->drifts, err) < 0 || json_i64(o, "drifted", &a->drifted, err) < 0)
		return -1;
	snprintf(a->drift, sizeof(a->drift), "%s", drift);
	return json_i64(o, "repaired", &a->repaired, err);
}

/* What an agent served last is what is known of it until it is back. The record of an older version does not say. */
static int served_decode(const cJSON *o, struct rollout_agent *a, struct error *err)
{
	if (!json_get(o, "served"))
		return 0;
	const cJSON *served = json_object(o, "served", err);
	return served ? content_from_json(served, &a->served, err) : -1;
}

static int place_decode(const cJSON *o, struct rollout_agent *a, bool with_failure, struct error *err)
{
	bool failed = false;
	if (json_i64(o, "last_seen", &a->last_seen, err) < 0 || drift_decode(o, a, err) < 0 ||
		served_decode(o, a, err) < 0)
		return -1;
	if (!with_failure)
		return 0;
	if (json_get(o, "passed") && json_bool(o, "passed", &a->passed, err) < 0)
		return -1;
	const char *step = json_string(o, "step", sizeof(a->step) - 1, err);
	const char *text = step ? json_string(o, "text", sizeof(a->text) - 1, err) : NULL;
	if (!text || json_bool(o, "failed", &failed, err) < 0 ||
		json_bool(o, "failed_staging", &a->failed_staging, err) < 0 ||
		json_bool(o, "failed_activation", &a->failed_activation, err) < 0 ||
		json_bool(o, "rolled_back", &a->rolled_back, err) < 0 ||
		json_u32(o, "failures", &a->failures, err) < 0 || json_i64(o, "next_try", &a->next_try, err) < 0)
		return -1;
	snprintf(a->step, sizeof(a->step), "%s", step);
	snprintf(a->text, sizeof(a->text), "%s", text);
	a->state = failed ? ROLLOUT_FAILED : ROLLOUT_IDLE;
	return 0;
}

/* ---- the record: encoder and decoder ---- */

static void record_encode(const struct rollout *r, struct buf *out)
{
	char text[REVISION_TEXT_MAX];
	auto_json cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "revision", revision_text(r->desired.revision, text));
	cJSON_AddNumberToObject(o, "started", (double)r->started);
	cJSON_AddBoolToObject(o, "open", r->open);
	cJSON_AddBoolToObject(o, "proceed", r->proceed);
	cJSON_AddBoolToObject(o, "urgent", r->urgent);
	cJSON_AddStringToObject(o, "old", revision_text(r->old.revision, text));
	cJSON_AddNumberToObject(o, "old_not_before", (double)r->old.not_before);
	cJSON_AddNumberToObject(o, "old_not_after", (double)r->old.not_after);
	cJSON *agents = cJSON_AddObjectToObject(o, "agents");
	for (size_t i = 0; i < r->agent_count; i++)
		cJSON_AddItemToObject(agents, r->agents[i].name, place_encode(&r->agents[i]));
	if (json_print(o, out) < 0)
		log_event(LOG_LEVEL_ERROR, "store", "certificate=%s error=\"its rollout's record is too long\"",
			r->certificate);
}

struct resumed {
	struct revision revision;
	struct content old; /* its revision and dates */
	int64_t started;
	bool open, proceed, urgent;
};

/* Takes what the record of an older version lacks. */
static int added_decode(const cJSON *o, struct resumed *ret, struct error *err)
{
	if (!json_get(o, "old"))
		return 0;
	const char *old = json_string(o, "old", REVISION_TEXT_MAX, err);
	if (!old)
		return -1;
	if (!revision_parse(old, &ret->old.revision))
		return error_set(err, ERROR_PERMANENT, "old: \"%s\" is no revision", old);
	return json_bool(o, "urgent", &ret->urgent, err);
}

/* Failures are taken over only when they are of the revision that is desired now. */
static int record_decode(
	const cJSON *o, struct rollout *r, struct revision desired, struct resumed *ret, struct error *err)
{
	const char *revision = json_string(o, "revision", REVISION_TEXT_MAX, err);
	const cJSON *agents = revision ? json_object(o, "agents", err) : NULL;
	if (!agents)
		return -1;
	if (!revision_parse(revision, &ret->revision))
		return error_set(err, ERROR_PERMANENT, "revision: \"%s\" is none", revision);
	bool same = revision_compare(ret->revision, desired) == 0;
	for (size_t i = 0; i < r->agent_count; i++) {
		const cJSON *place = json_get(agents, r->agents[i].name);
		if (place && place_decode(place, &r->agents[i], same, err) < 0)
			return error_wrap(err, "agent %s", r->agents[i].name);
	}
	if (json_i64(o, "started", &ret->started, err) < 0 ||
		json_i64(o, "old_not_before", &ret->old.not_before, err) < 0 ||
		json_i64(o, "old_not_after", &ret->old.not_after, err) < 0 ||
		json_bool(o, "open", &ret->open, err) < 0 || added_decode(o, ret, err) < 0)
		return -1;
	return json_bool(o, "proceed", &ret->proceed, err);
}

static struct record record_of(const struct rollout *r)
{
	return (struct record){"rollouts", r->certificate, "state.json", FLEET_RECORD_MAX,
		"the rollout begins anew, which loses nothing"};
}

/* Writes the record if it has changed. */
static void save(struct hub *hub, struct fleet_item *item)
{
	const struct record record = record_of(&item->rollout);
	struct error err;
	auto_buf struct buf text = BUF_INIT(FLEET_RECORD_MAX);
	item->stale = false;
	if (item->broken || revision_is_placeholder(item->rollout.desired.revision))
		return;
	record_encode(&item->rollout, &text);
	if (text.len == item->saved.len && memcmp(text.data, item->saved.data, text.len) == 0)
		return;
	if (store_put(hub->store, record.kind, record.name, record.file, text.data, text.len, &err) < 0) {
		log_event(LOG_LEVEL_ERROR, "store", "certificate=%s error=\"%s\"", item->rollout.certificate,
			err.message);
		return;
	}
	buf_reset(&item->saved);
	buf_add(&item->saved, text.data, text.len);
}

/* Returns 1, or 0 when there is none that can be read. */
static int restore(struct hub *hub, struct rollout *r, struct revision desired, struct resumed *ret)
{
	const struct record record = record_of(r);
	struct error err;
	auto_json cJSON *o = NULL;
	int got = record_get(hub->store, &record, &o, &err);
	if (got == 0 || (got > 0 && record_decode(o, r, desired, ret, &err) == 0))
		return got;
	record_damaged(hub->store, &record, &err);
	return 0;
}

/* ---- what every event ends with: send, log, wake ---- */

/* Returns what `kept` holds once that is this revision's manifest: it never changes, so it is read and parsed once, and
 * not once for each agent. Returns NULL when the store cannot give it. */
static const struct manifest *manifest_of(
	struct fleet_item *item, struct manifest *kept, struct revision revision, struct error *err)
{
	if (content_is_set(&kept->content) && revision_compare(kept->content.revision, revision) == 0)
		return kept;
	manifest_release(kept);
	int found = store_manifest(item->hub->store, item->rollout.certificate, revision, kept, err);
	if (found == 0)
		error_set(err, ERROR_PERMANENT, "the store has no such revision any more");
	return found > 0 ? kept : NULL;
}

static int fill_offer(struct fleet_item *item, struct message *offer, struct error *err)
{
	const struct manifest *m = manifest_of(item, &item->offered, item->rollout.desired.revision, err);
	if (!m)
		return -1;
	offer->content = m->content;
	offer->may_expire_sooner = m->flags & BUNDLE_MAY_EXPIRE_SOONER;
	offer->rollback = m->flags & BUNDLE_ROLLBACK;
	for (size_t i = 0; i < m->name_count; i++)
		message_add_name(offer, m->names[i]);
	return 0;
}

static int send_action(struct fleet_item *item, const struct rollout_action *action, struct error *err)
{
	const struct rollout *r = &item->rollout;
	struct rollout_agent *a = action->agent;
	struct session *session = session_find(item->hub, a->name);
	if (!session)
		return error_set(err, ERROR_RETRY, "agent %s is not connected", a->name);
	auto_message struct message m = {
		.content.revision = r->desired.revision, .attempt = a->attempt, .force = a->force};
	snprintf(m.certificate, sizeof(m.certificate), "%s", r->certificate);
	if (action->type == ROLLOUT_SEND_OFFER && fill_offer(item, &m, err) < 0)
		return -1;
	m.type = action->type == ROLLOUT_SEND_OFFER     ? MESSAGE_OFFER
		: action->type == ROLLOUT_SEND_ACTIVATE ? MESSAGE_ACTIVATE
							: MESSAGE_PROBE;
	m.timeout = (uint32_t)r->activate_timeout;
	session_send(session, &m);
	return 0;
}

/* Each change of state is this one line. */
static void log_change(const struct rollout *r, const struct rollout_agent *a)
{
	char text[REVISION_TEXT_MAX];
	bool trouble = a->state == ROLLOUT_FAILED || a->state == ROLLOUT_AHEAD;
	const char *state = rollout_state_name(rollout_agent_state(a));
	log_event(trouble                              ? LOG_LEVEL_WARNING
			: a->state == ROLLOUT_VERIFIED ? LOG_LEVEL_NOTICE
						       : LOG_LEVEL_INFO,
		"rollout",
		"certificate=%s revision=%s agent=%s state=%s step=%s stage_ms=%u activate_ms=%u rolled_back=%d reason=\"%s\"",
		r->certificate, revision_text(r->desired.revision, text), a->name, state, trouble ? a->step : state,
		a->stage_ms, a->activate_ms, a->rolled_back, trouble ? a->text : "");
}

static void log_rollback(struct fleet_item *item)
{
	const struct rollout *r = &item->rollout;
	if (r->no_rollback[0] && !item->told_no_rollback)
		log_event(LOG_LEVEL_ERROR, "rollout",
			"certificate=%s on_failure=rollback_all reason=\"not rolled back: %s\"", r->certificate,
			r->no_rollback);
	item->told_no_rollback = r->no_rollback[0];
}

static void log_changes(struct fleet_item *item)
{
	const struct rollout *r = &item->rollout;
	for (size_t i = 0; i < r->agent_count; i++) {
		const struct rollout_agent *a = &r->agents[i];
		if (item->drifts[i] != a->drifts && session_may_complain(item->hub, a->name))
			log_event(LOG_LEVEL_WARNING, "drift", "certificate=%s agent=%s times=%u reason=\"%s\"",
				r->certificate, a->name, a->drifts, a->drift);
		item->drifts[i] = a->drifts;
		if (item->contradictions[i] != a->contradictions && session_may_complain(item->hub, a->name))
			log_event(LOG_LEVEL_WARNING, "contradiction", "certificate=%s agent=%s times=%u reason=\"%s\"",
				r->certificate, a->name, a->contradictions, a->contradiction);
		item->contradictions[i] = a->contradictions;
		if (item->logged[i] == a->state)
			continue;
		item->logged[i] = a->state;
		log_change(r, a);
		if (a->state == ROLLOUT_VERIFIED)
			item->hub->events->verified(item->hub, r->certificate);
	}
	log_rollback(item);
}

/* Sets the timer unless it is set for sooner. */
static void wake_at(struct fleet *fleet, int64_t when, int64_t now)
{
	const struct timeval delay = {when > now ? when - now : 1, 0};
	if (fleet->wake_at && fleet->wake_at <= when)
		return;
	fleet->wake_at = when;
	event_add(fleet->timer, &delay);
}

/* Returns whether this decides who may activate. Such a decision is kept before it is acted upon. */
static bool decides(const struct fleet_item *item)
{
	const struct rollout *r = &item->rollout;
	for (size_t i = 0; i < r->agent_count; i++)
		if (item->logged[i] != r->agents[i].state &&
			(item->logged[i] == ROLLOUT_FAILED || r->agents[i].state == ROLLOUT_FAILED))
			return true;
	return item->was_open != r->open;
}

static void settle(struct hub *hub, struct fleet_item *item, const struct rollout_actions *actions)
{
	struct error err;
	int64_t now = clock_wall();
	item->stale = true;
	if (decides(item))
		save(hub, item);
	item->was_open = item->rollout.open;
	if (actions->roll_back)
		event_active(item->roll_back, 0, 0);
	for (size_t i = 0; i < actions->count; i++)
		if (send_action(item, &actions->action[i], &err) < 0)
			log_event(LOG_LEVEL_ERROR, "rollout", "certificate=%s agent=%s error=\"%s\"",
				item->rollout.certificate, actions->action[i].agent->name, err.message);
	log_changes(item);
	history_note(hub, &item->rollout);
	hub->events->changed(hub, &item->rollout);
	wake_at(hub->fleet, rollout_next(&item->rollout, now), now);
}

static bool still_wanted(struct fleet_item *item)
{
	auto_actions struct rollout_actions actions = {0};
	rollout_tick(&item->rollout, clock_wall(), &actions);
	bool wanted = actions.roll_back;
	actions.roll_back = false;
	settle(item->hub, item, &actions);
	return wanted;
}

/* An agent has failed, and all go back. This has a turn of the loop of its own, since publishing comes back here. */
static void on_roll_back(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	struct error err;
	struct fleet_item *item = context;
	struct rollout *r = &item->rollout;
	if (!still_wanted(item))
		return;
	const struct hub_certificate *certificate = hub_config_certificate(item->hub->config, r->certificate);
	const struct revision old = r->old.revision;
	if (item->hub->events->roll_back(item->hub, certificate, &old, "because an activation failed", &err) == 0)
		return;
	rollout_no_rollback(r, err.message, clock_wall());
	auto_actions struct rollout_actions none = {0};
	settle(item->hub, item, &none);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	struct hub *hub = context;
	struct fleet *fleet = hub->fleet;
	int64_t now = clock_wall();
	fleet->wake_at = 0;
	for (size_t i = 0; i < fleet->count; i++) {
		struct fleet_item *item = &fleet->items[i];
		int64_t next = rollout_next(&item->rollout, now);
		if (item->stale)
			save(hub, item);
		if (next > now) {
			wake_at(fleet, next, now);
			continue;
		}
		auto_actions struct rollout_actions actions = {0};
		rollout_tick(&item->rollout, now, &actions);
		settle(hub, item, &actions);
	}
	/* The wall clock may be set, so it looks again within the hour. */
	wake_at(fleet, now + FLEET_WAKE_MAX, now);
}

/* ---- opening ---- */

static int load_content(struct hub *hub, const char *certificate, struct rollout_content *ret, struct error *err)
{
	struct error ignored;
	auto_manifest struct manifest m = {0};
	auto_manifest struct manifest old = {0};
	int had = store_current(hub->store, certificate, &m, err);
	if (had <= 0)
		return had;
	*ret = (struct rollout_content){.desired = m.content, .immediate = m.flags & BUNDLE_ROLLBACK};
	struct revision before = {m.content.revision.epoch, m.content.revision.number - 1};
	if (store_manifest(hub->store, certificate, before, &old, &ignored) > 0) {
		ret->old = old.content;
		/* The revocation is known again though the hub was killed before it had noted it. */
		struct revoked how;
		ret->urgent = revoked_find(hub->store, certificate, old.content.leaf, &how);
	}
	return 1;
}

static int resume(struct hub *hub, struct fleet_item *item, struct error *err)
{
	struct rollout *r = &item->rollout;
	struct rollout_content content;
	struct resumed record = {0};
	int had = load_content(hub, r->certificate, &content, err);
	if (had <= 0)
		return had;
	if (restore(hub, r, content.desired.revision, &record) > 0 &&
		revision_compare(record.revision, content.desired.revision) == 0) {
		content.old = record.old;
		content.urgent = record.urgent;
		rollout_resume(r, &content, record.started, record.open, record.proceed);
		return 0;
	}
	/* The hub was ended between the publish and its record, so the rollout begins now. */
	auto_actions struct rollout_actions actions = {0};
	rollout_publish(r, &content, clock_wall(), &actions);
	save(hub, item);
	return 0;
}

static bool is_canary(const struct hub_certificate *certificate, const char *agent)
{
	for (char **name = certificate->canary; name && *name; name++)
		if (strcmp(*name, agent) == 0)
			return true;
	return false;
}

/* A certificate whose store is damaged is shown as such, and the others go on. */
static void open_item(struct hub *hub, struct fleet_item *item, const struct hub_certificate *certificate)
{
	struct error err;
	item->saved = BUF_INIT(FLEET_RECORD_MAX);
	item->hub = hub;
	item->roll_back = event_new(hub->base, -1, 0, on_roll_back, item);
	if (!item->roll_back)
		mem_abort(__func__);
	rollout_init(&item->rollout, certificate);
	item->rollout.local_minute = window_local_minute;
	for (size_t i = 0; i < hub->config->agent_count; i++)
		if (hub_agent_has(&hub->config->agents[i], certificate->name))
			rollout_add_agent(&item->rollout, hub->config->agents[i].name,
				is_canary(certificate, hub->config->agents[i].name));
	item->logged = mem_array(item->rollout.agent_count, sizeof(*item->logged));
	item->drifts = mem_array(item->rollout.agent_count, sizeof(*item->drifts));
	item->contradictions = mem_array(item->rollout.agent_count, sizeof(*item->contradictions));
	if (resume(hub, item, &err) < 0) {
		item->broken = true;
		log_event(LOG_LEVEL_ERROR, "store", "certificate=%s error=\"%s\"", certificate->name, err.message);
	}
	item->was_open = item->rollout.open;
	hold_restore(hub, &item->rollout);
	for (size_t i = 0; i < item->rollout.agent_count; i++) {
		item->logged[i] = item->rollout.agents[i].state;
		item->drifts[i] = item->rollout.agents[i].drifts;
	}
	int64_t now = clock_wall();
	wake_at(hub->fleet, rollout_next(&item->rollout, now), now);
}

void fleet_open(struct hub *hub)
{
	struct fleet *fleet = mem_alloc(sizeof(*fleet));
	hub->fleet = fleet;
	fleet->count = hub->config->certificate_count;
	fleet->items = mem_array(fleet->count, sizeof(*fleet->items));
	fleet->bundles = bundle_cache_new(hub);
	fleet->timer = event_new(hub->base, -1, 0, on_timer, hub);
	if (!fleet->timer)
		mem_abort(__func__);
	for (size_t i = 0; i < fleet->count; i++)
		open_item(hub, &fleet->items[i], &hub->config->certificates[i]);
	wake_at(fleet, clock_wall() + FLEET_WAKE_MAX, clock_wall());
}

void fleet_close(struct hub *hub)
{
	struct fleet *fleet = hub->fleet;
	if (!fleet)
		return;
	for (size_t i = 0; i < fleet->count; i++) {
		if (fleet->items[i].stale)
			save(hub, &fleet->items[i]);
		buf_release(&fleet->items[i].saved);
		manifest_release(&fleet->items[i].offered);
		manifest_release(&fleet->items[i].replaced);
		rollout_release(&fleet->items[i].rollout);
		free(fleet->items[i].logged);
		free(fleet->items[i].drifts);
		free(fleet->items[i].contradictions);
		event_free(fleet->items[i].roll_back);
	}
	free(fleet->items);
	bundle_cache_free(fleet->bundles);
	event_free(fleet->timer);
	free(fleet);
	hub->fleet = NULL;
}

/* ---- events ---- */

void fleet_publish(
	struct hub *hub, const char *certificate, const struct manifest *now_desired, const struct manifest *old)
{
	struct fleet_item *item = find_item(hub, certificate);
	if (!item)
		return; /* hub.conf no longer has it */
	auto_actions struct rollout_actions actions = {0};
	struct rollout_content content = {.desired = now_desired->content,
		.immediate = now_desired->flags & BUNDLE_ROLLBACK,
		.urgent = now_desired->urgent};
	if (old)
		content.old = old->content;
	item->broken = false;
	rollout_publish(&item->rollout, &content, clock_wall(), &actions);
	save(hub, item);
	settle(hub, item, &actions);
}

/* Returns the agent's place in the rollout that a message is about, or NULL (and writes a line in the log) when it has
 * none. */
static struct rollout_agent *find_place(
	struct hub *hub, const char *agent, const struct message *m, struct fleet_item **ret_item)
{
	struct fleet_item *item = find_item(hub, m->certificate);
	struct rollout_agent *a = item ? rollout_find(&item->rollout, agent) : NULL;
	if (!a && session_may_complain(hub, agent))
		log_event(LOG_LEVEL_WARNING, "refused",
			"agent=%s certificate=%s message=%s reason=\"hub.conf does not assign it\"", agent,
			m->certificate, message_type_name(m->type));
	*ret_item = item;
	return a;
}

void fleet_inventory(struct hub *hub, const char *agent, const struct message *inventory)
{
	struct fleet_item *item;
	struct rollout_agent *a = find_place(hub, agent, inventory, &item);
	if (!a)
		return;
	auto_actions struct rollout_actions actions = {0};
	rollout_hello(&item->rollout, a, inventory, clock_wall(), &actions);
	/* This comes before what is offered. */
	if (a->held_until || inventory->held)
		hold_tell(hub, &item->rollout, a);
	settle(hub, item, &actions);
}

void fleet_hello_done(struct hub *hub, const char *agent)
{
	for (size_t i = 0; i < hub->fleet->count; i++) {
		struct rollout *r = &hub->fleet->items[i].rollout;
		struct rollout_agent *a = rollout_find(r, agent);
		if (!a || a->connected)
			continue;
		rollout_no_section(r, a, clock_wall());
		log_event(LOG_LEVEL_WARNING, "rollout", "certificate=%s agent=%s reason=\"%s\"", r->certificate, agent,
			a->text);
		hub->events->changed(hub, r);
	}
}

void fleet_answer(struct hub *hub, const char *agent, const struct message *m)
{
	struct fleet_item *item;
	struct rollout_agent *a = find_place(hub, agent, m, &item);
	if (!a)
		return;
	auto_actions struct rollout_actions actions = {0};
	if (m->type == MESSAGE_PULL)
		rollout_pull(&item->rollout, a, clock_wall(), &actions);
	else if (!rollout_answer(&item->rollout, a, m, clock_wall(), &actions) && session_may_complain(hub, agent))
		log_event(LOG_LEVEL_INFO, "stale", "certificate=%s agent=%s message=%s attempt=%u", m->certificate,
			agent, message_type_name(m->type), m->attempt);
	settle(hub, item, &actions);
}

/* Agents older than protocol 2 refuse a flag that they do not know. */
static bool must_not_return(struct fleet_item *item, const struct rollout_agent *a, const struct session *session)
{
	struct error ignored;
	struct revoked how;
	if (session_protocol(session) < 2)
		return false;
	const struct manifest *m = manifest_of(item, &item->replaced, a->served.revision, &ignored);
	return m && revoked_find(item->hub->store, item->rollout.certificate, m->content.leaf, &how);
}

/* Seals to the key that belongs to the one by which this session came in, and to no other. */
static int seal_for(struct hub *hub, const struct rollout *r, const struct session *session, uint16_t more_flags,
	struct buf *out, struct error *err)
{
	struct enrolled_key key;
	const char *agent = session_agent(session);
	int found = enrolment_find_key(hub, agent, session_key(session), &key, err);
	if (found < 0)
		return -1;
	if (found == 0)
		return error_set(err, ERROR_USAGE, "agent %s has no sealing key here: certsync agent add %s --key -",
			agent, agent);
	return bundle_cache_seal(
		hub->fleet->bundles, r->certificate, r->desired.revision, more_flags, key.seal, out, err);
}

void fleet_fetch(struct hub *hub, struct session *session, const struct message *m)
{
	struct fleet_item *item;
	struct error err;
	const char *agent = session_agent(session);
	struct rollout_agent *a = find_place(hub, agent, m, &item);
	if (!a)
		return;
	if (!rollout_may_fetch(&item->rollout, a, m)) {
		if (session_may_complain(hub, agent))
			log_event(LOG_LEVEL_INFO, "stale", "certificate=%s agent=%s message=fetch attempt=%u",
				m->certificate, agent, m->attempt);
		return;
	}
	auto_buf struct buf bundle = BUF_INIT(BUNDLE_MAX);
	a->fetched = true;
	uint16_t more = must_not_return(item, a, session) ? BUNDLE_NO_RETURN : 0;
	if (seal_for(hub, &item->rollout, session, more, &bundle, &err) == 0) {
		session_send_bundle(session, bundle.data, bundle.len);
		return;
	}
	/* This is the hub's own trouble, and is shown where everything about this agent is shown. */
	struct message failed = {
		.type = MESSAGE_FAILED, .content.revision = m->content.revision, .attempt = m->attempt};
	snprintf(failed.certificate, sizeof(failed.certificate), "%s", m->certificate);
	snprintf(failed.step, sizeof(failed.step), "fetch");
	snprintf(failed.text, sizeof(failed.text), "%s", err.message);
	fleet_answer(hub, agent, &failed);
}

void fleet_lost(struct hub *hub, const char *agent)
{
	for (size_t i = 0; i < hub->fleet->count; i++) {
		struct fleet_item *item = &hub->fleet->items[i];
		struct rollout_agent *a = rollout_find(&item->rollout, agent);
		if (!a || !a->connected)
			continue;
		auto_actions struct rollout_actions actions = {0};
		rollout_lost(&item->rollout, a, clock_wall(), &actions);
		settle(hub, item, &actions);
	}
}

void fleet_retry(struct hub *hub, struct rollout *r, const char *agent, bool force)
{
	struct fleet_item *item = item_of(r);
	auto_actions struct rollout_actions actions = {0};
	for (size_t i = 0; i < r->agent_count; i++)
		if (!agent || strcmp(r->agents[i].name, agent) == 0)
			rollout_retry(r, &r->agents[i], force, clock_wall(), &actions);
	settle(hub, item, &actions);
}

void fleet_hold(struct hub *hub, struct rollout *r, struct rollout_agent *a, int64_t until)
{
	struct fleet_item *item = item_of(r);
	auto_actions struct rollout_actions actions = {0};
	rollout_hold(r, a, until, clock_wall(), &actions);
	hold_tell(hub, r, a);
	settle(hub, item, &actions);
}

void fleet_proceed(struct hub *hub, struct rollout *r)
{
	struct fleet_item *item = item_of(r);
	auto_actions struct rollout_actions actions = {0};
	rollout_proceed(r, clock_wall(), &actions);
	save(hub, item);
	settle(hub, item, &actions);
}
