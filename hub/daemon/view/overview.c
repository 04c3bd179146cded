#include "hub/daemon/view/overview.h"
#include "hub/daemon/keys.h"
#include "hub/daemon/alert/alert.h"
#include "hub/daemon/rollout/fleet.h"
#include "hub/daemon/acme/renewal.h"
#include "hub/daemon/agents/session.h"
#include "hub/daemon/publish/watched.h"
#include "hub/daemon/alert/endpoints.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"
#include "hub/daemon/rollout/progress.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { OVERVIEW_LATE = 60, OVERVIEW_DISK_MIN = 1024 * 1024 };

/* ---- certificates and what agents do with them ---- */

/* Returns whether the certificate that the agent serves ends before its hold does, or nearly ends while the renewal
 * exists; nobody must overlook that. */
static bool is_in_danger(const struct rollout *r, const struct rollout_agent *a, int64_t now)
{
	int64_t life = a->served.not_after - a->served.not_before, soon = now + life / 6;
	if (!a->held_until || !a->served.not_after)
		return false;
	return a->served.not_after < a->held_until ||
		(revision_compare(a->served.revision, r->desired.revision) != 0 && a->served.not_after < soon);
}

static char *danger_of(const struct rollout *r, const struct rollout_agent *a, int64_t now)
{
	char when[CLOCK_TEXT_MAX];
	if (!is_in_danger(r, a, now))
		return NULL;
	return mem_printf(
		"what it serves expires %s, and the renewal waits for the end of the hold: certsync hold %s %s --end",
		clock_text(a->served.not_after, when), a->name, r->certificate);
}

/* `away_after` is what the configuration calls normal. */
static void take_row(const struct rollout *r, const struct rollout_agent *a, const struct session *session,
	int64_t away_after, int64_t now, struct agent_row *ret)
{
	const char *waits_for = rollout_waits_for(r, a, now);
	*ret = (struct agent_row){
		.certificate = r->certificate,
		.agent = a->name,
		.connected = session,
		.version = session ? session_version(session) : "",
		.skew = session ? session_skew(session) : 0,
		.rival = session ? session_rival(session) : 0,
		.overdue = !session && a->last_seen && now - a->last_seen > away_after,
		.last_seen = session ? now : a->last_seen,
		.state = rollout_agent_state(a),
		.waits_for = waits_for ? waits_for : "",
		.held_until = a->held_until,
		.danger = danger_of(r, a, now),
		.stopped = a->stopped,
		.since = a->since,
		.desired = r->desired.revision,
		.served = a->served.revision,
		.high_water = a->high_water,
		.stage_ms = a->stage_ms,
		.activate_ms = a->activate_ms,
		.failures = a->failures,
		.step = a->step,
		.error = a->text,
		.output = a->output ? a->output : "",
		.rolled_back = a->rolled_back,
		.next_try = a->next_try,
		.drifts = a->drifts,
		.drifted = a->drifted,
		.drift = a->drift,
		.contradictions = a->contradictions,
		.contradicted = a->contradicted,
		.contradiction = a->contradiction,
		.probes = a->probes,
		.probe_count = a->probe_count,
		.probed = a->probed,
	};
	memcpy(ret->leaf, a->served.leaf, sizeof(ret->leaf));
}

void overview_row(struct hub *hub, const struct rollout *r, const struct rollout_agent *a, struct agent_row *ret)
{
	const struct hub_agent *configured = hub_config_agent(hub->config, a->name);
	take_row(r, a, session_find(hub, a->name), configured ? configured->away_after : INT64_MAX, clock_wall(), ret);
}

/* The agents of a rollout stand in the order of the configuration, as those of the overview do: *at is where the last
 * one was found. */
static const struct overview_agent *find_agent(const struct overview *o, const char *name, size_t *at)
{
	for (size_t i = 0; i < o->agent_count; i++, *at = (*at + 1) % o->agent_count)
		if (strcmp(o->agents[*at].name, name) == 0)
			return &o->agents[*at];
	return NULL;
}

static void take_places(const struct overview *o, const struct rollout *r, struct overview_certificate *c)
{
	size_t at = 0;
	c->places = mem_array(r->agent_count, sizeof(*c->places));
	c->place_count = r->agent_count;
	for (size_t i = 0; i < r->agent_count; i++) {
		const struct rollout_agent *a = &r->agents[i];
		const struct overview_agent *agent = find_agent(o, a->name, &at);
		take_row(r, a, agent ? agent->session : NULL, agent ? agent->away_after : INT64_MAX, o->now,
			&c->places[i].row);
		c->places[i].converged = rollout_agent_converged(a);
		c->places[i].busy = rollout_busy(r, a, o->now);
	}
}

static void take_renewal(struct hub *hub, struct overview_certificate *c)
{
	struct renewal_status status;
	const struct renewal *renewal = renewal_find(hub, c->name);
	const struct watched *source = watched_find(hub, c->name);
	c->renewal_error = c->renewal_held = "";
	c->watch_trouble = source ? watched_trouble(source) : "";
	c->source = renewal ? "acme" : source ? "watch" : "import";
	c->renews = renewal != NULL;
	if (!renewal)
		return;
	renewal_status(renewal, &status);
	c->renewing = status.running;
	c->renewal_error = status.error;
	c->renewal_held = status.held;
	c->renewal_failures = status.failures;
	c->renewal_due = status.due;
}

