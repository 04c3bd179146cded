#include "hub/daemon/alert/situation.h"
#include "hub/common/lint.h"
#include "hub/daemon/keys.h"
#include "hub/daemon/acme/order.h"
#include "hub/daemon/agents/enrolment.h"
#include "hub/daemon/agents/session.h"
#include "hub/daemon/alert/endpoints.h"
#include "hub/daemon/publish/watched.h"
#include "hub/daemon/rollout/fleet.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* ---- certificates and what agents do with them ---- */

const char *situation_source_name(enum situation_source source)
{
	static const char *const names[] = {
		[SOURCE_ACME] = "acme",
		[SOURCE_WATCH] = "watch",
		[SOURCE_IMPORT] = "import",
	};
	return names[source];
}

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
	const char *waits_for = barrier_wait_text(rollout_waits_for(r, a, now));
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

void situation_row(struct hub *hub, const struct rollout *r, const struct rollout_agent *a, struct agent_row *ret)
{
	const struct hub_agent *configured = hub_config_agent(hub->config, a->name);
	take_row(r, a, session_find(hub, a->name), configured ? configured->away_after : INT64_MAX, clock_wall(), ret);
}

/* The agents of a rollout stand in the order of the configuration, as those of the situation do: *at is where the last
 * one was found. */
static const struct situation_agent *find_agent(const struct situation *s, const char *name, size_t *at)
{
	for (size_t i = 0; i < s->agent_count; i++, *at = (*at + 1) % s->agent_count)
		if (strcmp(s->agents[*at].name, name) == 0)
			return &s->agents[*at];
	return NULL;
}

static void take_places(const struct situation *s, const struct rollout *r, struct situation_certificate *c)
{
	size_t at = 0;
	c->places = mem_array(r->agent_count, sizeof(*c->places));
	c->place_count = r->agent_count;
	for (size_t i = 0; i < r->agent_count; i++) {
		const struct rollout_agent *a = &r->agents[i];
		struct situation_place *p = &c->places[i];
		const struct situation_agent *agent = find_agent(s, a->name, &at);
		take_row(r, a, agent ? agent->session : NULL, agent ? agent->configured->away_after : INT64_MAX, s->now,
			&p->row);
		p->agent = a;
		p->wait = rollout_waits_for(r, a, s->now);
		p->converged = rollout_agent_converged(a);
		p->busy = rollout_busy(r, a, s->now);
	}
}

static void take_source(struct hub *hub, struct situation_certificate *c)
{
	const struct renewal *renewal = renewal_find(hub, c->name);
	const struct watched *source = watched_find(hub, c->name);
	c->source = renewal ? SOURCE_ACME : source ? SOURCE_WATCH : SOURCE_IMPORT;
	c->watched = source;
	c->watch_trouble = source ? watched_trouble(source) : "";
	c->watch_read = source ? watched_seen(source) : 0;
	c->renewal = (struct renewal_status){
		.step = "", .error = "", .held = "", .basis = "", .authority = "", .instead = ""};
	if (renewal)
		renewal_status(renewal, &c->renewal);
}

static void take_current(struct hub *hub, struct situation_certificate *c)
{
	struct error err;
	if (c->published || c->store_error)
		return;
	int had = store_current(hub->store, c->name, &c->current, &err);
	c->published = had > 0;
	c->store_error = had < 0 ? mem_strdup(err.message) : NULL;
}

static void add_warning(struct situation_certificate *c, char *text)
{
	c->warnings = mem_grow(c->warnings, c->warning_count + 1, sizeof(*c->warnings));
	c->warnings[c->warning_count++] = text;
}

static void take_warnings(struct hub *hub, const struct hub_certificate *configured, struct situation_certificate *c)
{
	struct lint_fault faults[LINT_FAULTS_MAX];
	size_t count = lint_lifetime(configured, hub->config->scan_interval,
		c->current.content.not_after - c->current.content.not_before, faults);
	const char *missing =
		verify_names(c->current.names, c->current.name_count, (const char *const *)(void *)configured->names);
	for (size_t i = 0; i < count; i++)
		add_warning(c, mem_strdup(faults[i].text));
	if (missing && c->source != SOURCE_ACME)
		add_warning(c,
			mem_printf("names: %s is not in the certificate, and what comes from elsewhere is not ordered "
				   "here: have one issued for all names, or correct the configuration",
				missing));
	if (c->current.warning[0])
		add_warning(c, mem_strdup(c->current.warning));
}

static void take_stored(struct hub *hub, struct situation_certificate *c)
{
	struct error ignored;
	const struct hub_certificate *configured = hub_config_certificate(hub->config, c->name);
	take_current(hub, c);
	if (!configured)
		return;
	if (c->published)
		take_warnings(hub, configured, c);
	c->has_next_keys = configured->next_key &&
		order_next_keys(hub->store, c->name, c->next_keys, &c->next_key_count, &ignored) == 0;
}

static void take_certificates(struct hub *hub, bool with_store, struct situation *s)
{
	s->certificate_count = fleet_count(hub);
	s->certificates = mem_array(s->certificate_count, sizeof(*s->certificates));
	for (size_t i = 0; i < s->certificate_count; i++) {
		const struct rollout *r = fleet_at(hub, i);
		struct situation_certificate *c = &s->certificates[i];
		c->name = r->certificate;
		c->rollout = r;
		c->revision = r->desired.revision;
		c->not_before = r->desired.not_before;
		c->not_after = r->desired.not_after;
		c->converged = rollout_converged(r);
		take_places(s, r, c);
		take_source(hub, c);
		if (with_store)
			take_stored(hub, c);
	}
}

