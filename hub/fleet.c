#include "hub/fleet.h"
#include "hub/control.h"
#include "hub/enroll.h"
#include "hub/session.h"
#include "lib/bundle.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FLEET_RECORD_MAX = 1024 * 1024, FLEET_WAKE_MAX = 3600 };

/* A rollout with what only the daemon knows of it. */
struct fleet_item {
	struct rollout rollout;
	enum rollout_state *logged; /* each agent's state when it was last written to the log */
	bool was_open;
};

struct fleet {
	struct fleet_item *items;
	size_t count;
	struct event *timer;
};

size_t fleet_count(const struct hub *hub)
{
	return hub->fleet->count;
}

struct rollout *fleet_at(struct hub *hub, size_t index)
{
	return &hub->fleet->items[index].rollout;
}

static struct fleet_item *find_item(struct hub *hub, const char *certificate)
{
	for (size_t i = 0; i < hub->fleet->count; i++)
		if (strcmp(hub->fleet->items[i].rollout.certificate, certificate) == 0)
			return &hub->fleet->items[i];
	return NULL;
}

struct rollout *fleet_find(struct hub *hub, const char *certificate)
{
	struct fleet_item *item = find_item(hub, certificate);
	return item ? &item->rollout : NULL;
}

/* The record: encoder and decoder. */

static void record_encode(const struct rollout *r, struct buf *out)
{
	char text[REVISION_TEXT_MAX];
	auto_json cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "revision", revision_text(r->desired, text));
	cJSON_AddNumberToObject(o, "started", (double)r->started);
	cJSON_AddBoolToObject(o, "open", r->open);
	cJSON_AddBoolToObject(o, "proceed", r->proceed);
	cJSON_AddNumberToObject(o, "old_not_before", (double)r->old_not_before);
	cJSON_AddNumberToObject(o, "old_not_after", (double)r->old_not_after);
	cJSON *seen = cJSON_AddObjectToObject(o, "seen");
	for (size_t i = 0; i < r->agent_count; i++)
		cJSON_AddNumberToObject(seen, r->agents[i].name, (double)r->agents[i].last_seen);
	if (json_print(o, out) < 0)
		log_event(LOG_LEVEL_ERROR, "store", "certificate=%s error=\"its rollout's record is too long\"",
			r->certificate);
}

struct record {
	struct revision revision;
	int64_t started, old_not_before, old_not_after;
	bool open, proceed;
};

static int record_decode(const cJSON *o, struct rollout *r, struct record *ret, struct error *err)
{
	struct error ignored;
	const char *revision = json_string(o, "revision", REVISION_TEXT_MAX, err);
	const cJSON *seen = revision ? json_object(o, "seen", err) : NULL;
	if (!seen)
		return -1;
	if (!revision_parse(revision, &ret->revision))
		return error_set(err, ERROR_PERMANENT, "revision: \"%s\" is none", revision);
	for (size_t i = 0; i < r->agent_count; i++)
		if (json_i64(seen, r->agents[i].name, &r->agents[i].last_seen, &ignored) < 0)
			r->agents[i].last_seen = 0;
	if (json_i64(o, "started", &ret->started, err) < 0 ||
		json_i64(o, "old_not_before", &ret->old_not_before, err) < 0 ||
		json_i64(o, "old_not_after", &ret->old_not_after, err) < 0 ||
		json_bool(o, "open", &ret->open, err) < 0)
		return -1;
	return json_bool(o, "proceed", &ret->proceed, err);
}

static void save(struct hub *hub, const struct rollout *r)
{
	struct error err;
	auto_buf struct buf text = BUF_INIT(FLEET_RECORD_MAX);
	record_encode(r, &text);
	if (store_put(hub->store, "rollouts", r->certificate, "state.json", text.data, text.len, &err) < 0)
		log_event(LOG_LEVEL_ERROR, "store", "certificate=%s error=\"%s\"", r->certificate, err.message);
}

/* -1 only when the record is there and cannot be read; then the rollout begins anew, which loses nothing. */
static int restore(struct hub *hub, struct rollout *r, struct record *ret, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(FLEET_RECORD_MAX);
	int got = store_get(hub->store, "rollouts", r->certificate, "state.json", &text, err);
	if (got <= 0)
		return got;
	auto_json cJSON *o = json_parse(text.data, text.len, err);
	if (!o || record_decode(o, r, ret, err) < 0)
		return error_wrap(err, "the record of %s's rollout", r->certificate);
	return 1;
}

