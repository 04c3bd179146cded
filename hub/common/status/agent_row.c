#include "hub/common/status/agent_row.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"
#include "lib/wire/content_json.h"

#include <stdlib.h>

/* ---- encoding ---- */

/* Times travel as text that people and programs read alike, and "" stands for never. */
static void add_time(cJSON *o, const char *key, int64_t when)
{
	char text[CLOCK_TEXT_MAX];
	cJSON_AddStringToObject(o, key, when ? clock_text(when, text) : "");
}

static void add_connection(const struct agent_row *row, cJSON *o)
{
	cJSON_AddBoolToObject(o, "connected", row->connected);
	cJSON_AddStringToObject(o, "version", row->version);
	cJSON_AddNumberToObject(o, "clock_skew", (double)row->skew);
	add_time(o, "rival", row->rival);
	cJSON_AddBoolToObject(o, "overdue", row->overdue);
	add_time(o, "last_seen", row->last_seen);
}

static void add_state(const struct agent_row *row, cJSON *o)
{
	cJSON_AddStringToObject(o, "state", rollout_state_name(row->state));
	cJSON_AddStringToObject(o, "waits_for", row->waits_for);
	add_time(o, "held_until", row->held_until);
	cJSON_AddStringToObject(o, "danger", row->danger ? row->danger : "");
	cJSON_AddBoolToObject(o, "stopped", row->stopped);
	add_time(o, "since", row->since);
	revision_to_json(row->desired, "desired", o);
	revision_to_json(row->served, "served", o);
	revision_to_json(row->high_water, "high_water", o);
	sha256_to_json(row->leaf, "fingerprint", o);
	cJSON_AddNumberToObject(o, "stage_ms", row->stage_ms);
	cJSON_AddNumberToObject(o, "activate_ms", row->activate_ms);
}

static void add_trouble(const struct agent_row *row, cJSON *o)
{
	cJSON_AddNumberToObject(o, "failures", row->failures);
	cJSON_AddStringToObject(o, "step", row->step);
	cJSON_AddStringToObject(o, "error", row->error);
	cJSON_AddStringToObject(o, "output", row->output);
	cJSON_AddBoolToObject(o, "rolled_back", row->rolled_back);
	add_time(o, "next_try", row->next_try);
	cJSON_AddNumberToObject(o, "drifts", row->drifts);
	add_time(o, "drifted", row->drifted);
	cJSON_AddStringToObject(o, "drift", row->drift);
	cJSON_AddNumberToObject(o, "contradictions", row->contradictions);
	add_time(o, "contradicted", row->contradicted);
	cJSON_AddStringToObject(o, "contradiction", row->contradiction);
}

cJSON *agent_row_encode(const struct agent_row *row, const char *event)
{
	cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "event", event);
	cJSON_AddStringToObject(o, "certificate", row->certificate);
	cJSON_AddStringToObject(o, "agent", row->agent);
	add_connection(row, o);
	add_state(row, o);
	add_trouble(row, o);
	cJSON_AddItemToObject(o, "probes", message_probes_encode(row->probes, row->probe_count));
	add_time(o, "probed", row->probed);
	return o;
}

/* ---- decoding ---- */

static int64_t time_of(const cJSON *o, const char *key)
{
	int64_t when;
	clock_parse(json_text(o, key), &when);
	return when;
}

/* 0 when there is no such number. */
static uint32_t count_of(const cJSON *o, const char *key)
{
	uint32_t count = 0;
	struct error ignored;
	json_u32(o, key, &count, &ignored);
	return count;
}

static struct revision revision_of(const cJSON *o, const char *key)
{
	struct revision r;
	return revision_parse(json_text(o, key), &r) ? r : (struct revision){0, 0};
}

static void take_connection(const cJSON *o, struct agent_row *ret)
{
	struct error ignored;
	ret->connected = json_true(o, "connected");
	ret->version = json_text(o, "version");
	json_i64(o, "clock_skew", &ret->skew, &ignored);
	ret->rival = time_of(o, "rival");
	ret->overdue = json_true(o, "overdue");
	ret->last_seen = time_of(o, "last_seen");
}

static int take_state(const cJSON *o, struct agent_row *ret, struct error *err)
{
	const char *danger = json_text(o, "danger");
	if (!rollout_state_parse(json_text(o, "state"), &ret->state))
		return error_set(err, ERROR_PERMANENT, "state: \"%s\" is not known", json_text(o, "state"));
	ret->waits_for = json_text(o, "waits_for");
	ret->held_until = time_of(o, "held_until");
	ret->danger = danger[0] ? mem_strdup(danger) : NULL;
	ret->stopped = json_true(o, "stopped");
	ret->since = time_of(o, "since");
	ret->desired = revision_of(o, "desired");
	ret->served = revision_of(o, "served");
	ret->high_water = revision_of(o, "high_water");
	ret->stage_ms = count_of(o, "stage_ms");
	ret->activate_ms = count_of(o, "activate_ms");
	return sha256_from_json(o, "fingerprint", ret->leaf, err);
}

static void take_trouble(const cJSON *o, struct agent_row *ret)
{
	ret->failures = count_of(o, "failures");
	ret->step = json_text(o, "step");
	ret->error = json_text(o, "error");
	ret->output = json_text(o, "output");
	ret->rolled_back = json_true(o, "rolled_back");
	ret->next_try = time_of(o, "next_try");
	ret->drifts = count_of(o, "drifts");
	ret->drifted = time_of(o, "drifted");
	ret->drift = json_text(o, "drift");
	ret->contradictions = count_of(o, "contradictions");
	ret->contradicted = time_of(o, "contradicted");
	ret->contradiction = json_text(o, "contradiction");
}

int agent_row_decode(const cJSON *o, struct agent_row *ret, struct error *err)
{
	*ret = (struct agent_row){.certificate = json_text(o, "certificate"), .agent = json_text(o, "agent")};
	take_connection(o, ret);
	take_trouble(o, ret);
	ret->probed = time_of(o, "probed");
	if (take_state(o, ret, err) < 0 || message_probes_decode(o, &ret->decoded, &ret->probe_count, err) < 0)
		return -1;
	ret->probes = ret->decoded;
	return 0;
}

void agent_row_release(struct agent_row *row)
{
	free(row->danger);
	free(row->decoded);
	*row = (struct agent_row){0};
}
