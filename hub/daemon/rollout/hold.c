#include "hub/daemon/rollout/hold.h"
#include "hub/daemon/rollout/fleet.h"
#include "hub/daemon/agents/session.h"
#include "lib/core/clock.h"
#include "hub/daemon/record.h"
#include "lib/core/log.h"

#include <stdio.h>
#include <string.h>

enum { HOLD_RECORD_MAX = 256 * 1024 };

/* ---- the record: encoder and decoder ---- */

static struct record record_of(const struct rollout *r)
{
	return (struct record){"holds", r->certificate, "state.json", HOLD_RECORD_MAX,
		"no agent is held: certsync hold says it again"};
}

static int save(struct hub *hub, const struct rollout *r, struct error *err)
{
	const struct record record = record_of(r);
	auto_json cJSON *o = cJSON_CreateObject();
	cJSON *until = cJSON_AddObjectToObject(o, "until");
	for (size_t i = 0; i < r->agent_count; i++)
		if (r->agents[i].held_until)
			cJSON_AddNumberToObject(until, r->agents[i].name, (double)r->agents[i].held_until);
	return record_put(hub->store, &record, o, err);
}

static int decode(const cJSON *o, struct rollout *r, struct error *err)
{
	const cJSON *until = json_object(o, "until", err);
	if (!until)
		return -1;
	int64_t now = clock_wall();
	for (size_t i = 0; i < r->agent_count; i++) {
		auto_actions struct rollout_actions none = {0}; /* nobody is connected */
		int64_t end;
		if (!json_get(until, r->agents[i].name))
			continue;
		if (json_i64(until, r->agents[i].name, &end, err) < 0)
			return -1;
		rollout_hold(r, &r->agents[i], end, now, &none);
	}
	return 0;
}

void hold_restore(struct hub *hub, struct rollout *r)
{
	struct error err;
	const struct record record = record_of(r);
	auto_json cJSON *o = NULL;
	int got = record_get(hub->store, &record, &o, &err);
	if (got < 0 || (got > 0 && decode(o, r, &err) < 0))
		record_damaged(hub->store, &record, &err);
}

/* ---- the agent's side ---- */

bool hold_is_unknown_to(struct hub *hub, const char *agent)
{
	const struct session *session = session_find(hub, agent);
	return session && session_protocol(session) < MESSAGE_PROTOCOL_HOLD;
}

void hold_tell(struct hub *hub, const struct rollout *r, const struct rollout_agent *a)
{
	struct session *session = session_find(hub, a->name);
	if (!session || hold_is_unknown_to(hub, a->name))
		return;
	int64_t left = a->held_until ? a->held_until - clock_wall() : 0;
	left = left > MESSAGE_HOLD_MAX ? MESSAGE_HOLD_MAX : left;
	struct message m = {.type = MESSAGE_HOLD,
		.content.revision = r->desired.revision,
		.seconds = left > 0 ? (uint32_t)left : 0};
	snprintf(m.certificate, sizeof(m.certificate), "%s", r->certificate);
	session_send(session, &m);
}

/* ---- the operator's side ---- */

static int set_one(struct hub *hub, struct rollout *r, struct rollout_agent *a, int64_t until, struct error *err)
{
	int64_t before = a->held_until;
	fleet_hold(hub, r, a, until);
	log_event(LOG_LEVEL_NOTICE, "hold", "certificate=%s agent=%s seconds=%lld", r->certificate, a->name,
		(long long)(until ? until - clock_wall() : 0));
	if (save(hub, r, err) == 0)
		return 0;
	fleet_hold(hub, r, a, before);
	return error_wrap(err, "%s: a hold that would not outlive this hub is not begun or ended", r->certificate);
}

int hold_set(struct hub *hub, const char *agent, const char *certificate, int64_t seconds, struct error *err)
{
	bool any = false;
	if (!hub_config_agent(hub->config, agent))
		return error_set(err, ERROR_USAGE, "hub.conf has no agent \"%s\"", agent);
	if (certificate && !fleet_find(hub, certificate))
		return error_set(err, ERROR_USAGE, "hub.conf has no certificate \"%s\"", certificate);
	if (seconds < 0 || seconds > MESSAGE_HOLD_MAX)
		return error_set(err, ERROR_USAGE, "a hold lasts from 1s to 7d: so that nobody forgets it");
	int64_t until = seconds ? clock_wall() + seconds : 0;
	for (size_t i = 0; i < fleet_count(hub); i++) {
		struct rollout *r = fleet_at(hub, i);
		struct rollout_agent *a = rollout_find(r, agent);
		if (!a || (certificate && strcmp(r->certificate, certificate) != 0))
			continue;
		any = true;
		if (set_one(hub, r, a, until, err) < 0)
			return -1;
	}
	return any ? 0 : error_set(err, ERROR_USAGE, "hub.conf assigns agent %s no such certificate", agent);
}
