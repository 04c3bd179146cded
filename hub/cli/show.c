#include "hub/cli/show.h"
#include "hub/cli/show_renewal.h"
#include "hub/common/endpoint_row.h"
#include "lib/cli/cli.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <string.h>

enum { SHOW_DETAIL_MAX = 2048 };

/* ---- answers ---- */

void answers_init(struct answers *a)
{
	*a = (struct answers){.certificates = cJSON_CreateArray(),
		.agents = cJSON_CreateArray(),
		.revisions = cJSON_CreateArray(),
		.endpoints = cJSON_CreateArray()};
}

void answers_release(struct answers *a)
{
	cJSON_Delete(a->certificates);
	cJSON_Delete(a->agents);
	cJSON_Delete(a->revisions);
	cJSON_Delete(a->endpoints);
	cJSON_Delete(a->result);
	*a = (struct answers){0};
}

bool answers_take(struct answers *a, const cJSON *answer)
{
	const struct {
		const char *event;
		cJSON *list;
	} lists[] = {{"certificate", a->certificates}, {"agent", a->agents}, {"revision", a->revisions},
		{"endpoint", a->endpoints}};
	const char *event = json_text(answer, "event");
	for (size_t i = 0; i < COUNT(lists); i++) {
		if (strcmp(event, lists[i].event) != 0)
			continue;
		cJSON_AddItemToArray(lists[i].list, cJSON_Duplicate(answer, true));
		return true;
	}
	if (strcmp(event, "result") != 0)
		return false;
	cJSON_Delete(a->result);
	a->result = cJSON_Duplicate(answer, true);
	return true;
}

void answers_print_json(struct answers *a)
{
	auto_json cJSON *all = cJSON_CreateObject();
	cJSON_AddItemToObject(all, "certificates", steal(a->certificates));
	cJSON_AddItemToObject(all, "agents", steal(a->agents));
	if (cJSON_GetArraySize(a->revisions))
		cJSON_AddItemToObject(all, "revisions", steal(a->revisions));
	if (cJSON_GetArraySize(a->endpoints))
		cJSON_AddItemToObject(all, "endpoints", steal(a->endpoints));
	cJSON_AddNumberToObject(all, "exit", json_number(a->result, "exit"));
	if (json_text(a->result, "error")[0])
		cJSON_AddStringToObject(all, "error", json_text(a->result, "error"));
	if (json_text(a->result, "warning")[0])
		cJSON_AddStringToObject(all, "warning", json_text(a->result, "warning"));
	char *text = cJSON_Print(all);
	puts(text ? text : "{}");
	cJSON_free(text);
}

/* ---- tables ---- */

void show_progress(const cJSON *agent)
{
	printf("%s  %-12s %s%s", json_text(agent, "certificate"), json_text(agent, "agent"), json_text(agent, "state"),
		json_true(agent, "stopped") ? " (stopped)" : "");
	if (strcmp(json_text(agent, "state"), "staged") == 0)
		printf("  %.0f ms", json_number(agent, "stage_ms"));
	if (strcmp(json_text(agent, "state"), "verified") == 0 && json_number(agent, "activate_ms") > 0)
		printf("  %.0f ms", json_number(agent, "activate_ms"));
	if (strcmp(json_text(agent, "state"), "failed") == 0)
		printf(" at %s: %s", json_text(agent, "step"), json_text(agent, "error"));
	putchar('\n');
	fflush(stdout);
}

static const char *agent_detail(const cJSON *agent, char *out, size_t size)
{
	bool connected = json_true(agent, "connected");
	const char *error = json_text(agent, "error");
	if (json_text(agent, "held_until")[0])
		snprintf(out, size, "until %s%s%s", json_text(agent, "held_until"), connected ? "" : "; away",
			json_text(agent, "danger")[0] ? "; DANGER, see below" : "");
	else if (error[0])
		snprintf(out, size, "%s%s: %s%s", connected ? "" : "away; ", json_text(agent, "step"), error,
			json_true(agent, "rolled_back") ? "; the old certificate is back" : "");
	else if (!connected)
		snprintf(out, size, "%s%s%s", json_text(agent, "last_seen")[0] ? "away since " : "never seen",
			json_text(agent, "last_seen"),
			json_true(agent, "overdue") ? ", longer than its away_after" : "");
	else if (json_text(agent, "waits_for")[0])
		snprintf(out, size, "waits for %s", json_text(agent, "waits_for"));
	else if (json_number(agent, "activate_ms") > 0)
		snprintf(out, size, "staged in %.0f ms, activated in %.0f ms", json_number(agent, "stage_ms"),
			json_number(agent, "activate_ms"));
	else
		out[0] = '\0';
	return out;
}