static void take_certificate(
	struct hub *hub, const struct overview *o, const struct rollout *r, struct overview_certificate *ret)
{
	*ret = (struct overview_certificate){
		.name = r->certificate,
		.revision = r->desired.revision,
		.not_before = r->desired.not_before,
		.not_after = r->desired.not_after,
		.converged = rollout_converged(r),
	};
	take_places(o, r, ret);
	take_renewal(hub, ret);
}

static void take_certificates(struct hub *hub, struct overview *o)
{
	o->certificate_count = fleet_count(hub);
	o->certificates = mem_array(o->certificate_count, sizeof(*o->certificates));
	for (size_t i = 0; i < o->certificate_count; i++)
		take_certificate(hub, o, fleet_at(hub, i), &o->certificates[i]);
}

/* ---- agents ---- */

static void take_agent(struct hub *hub, const struct hub_agent *a, int64_t now, struct overview_agent *ret)
{
	const struct session *session = session_find(hub, a->name);
	*ret = (struct overview_agent){.name = a->name,
		.local = a->local,
		.connected = session,
		.session = session,
		.away_after = a->away_after,
		.version = "",
		.last_seen = session ? now : 0};
	if (session) {
		ret->version = session_version(session);
		ret->skew = session_skew(session);
	}
	for (size_t i = 0; a->certificates[i]; i++) {
		struct rollout *r = fleet_find(hub, a->certificates[i]->name);
		const struct rollout_agent *place = r ? rollout_find(r, a->name) : NULL;
		ret->certificates++;
		if (!place)
			continue;
		ret->converged += rollout_agent_converged(place);
		ret->last_seen = place->last_seen > ret->last_seen ? place->last_seen : ret->last_seen;
	}
	ret->overdue = !session && ret->last_seen && now - ret->last_seen > a->away_after;
}

static void take_agents(struct hub *hub, struct overview *o)
{
	o->agent_count = hub->config->agent_count;
	o->agents = mem_array(o->agent_count, sizeof(*o->agents));
	for (size_t i = 0; i < o->agent_count; i++)
		take_agent(hub, &hub->config->agents[i], o->now, &o->agents[i]);
}

/* ---- endpoints ---- */

static void take_endpoints(struct hub *hub, struct overview *o)
{
	o->endpoint_count = endpoints_count(hub);
	o->endpoints = mem_array(o->endpoint_count, sizeof(const struct endpoint_row *));
	endpoints_rows(hub, o->endpoints);
}

/* ---- health ---- */

/* The hub is not well when its store cannot be read, its root half is gone, or its loop no longer does what is due. */
void overview_health(struct hub *hub, struct overview *ret)
{
	struct statvfs disk;
	const char *state = hub->config->state;
	int64_t late = fleet_late(hub);
	if (access(state, R_OK | W_OK | X_OK) < 0 || statvfs(state, &disk) < 0)
		snprintf(ret->trouble, sizeof(ret->trouble), "the store in %s cannot be read and written: %s", state,
			strerror(errno));
	else if (disk.f_bavail * disk.f_frsize < OVERVIEW_DISK_MIN)
		snprintf(ret->trouble, sizeof(ret->trouble), "the disk of %s is full: nothing can be published or kept",
			state);
	else if (!hub->root)
		snprintf(ret->trouble, sizeof(ret->trouble),
			"certsync-hub-root is not there: no watched path is read, no agent's key written");
	else if (keys_trouble(hub->keys)[0])
		snprintf(ret->trouble, sizeof(ret->trouble), "%s", keys_trouble(hub->keys));
	else if (hub->root_error[0])
		snprintf(ret->trouble, sizeof(ret->trouble), "agents' keys could not be written for sshd: %s",
			hub->root_error);
	else if (late > OVERVIEW_LATE)
		snprintf(ret->trouble, sizeof(ret->trouble), "what was due %lld seconds ago has not been done",
			(long long)late);
}

void overview_take(struct hub *hub, struct overview *ret)
{
	*ret = (struct overview){.now = clock_wall(), .started = hub->started, .version = CERTSYNC_VERSION};
	overview_health(hub, ret);
	take_agents(hub, ret);
	take_certificates(hub, ret);
	take_endpoints(hub, ret);
	ret->alerts = alert_told(hub, &ret->alert_count);
	ret->channels = alert_channels(hub, &ret->channel_count);
}

void overview_release(struct overview *o)
{
	for (size_t i = 0; i < o->certificate_count; i++) {
		for (size_t k = 0; k < o->certificates[i].place_count; k++)
			agent_row_release(&o->certificates[i].places[k].row);
		free(o->certificates[i].places);
	}
	free(o->certificates);
	free(o->agents);
	free(o->endpoints);
	free(o->channels);
	*o = (struct overview){0};
}