/* What every event ends with: send, log, wake. */

static void fill_offer(const struct rollout *r, const struct manifest *m, struct message *offer)
{
	char hex[CHAIN_HEX_MAX];
	snprintf(offer->digest, sizeof(offer->digest), "%s", r->digest);
	snprintf(offer->fingerprint, sizeof(offer->fingerprint), "%s", chain_hex(m->fingerprint, hex));
	offer->not_before = m->not_before;
	offer->not_after = m->not_after;
	offer->may_expire_sooner = m->flags & BUNDLE_MAY_EXPIRE_SOONER;
	offer->rollback = m->flags & BUNDLE_ROLLBACK;
	for (size_t i = 0; i < m->name_count; i++)
		message_add_name(offer, m->names[i]);
}

static int send_action(struct hub *hub, const struct rollout *r, const struct rollout_action *action,
	struct error *err)
{
	struct rollout_agent *a = action->agent;
	struct session *session = session_find(hub, a->name);
	if (!session)
		return error_set(err, ERROR_RETRY, "agent %s is not connected", a->name);
	auto_message struct message m = {.revision = r->desired, .attempt = a->attempt, .force = a->force};
	snprintf(m.certificate, sizeof(m.certificate), "%s", r->certificate);
	if (action->type == ROLLOUT_SEND_ACTIVATE) {
		m.type = MESSAGE_ACTIVATE;
		m.timeout = (uint32_t)r->activate_timeout;
	} else {
		auto_manifest struct manifest manifest = {0};
		if (store_current(hub->store, r->certificate, &manifest, err) < 0)
			return -1;
		m.type = MESSAGE_OFFER;
		fill_offer(r, &manifest, &m);
	}
	session_send(session, &m);
	return 0;
}

static void log_change(const struct rollout *r, const struct rollout_agent *a)
{
	char text[REVISION_TEXT_MAX];
	if (a->state == ROLLOUT_FAILED || a->state == ROLLOUT_AHEAD)
		log_event(LOG_LEVEL_WARNING, "rollout",
			"certificate=%s revision=%s agent=%s state=%s step=%s rolled_back=%d reason=\"%s\"", r->certificate,
			revision_text(r->desired, text), a->name, rollout_state_name(a->state), a->step, a->rolled_back, a->text);
	else
		log_event(a->state == ROLLOUT_VERIFIED ? LOG_LEVEL_NOTICE : LOG_LEVEL_INFO, "rollout",
			"certificate=%s revision=%s agent=%s state=%s stage_ms=%u activate_ms=%u", r->certificate,
			revision_text(r->desired, text), a->name, rollout_state_name(a->state), a->stage_ms, a->activate_ms);
}

static void log_changes(struct hub *hub, struct fleet_item *item)
{
	struct rollout *r = &item->rollout;
	for (size_t i = 0; i < r->agent_count; i++) {
		if (item->logged[i] == r->agents[i].state)
			continue;
		item->logged[i] = r->agents[i].state;
		log_change(r, &r->agents[i]);
	}
	if (item->was_open != r->open) {
		item->was_open = r->open;
		save(hub, r);
	}
}

static void wake_later(struct hub *hub)
{
	int64_t now = clock_wall();
	int64_t next = now + FLEET_WAKE_MAX; /* the wall clock may be set: look again now and then */
	for (size_t i = 0; i < hub->fleet->count; i++) {
		int64_t when = rollout_next(&hub->fleet->items[i].rollout, now);
		next = when < next ? when : next;
	}
	const struct timeval delay = {next > now ? next - now : 1, 0};
	event_add(hub->fleet->timer, &delay);
}

