#include "hub/daemon/view/status.h"
#include "hub/daemon/rollout/fleet.h"
#include "hub/daemon/rollout/history.h"
#include "hub/common/lint.h"
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

static void add_current(struct hub *hub, const struct rollout *r, cJSON *o)
{
	struct error err;
	auto_manifest struct manifest m = {0};
	int had = store_current(hub->store, r->certificate, &m, &err);
	if (had < 0)
		cJSON_AddStringToObject(o, "store_error", err.message);
	if (had > 0)
		add_manifest(&m, o);
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

/* Adds settings that the certificate's lifetime cannot afford. */
static void add_warnings(struct hub *hub, const char *name, cJSON *o)
{
	struct error ignored;
	struct lint_fault faults[LINT_FAULTS_MAX];
	auto_manifest struct manifest m = {0};
	const struct hub_certificate *certificate = hub_config_certificate(hub->config, name);
	cJSON *warnings = cJSON_AddArrayToObject(o, "warnings");
	if (!certificate || store_current(hub->store, name, &m, &ignored) <= 0)
		return;
	size_t count = lint_lifetime(
		certificate, hub->config->scan_interval, m.content.not_after - m.content.not_before, faults);
	for (size_t i = 0; i < count; i++)
		cJSON_AddItemToArray(warnings, cJSON_CreateString(faults[i].text));
}

static void add_renewal(const struct renewal *renewal, cJSON *o)
{
	struct renewal_status status;
	renewal_status(renewal, &status);
	cJSON *item = cJSON_AddObjectToObject(o, "renewal");
	cJSON_AddBoolToObject(item, "running", status.running);
	cJSON_AddStringToObject(item, "step", status.running ? status.step : "");
	cJSON_AddNumberToObject(item, "failures", status.failures);
	cJSON_AddStringToObject(item, "error", status.error);
	cJSON_AddStringToObject(item, "held", status.held);
	cJSON_AddStringToObject(item, "basis", status.basis);
	add_time(item, "due", status.due);
	if (status.ari)
		add_advice(status.ari, item);
	if (status.preflight)
		cJSON_AddItemToObject(item, "preflight", cJSON_Duplicate(status.preflight, true));
}

/* Adds keys for TLSA records that have to exist before a key is used. */
static void add_next_keys(struct hub *hub, const char *certificate, cJSON *o)
{
	const struct hub_certificate *c = hub_config_certificate(hub->config, certificate);
	uint8_t digests[STORE_PAIRS_MAX][CHAIN_SHA256_SIZE];
	char hex[CHAIN_HEX_MAX];
	size_t count = 0;
	struct error ignored;
	if (!c || !c->next_key || order_next_keys(hub->store, certificate, digests, &count, &ignored) < 0)
		return;
	cJSON *list = cJSON_AddArrayToObject(o, "next_keys");
	for (size_t i = 0; i < count; i++)
		cJSON_AddItemToArray(list, cJSON_CreateString(chain_hex(digests[i], hex)));
}

static void add_source(const struct watched *source, cJSON *o)
{
	cJSON *item = cJSON_AddObjectToObject(o, "watch");
	add_time(item, "read", watched_seen(source));
	cJSON_AddStringToObject(item, "error", watched_trouble(source));
}

cJSON *status_certificate(struct hub *hub, const struct rollout *r)
{
	cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "event", "certificate");
	cJSON_AddStringToObject(o, "certificate", r->certificate);
	add_revision(o, "revision", r->desired.revision);
	cJSON_AddBoolToObject(o, "converged", rollout_converged(r));
	cJSON_AddStringToObject(o, "rollout", r->policy == ROLLOUT_TOGETHER ? "together" : "immediate");
	cJSON_AddBoolToObject(o, "barrier_open", r->open);
	cJSON_AddStringToObject(o, "not_rolled_back", r->no_rollback);
	add_current(hub, r, o);
	const struct renewal *renewal = renewal_find(hub, r->certificate);
	add_warnings(hub, r->certificate, o);
	if (renewal)
		add_renewal(renewal, o);
	add_next_keys(hub, r->certificate, o);
	const struct watched *source = watched_find(hub, r->certificate);
	if (source)
		add_source(source, o);
	return o;
}