const struct situation_certificate *situation_certificate(const struct situation *s, const char *name)
{
	for (size_t i = 0; i < s->certificate_count; i++)
		if (strcmp(s->certificates[i].name, name) == 0)
			return &s->certificates[i];
	return NULL;
}

/* ---- agents ---- */

static void take_keys(struct hub *hub, struct situation_agent *a)
{
	struct error ignored;
	struct enrolment e;
	const char *mark = "";
	a->stranger = key_stranger(hub, a->name, &mark);
	a->stranger_mark = a->stranger ? mark : "";
	if (!key_rotates(hub, a->name) || enrolment_find(hub, a->name, &e, &ignored) <= 0)
		return;
	a->rotation = e.rotation;
	a->rotation_by = e.rotation_by;
	a->rotates = e.rotates;
}

static void take_agent(struct hub *hub, const struct hub_agent *configured, int64_t now, struct situation_agent *ret)
{
	const struct session *session = session_find(hub, configured->name);
	*ret = (struct situation_agent){.name = configured->name,
		.configured = configured,
		.local = configured->local,
		.connected = session,
		.session = session,
		.version = session ? session_version(session) : "",
		.skew = session ? session_skew(session) : 0,
		.rival = session ? session_rival(session) : 0,
		.last_seen = session ? now : 0};
	for (size_t i = 0; configured->certificates[i]; i++) {
		struct rollout *r = fleet_find(hub, configured->certificates[i]->name);
		const struct rollout_agent *place = r ? rollout_find(r, configured->name) : NULL;
		ret->certificates++;
		if (!place)
			continue;
		ret->converged += rollout_agent_converged(place);
		ret->last_seen = place->last_seen > ret->last_seen ? place->last_seen : ret->last_seen;
	}
	ret->overdue = !session && ret->last_seen && now - ret->last_seen > configured->away_after;
	take_keys(hub, ret);
}

static void take_agents(struct hub *hub, struct situation *s)
{
	s->agent_count = hub->config->agent_count;
	s->agents = mem_array(s->agent_count, sizeof(*s->agents));
	for (size_t i = 0; i < s->agent_count; i++)
		take_agent(hub, &hub->config->agents[i], s->now, &s->agents[i]);
}

/* ---- endpoints ---- */

static bool is_mismatch(const struct check_found *f)
{
	return f && f->check.verdict == CHECK_MISMATCH;
}

static void take_endpoints(struct hub *hub, struct situation *s)
{
	s->endpoint_count = endpoints_count(hub);
	s->endpoints = mem_array(s->endpoint_count, sizeof(const struct endpoint_row *));
	s->endpoints_trouble = endpoints_trouble(hub);
	endpoints_rows(hub, s->endpoints);
	for (size_t i = 0; i < s->endpoint_count; i++)
		for (size_t k = 0; k < s->certificate_count; k++) {
			const struct endpoint_row *row = s->endpoints[i];
			if ((is_mismatch(&row->found) || is_mismatch(row->before)) &&
				strcmp(s->certificates[k].name, row->certificate) == 0)
				take_current(hub, &s->certificates[k]);
		}
}

/* ---- the hub itself ---- */

void situation_hub_take(struct hub *hub, struct situation_hub *ret)
{
	struct statvfs disk;
	*ret = (struct situation_hub){.state = hub->config->state,
		.store_trouble = store_trouble(hub->store),
		.keys_trouble = keys_trouble(hub->keys),
		.authorized_keys = hub->config->authorized_keys,
		.root_error = hub->root_error,
		.has_root = hub->root,
		.late = fleet_late(hub)};
	ret->damages = store_damages(hub->store, &ret->damage_count);
	if (access(ret->state, R_OK | W_OK | X_OK) < 0)
		snprintf(ret->access_error, sizeof(ret->access_error), "%s", strerror(errno));
	if (statvfs(ret->state, &disk) < 0) {
		snprintf(ret->disk_error, sizeof(ret->disk_error), "%s", strerror(errno));
		return;
	}
	ret->disk_free = disk.f_bavail * disk.f_frsize;
	ret->disk_share = disk.f_blocks ? (double)disk.f_bavail * 100 / (double)disk.f_blocks : 100;
}

void situation_take(struct hub *hub, int64_t now, bool with_store, struct situation *ret)
{
	*ret = (struct situation){.now = now,
		.started = hub->started,
		.version = CERTSYNC_VERSION,
		.expiring = hub->config->alert.expiring};
	situation_hub_take(hub, &ret->hub);
	take_agents(hub, ret);
	take_certificates(hub, with_store, ret);
	take_endpoints(hub, ret);
	ret->changes = key_changes(hub, &ret->change_count);
	signing_status(hub, &ret->signing);
}

static void certificate_release(struct situation_certificate *c)
{
	for (size_t i = 0; i < c->place_count; i++)
		agent_row_release(&c->places[i].row);
	free(c->places);
	manifest_release(&c->current);
	free(c->store_error);
	while (c->warning_count > 0)
		free(c->warnings[--c->warning_count]);
	free(c->warnings);
}

void situation_release(struct situation *s)
{
	for (size_t i = 0; i < s->certificate_count; i++)
		certificate_release(&s->certificates[i]);
	free(s->certificates);
	free(s->agents);
	free(s->endpoints);
	*s = (struct situation){0};
}
