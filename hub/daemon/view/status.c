#include "hub/daemon/view/status.h"
#include "hub/daemon/rollout/fleet.h"
#include "hub/daemon/rollout/history.h"
#include "hub/daemon/acme/order.h"
#include "hub/daemon/acme/renewal.h"
#include "hub/daemon/publish/watched.h"
#include "lib/core/clock.h"
#include "hub/daemon/rollout/progress.h"

#include <stdlib.h>

/* Times travel as text that people and programs read alike, and "" stands for never. */
static void add_time(cJSON *o, const char *key, int64_t when)
{
	char text[CLOCK_TEXT_MAX];
	cJSON_AddStringToObject(o, key, when ? clock_text(when, text) : "");
}

static void add_revision(cJSON *o, const char *key, struct revision r)
{
	char text[REVISION_TEXT_MAX];
	cJSON_AddStringToObject(o, key, revision_text(r, text));
}

static void add_manifest(const struct manifest *m, cJSON *o)
{
	char hex[CHAIN_HEX_MAX];
	cJSON_AddStringToObject(o, "fingerprint", chain_hex(m->content.leaf, hex));
	if (manifest_has_second(m))
		cJSON_AddStringToObject(o, "second", chain_hex(m->second, hex));
	add_time(o, "not_before", m->content.not_before);
	add_time(o, "not_after", m->content.not_after);
	add_time(o, "published", m->published);
	cJSON_AddStringToObject(o, "source", m->source);
	cJSON_AddStringToObject(o, "reason", m->reason);
	cJSON *names = cJSON_AddArrayToObject(o, "names");
	for (size_t i = 0; i < m->name_count; i++)
		cJSON_AddItemToArray(names, cJSON_CreateString(m->names[i]));
}

/* Adds what became of it, as far as it was noted. What was gone back from says so in the revision after it. */
static void add_outcome(struct hub *hub, const char *certificate, struct revision r, cJSON *o)
{
	char text[HISTORY_FAILED_MAX + 128], when[CLOCK_TEXT_MAX];
	struct error ignored;
	auto_manifest struct manifest next = {0};
	const struct history *outcome = history_of(hub, certificate, r);
	text[0] = '\0';
	if (outcome)
		history_text(outcome, text, sizeof(text));
	const struct revision after = {r.epoch, r.number + 1};
	size_t used = strlen(text);
	if (store_manifest(hub->store, certificate, after, &next, &ignored) > 0 && strcmp(next.source, "rollback") == 0)
		snprintf(text + used, sizeof(text) - used, "%srolled back %s", used ? "; " : "",
			clock_text(next.published, when));
	cJSON_AddStringToObject(o, "outcome", text);
}

cJSON *status_revision(struct hub *hub, const char *certificate, struct revision r)
{
	struct error err;
	auto_manifest struct manifest m = {0};
	cJSON *o = cJSON_CreateObject();
	const struct rollout *rollout = fleet_find(hub, certificate);
	cJSON_AddStringToObject(o, "event", "revision");
	cJSON_AddStringToObject(o, "certificate", certificate);
	add_revision(o, "revision", r);
	cJSON_AddBoolToObject(o, "current", rollout && revision_compare(rollout->desired.revision, r) == 0);
	if (store_manifest(hub->store, certificate, r, &m, &err) < 0)
		cJSON_AddStringToObject(o, "store_error", err.message);
	else
		add_manifest(&m, o);
	add_outcome(hub, certificate, r, o);
	return o;
}

static void add_advice(const struct ari_record *r, cJSON *item)
{
	cJSON *advice = cJSON_AddObjectToObject(item, "advice");
	add_time(advice, "start", r->window.start);
	add_time(advice, "end", r->window.end);
	add_time(advice, "moment", r->moment);
	cJSON_AddStringToObject(advice, "explanation", r->window.explanation);
	add_time(advice, "asked_again", r->next);
	cJSON_AddStringToObject(advice, "error", r->trouble);
}

static void add_warnings(const struct situation_certificate *c, cJSON *o)
{
	cJSON *warnings = cJSON_AddArrayToObject(o, "warnings");
	for (size_t i = 0; i < c->warning_count; i++)
		cJSON_AddItemToArray(warnings, cJSON_CreateString(c->warnings[i]));
}

static void add_renewal(const struct renewal_status *status, cJSON *o)
{
	cJSON *item = cJSON_AddObjectToObject(o, "renewal");
	cJSON_AddBoolToObject(item, "running", status->running);
	cJSON_AddStringToObject(item, "step", status->running ? status->step : "");
	cJSON_AddNumberToObject(item, "failures", status->failures);
	cJSON_AddStringToObject(item, "error", status->error);
	cJSON_AddStringToObject(item, "authority", status->authority);
	cJSON_AddStringToObject(item, "instead", status->instead);
	add_time(item, "instead_since", status->instead_since);
	cJSON_AddStringToObject(item, "held", status->held);
	cJSON_AddStringToObject(item, "basis", status->basis);
	cJSON_AddStringToObject(item, "lacks", status->lacks ? status->lacks : "");
	add_time(item, "due", status->due);
	if (status->ari)
		add_advice(status->ari, item);
	if (status->preflight)
		cJSON_AddItemToObject(item, "preflight", cJSON_Duplicate(status->preflight, true));
}

/* Adds keys for TLSA records that have to exist before a key is used. */
static void add_next_keys(const struct situation_certificate *c, cJSON *o)
{
	char hex[CHAIN_HEX_MAX];
	cJSON *list = cJSON_AddArrayToObject(o, "next_keys");
	for (size_t i = 0; i < c->next_key_count; i++)
		cJSON_AddItemToArray(list, cJSON_CreateString(chain_hex(c->next_keys[i], hex)));
}

static void add_watch(const struct situation_certificate *c, cJSON *o)
{
	cJSON *item = cJSON_AddObjectToObject(o, "watch");
	add_time(item, "read", c->watch_read);
	cJSON_AddStringToObject(item, "error", c->watch_trouble);
}

cJSON *status_certificate(const struct situation_certificate *c)
{
	cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "event", "certificate");
	cJSON_AddStringToObject(o, "certificate", c->name);
	add_revision(o, "revision", c->revision);
	cJSON_AddBoolToObject(o, "converged", c->converged);
	cJSON_AddStringToObject(o, "rollout", c->rollout->policy == ROLLOUT_TOGETHER ? "together" : "immediate");
	cJSON_AddBoolToObject(o, "barrier_open", c->rollout->open);
	cJSON_AddStringToObject(o, "not_rolled_back", c->rollout->no_rollback);
	if (c->store_error)
		cJSON_AddStringToObject(o, "store_error", c->store_error);
	if (c->published)
		add_manifest(&c->current, o);
	add_warnings(c, o);
	if (c->source == SOURCE_ACME)
		add_renewal(&c->renewal, o);
	if (c->has_next_keys)
		add_next_keys(c, o);
	if (c->watched)
		add_watch(c, o);
	return o;
}