/* Prints what the table has no room for. */
static void print_agent_notes(const cJSON *agent)
{
	if (json_text(agent, "danger")[0])
		printf("    DANGER: %s is held: %s\n", json_text(agent, "agent"), json_text(agent, "danger"));
	if (json_text(agent, "drifted")[0])
		printf("    %s has drifted %.0f time%s, last %s: %s\n", json_text(agent, "agent"),
			json_number(agent, "drifts"), json_number(agent, "drifts") == 1 ? "" : "s",
			json_text(agent, "drifted"), json_text(agent, "drift"));
	if (json_text(agent, "contradicted")[0])
		printf("    %s is not believed, last %s: %s\n", json_text(agent, "agent"),
			json_text(agent, "contradicted"), json_text(agent, "contradiction"));
}

static void print_agents(const struct answers *a, const char *certificate)
{
	static const char *const header[] = {"  AGENT", "STATE", "SERVED", "SINCE", "DETAIL"};
	struct cli_table *table = cli_table_new(COUNT(header), header);
	const cJSON *agent;
	cJSON_ArrayForEach (agent, a->agents) {
		char detail[SHOW_DETAIL_MAX];
		if (strcmp(json_text(agent, "certificate"), certificate) != 0)
			continue;
		auto_free char *name = mem_printf("  %s", json_text(agent, "agent"));
		auto_free char *state =
			mem_printf("%s%s", json_text(agent, "state"), json_true(agent, "stopped") ? " (stopped)" : "");
		const char *const cells[] = {name, state, json_text(agent, "served"), json_text(agent, "since"),
			agent_detail(agent, detail, sizeof(detail))};
		cli_table_row(table, cells);
	}
	cli_table_print(table);
	cJSON_ArrayForEach (agent, a->agents) {
		if (strcmp(json_text(agent, "certificate"), certificate) == 0)
			print_agent_notes(agent);
		if (strcmp(json_text(agent, "certificate"), certificate) == 0 && json_text(agent, "rival")[0])
			printf("    another machine tried to connect as %s at %s and was refused: a clone?\n",
				json_text(agent, "agent"), json_text(agent, "rival"));
		if (strcmp(json_text(agent, "certificate"), certificate) != 0 || !json_text(agent, "output")[0])
			continue;
		printf("    output of %s on %s:\n", json_text(agent, "step"), json_text(agent, "agent"));
		cli_print_output(json_text(agent, "output"));
	}
}

/* Prints the probes that do not show the desired certificate, which is the one thing that a person must see. */
static void print_bad_probes(const struct answers *a, const char *certificate)
{
	const cJSON *agent, *probe;
	cJSON_ArrayForEach (agent, a->agents) {
		if (strcmp(json_text(agent, "certificate"), certificate) != 0)
			continue;
		cJSON_ArrayForEach (probe, json_get(agent, "probes")) {
			if (json_true(probe, "match") || json_true(probe, "stopped"))
				continue;
			printf("    %s %s: %s\n", json_text(agent, "agent"), json_text(probe, "endpoint"),
				json_true(probe, "served") ? "serves another certificate" : json_text(probe, "text"));
		}
	}
}

static void print_source(const cJSON *certificate)
{
	const cJSON *renewal = json_get(certificate, "renewal");
	const cJSON *watch = json_get(certificate, "watch"), *next;
	cJSON_ArrayForEach (next, json_get(certificate, "next_keys")) {
		printf("  next key, TLSA 3 1 1: %s\n", cJSON_IsString(next) ? next->valuestring : "?");
	}
	if (renewal && json_true(renewal, "running"))
		printf("  order: %s\n", json_text(renewal, "step"));
	if (renewal && json_text(renewal, "error")[0])
		printf("  renewal failed %.0f times: %s\n  next try %s\n", json_number(renewal, "failures"),
			json_text(renewal, "error"), json_text(renewal, "due"));
	else if (renewal)
		printf("  next renewal %s\n", json_text(renewal, "due"));
	if (renewal)
		show_renewal(renewal);
	show_warnings(certificate);
	if (watch && json_text(watch, "error")[0])
		printf("  watch: %s\n", json_text(watch, "error"));
	if (json_text(certificate, "store_error")[0])
		printf("  store: %s\n", json_text(certificate, "store_error"));
}