static void settle(struct hub *hub, struct fleet_item *item, const struct rollout_actions *actions)
{
	struct error err;
	for (size_t i = 0; i < actions->count; i++)
		if (send_action(hub, &item->rollout, &actions->action[i], &err) < 0)
			log_event(LOG_LEVEL_ERROR, "rollout", "certificate=%s agent=%s error=\"%s\"", item->rollout.certificate,
				actions->action[i].agent->name, err.message);
	log_changes(hub, item);
	control_changed(hub, &item->rollout);
	wake_later(hub);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	struct hub *hub = context;
	for (size_t i = 0; i < hub->fleet->count; i++) {
		struct fleet_item *item = &hub->fleet->items[i];
		auto_actions struct rollout_actions actions = {0};
		rollout_tick(&item->rollout, clock_wall(), &actions);
		settle(hub, item, &actions);
	}
}

/* Opening. */

static int load_content(struct hub *hub, const char *certificate, struct rollout_content *ret, struct error *err)
{
	char hex[CHAIN_HEX_MAX];
	auto_manifest struct manifest m = {0};
	int had = store_current(hub->store, certificate, &m, err);
	if (had <= 0)
		return had;
	*ret = (struct rollout_content){.revision = m.revision};
	snprintf(ret->digest, sizeof(ret->digest), "%s", chain_hex(m.digest, hex));
	return 1;
}

static int resume(struct hub *hub, struct rollout *r, struct error *err)
{
	struct rollout_content content;
	struct record record = {0};
	struct error broken;
	int had = load_content(hub, r->certificate, &content, err);
	if (had <= 0)
		return had;
	int restored = restore(hub, r, &record, &broken);
	if (restored < 0)
		log_event(LOG_LEVEL_WARNING, "store", "certificate=%s error=\"%s\"", r->certificate, broken.message);
	if (restored > 0 && revision_compare(record.revision, content.revision) == 0) {
		content.old_not_before = record.old_not_before;
		content.old_not_after = record.old_not_after;
		rollout_resume(r, &content, record.started, record.open, record.proceed);
		return 0;
	}
	/* The hub was ended between the publish and its record: the rollout begins now. */
	auto_actions struct rollout_actions actions = {0};
	rollout_publish(r, &content, clock_wall(), &actions);
	save(hub, r);
	return 0;
}

static int open_item(struct hub *hub, struct fleet_item *item, const struct hub_certificate *certificate,
	struct error *err)
{
	rollout_init(&item->rollout, certificate);
	for (size_t i = 0; i < hub->config->agent_count; i++)
		if (hub_agent_has(&hub->config->agents[i], certificate->name))
			rollout_add_agent(&item->rollout, hub->config->agents[i].name);
	item->logged = mem_array(item->rollout.agent_count, sizeof(*item->logged));
	if (resume(hub, &item->rollout, err) < 0)
		return error_wrap(err, "certificate %s", certificate->name);
	item->was_open = item->rollout.open;
	return 0;
}

int fleet_open(struct hub *hub, struct error *err)
{
	struct fleet *fleet = mem_alloc(sizeof(*fleet));
	hub->fleet = fleet;
	fleet->count = hub->config->certificate_count;
	fleet->items = mem_array(fleet->count, sizeof(*fleet->items));
	fleet->timer = event_new(hub->base, -1, 0, on_timer, hub);
	if (!fleet->timer)
		abort();
	for (size_t i = 0; i < fleet->count; i++)
		if (open_item(hub, &fleet->items[i], &hub->config->certificates[i], err) < 0)
			return -1;
	wake_later(hub);
	return 0;
}

void fleet_close(struct hub *hub)
{
	struct fleet *fleet = hub->fleet;
	if (!fleet)
		return;
	for (size_t i = 0; i < fleet->count; i++) {
		if (fleet->items[i].rollout.certificate[0])
			save(hub, &fleet->items[i].rollout);
		rollout_release(&fleet->items[i].rollout);
		free(fleet->items[i].logged);
	}
	free(fleet->items);
	event_free(fleet->timer);
	free(fleet);
	hub->fleet = NULL;
}

/* Events. */

void fleet_publish(struct hub *hub, const char *certificate, const struct manifest *now_desired,
	const struct manifest *old)
{
	char hex[CHAIN_HEX_MAX];
	struct fleet_item *item = find_item(hub, certificate);
	auto_actions struct rollout_actions actions = {0};
	struct rollout_content content = {.revision = now_desired->revision};
	snprintf(content.digest, sizeof(content.digest), "%s", chain_hex(now_desired->digest, hex));
	if (old) {
		content.old_not_before = old->not_before;
		content.old_not_after = old->not_after;
	}
	rollout_publish(&item->rollout, &content, clock_wall(), &actions);
	save(hub, &item->rollout);
	settle(hub, item, &actions);
}