static void print_endpoint(const struct endpoint_row *row)
{
	char when[CLOCK_TEXT_MAX];
	const struct check *c = &row->found.check;
	const char *endpoint = row->found.endpoint;
	printf("  %s%s%s: %s since %s: %s\n", row->name, endpoint[0] ? " " : "", endpoint,
		check_verdict_text(c->verdict), clock_text(row->since, when), c->reason);
	if (c->advice[0])
		printf("    what to do: %s\n", c->advice);
}

/* Prints what standing checks have seen; those that are ok are only counted. */
static void print_endpoints(const cJSON *endpoints)
{
	size_t ok = 0, count = 0;
	const cJSON *element;
	auto_free struct endpoint_row *rows = mem_array((size_t)cJSON_GetArraySize(endpoints), sizeof(*rows));
	cJSON_ArrayForEach (element, endpoints) {
		struct error err;
		if (endpoint_row_decode(element, &rows[count], &err) < 0)
			fprintf(stderr, "certsync: warning: an endpoint that the hub told of is left out: %s\n",
				err.message);
		else
			ok += rows[count++].found.check.verdict == CHECK_OK;
	}
	if (count)
		printf("endpoints: %zu of %zu ok\n", ok, count);
	for (size_t i = 0; i < count; i++) {
		if (rows[i].found.check.verdict != CHECK_OK)
			print_endpoint(&rows[i]);
		endpoint_row_release(&rows[i]);
	}
}

void show_certificates(const struct answers *a)
{
	const cJSON *certificate;
	cJSON_ArrayForEach (certificate, a->certificates) {
		const char *name = json_text(certificate, "certificate");
		if (json_text(certificate, "fingerprint")[0])
			printf("%s  revision %s  expires %s  from %s  %s\n  SHA-256 %s\n", name,
				json_text(certificate, "revision"), json_text(certificate, "not_after"),
				json_text(certificate, "source"),
				json_true(certificate, "converged") ? "converged" : "NOT converged",
				json_text(certificate, "fingerprint"));
		else
			printf("%s  nothing published yet\n", name);
		if (json_text(certificate, "not_rolled_back")[0])
			printf("  NOT rolled back, although an activation failed: %s\n",
				json_text(certificate, "not_rolled_back"));
		print_source(certificate);
		print_agents(a, name);
		print_bad_probes(a, name);
	}
	print_endpoints(a->endpoints);
}

/* Prints the table at the end of push, renew and import. */
void show_outcome(const struct answers *a)
{
	const cJSON *agent;
	const char *last = "";
	cJSON_ArrayForEach (agent, a->agents) {
		if (strcmp(last, json_text(agent, "certificate")) == 0)
			continue;
		last = json_text(agent, "certificate");
		printf("\n%s  revision %s\n", last, json_text(agent, "desired"));
		print_agents(a, last);
		print_bad_probes(a, last);
	}
}

void show_history(const struct answers *a)
{
	static const char *const header[] = {
		"REVISION", "PUBLISHED", "EXPIRES", "FROM", "SHA-256", "WHY", "WHAT BECAME OF IT"};
	struct cli_table *table = cli_table_new(COUNT(header), header);
	const cJSON *revision;
	cJSON_ArrayForEach (revision, a->revisions) {
		char fingerprint[17];
		snprintf(fingerprint, sizeof(fingerprint), "%.16s", json_text(revision, "fingerprint"));
		auto_free char *number =
			mem_printf("%s%s", json_text(revision, "revision"), json_true(revision, "current") ? " *" : "");
		const char *why = json_text(revision, "store_error")[0] ? json_text(revision, "store_error")
									: json_text(revision, "reason");
		const char *const cells[] = {number, json_text(revision, "published"), json_text(revision, "not_after"),
			json_text(revision, "source"), fingerprint, why, json_text(revision, "outcome")};
		cli_table_row(table, cells);
	}
	cli_table_print(table);
}