/* The agent's place in the rollout that a message is about; NULL (and a line in the log) when it has none. */
static struct rollout_agent *find_place(struct hub *hub, const char *agent, const struct message *m,
	struct fleet_item **ret_item)
{
	struct fleet_item *item = find_item(hub, m->certificate);
	struct rollout_agent *a = item ? rollout_find(&item->rollout, agent) : NULL;
	if (!a)
		log_event(LOG_LEVEL_WARNING, "refused", "agent=%s certificate=%s message=%s reason=\"hub.conf does not assign it\"",
			agent, m->certificate, message_type_name(m->type));
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
	settle(hub, item, &actions);
}

void fleet_hello_done(struct hub *hub, const char *agent)
{
	for (size_t i = 0; i < hub->fleet->count; i++) {
		struct rollout_agent *a = rollout_find(&hub->fleet->items[i].rollout, agent);
		if (!a || a->connected)
			continue;
		a->last_seen = clock_wall();
		snprintf(a->step, sizeof(a->step), "configuration");
		snprintf(a->text, sizeof(a->text), "agent.conf there has no section certificate \"%s\"",
			hub->fleet->items[i].rollout.certificate);
		log_event(LOG_LEVEL_WARNING, "rollout", "certificate=%s agent=%s reason=\"%s\"",
			hub->fleet->items[i].rollout.certificate, agent, a->text);
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
		rollout_retry(&item->rollout, a, false, clock_wall(), &actions);
	else if (!rollout_answer(&item->rollout, a, m, clock_wall(), &actions))
		log_event(LOG_LEVEL_INFO, "stale", "certificate=%s agent=%s message=%s attempt=%u", m->certificate, agent,
			message_type_name(m->type), m->attempt);
	settle(hub, item, &actions);
}

static int seal_for(struct hub *hub, const struct rollout *r, const char *agent, struct buf *out, struct error *err)
{
	struct enrolment enrolment;
	auto_bundle struct bundle b = {.revision = r->desired};
	auto_manifest struct manifest manifest = {0};
	int found = enroll_find(hub, agent, &enrolment, err);
	if (found < 0)
		return -1;
	if (found == 0)
		return error_set(err, ERROR_USAGE, "agent %s has no sealing key here: certsync agent add %s --key -", agent,
			agent);
	if (store_load(hub->store, r->certificate, r->desired, b.pairs, &b.pair_count, &manifest, err) < 0)
		return -1;
	snprintf(b.certificate, sizeof(b.certificate), "%s", r->certificate);
	b.flags = manifest.flags;
	return bundle_seal(&b, enrolment.seal, hub->sign_private, out, err);
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
		log_event(LOG_LEVEL_INFO, "stale", "certificate=%s agent=%s message=fetch attempt=%u", m->certificate, agent,
			m->attempt);
		return;
	}
	auto_buf struct buf bundle = BUF_INIT(BUNDLE_MAX);
	if (seal_for(hub, &item->rollout, agent, &bundle, &err) == 0) {
		session_send_bundle(session, bundle.data, bundle.len);
		return;
	}
	/* The hub's own trouble, shown where everything about this agent is shown. */
	struct message failed = {.type = MESSAGE_FAILED, .revision = m->revision, .attempt = m->attempt};
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
		save(hub, &item->rollout);
	}
}

void fleet_retry(struct hub *hub, struct rollout *r, const char *agent, bool force)
{
	struct fleet_item *item = find_item(hub, r->certificate);
	auto_actions struct rollout_actions actions = {0};
	for (size_t i = 0; i < r->agent_count; i++)
		if (!agent || strcmp(r->agents[i].name, agent) == 0)
			rollout_retry(r, &r->agents[i], force, clock_wall(), &actions);
	settle(hub, item, &actions);
}

void fleet_proceed(struct hub *hub, struct rollout *r)
{
	struct fleet_item *item = find_item(hub, r->certificate);
	auto_actions struct rollout_actions actions = {0};
	rollout_proceed(r, clock_wall(), &actions);
	save(hub, r);
	settle(hub, item, &actions);
}
