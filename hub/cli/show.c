#include "hub/cli/show.h"
#include "hub/cli/show_renewal.h"
#include "lib/cli/cli.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <stdlib.h>
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
	for (size_t i = 0; i < a->row_count; i++)
		agent_row_release(&a->rows[i]);
	for (size_t i = 0; i < a->seen_count; i++)
		endpoint_row_release(&a->seen[i]);
	free(a->rows);
	free(a->seen);
	cJSON_Delete(a->certificates);
	cJSON_Delete(a->agents);
	cJSON_Delete(a->revisions);
	cJSON_Delete(a->endpoints);
	cJSON_Delete(a->result);
	*a = (struct answers){0};
}

void show_left_out(const struct error *err)
{
	fprintf(stderr,
		"certsync: warning: a row of the hub's answer is left out: %s. Is the hub that runs another version?\n",
		err->message);
}

static void take_agent(struct answers *a, const cJSON *kept)
{
	struct error err;
	struct agent_row row;
	if (agent_row_decode(kept, &row, &err) < 0) {
		agent_row_release(&row);
		show_left_out(&err);
		return;
	}
	a->rows = mem_grow(a->rows, a->row_count + 1, sizeof(*a->rows));
	a->rows[a->row_count++] = row;
}

static void take_endpoint(struct answers *a, const cJSON *kept)
{
	struct error err;
	struct endpoint_row row;
	if (endpoint_row_decode(kept, &row, &err) < 0) {
		show_left_out(&err);
		return;
	}
	a->seen = mem_grow(a->seen, a->seen_count + 1, sizeof(*a->seen));
	a->seen[a->seen_count++] = row;
}

bool answers_take(struct answers *a, const cJSON *answer)
{
	const struct {
		const char *event;
		cJSON *list;
		void (*take)(struct answers *a, const cJSON *kept); /* NULL: it is shown as it came */
	} lists[] = {{"certificate", a->certificates, NULL}, {"agent", a->agents, take_agent},
		{"revision", a->revisions, NULL}, {"endpoint", a->endpoints, take_endpoint}};
	const char *event = json_text(answer, "event");
	for (size_t i = 0; i < COUNT(lists); i++) {
		if (strcmp(event, lists[i].event) != 0)
			continue;
		cJSON *kept = cJSON_Duplicate(answer, true);
		cJSON_AddItemToArray(lists[i].list, kept);
		if (lists[i].take)
			lists[i].take(a, kept);
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

void show_progress(const struct agent_row *row)
{
	printf("%s  %-12s %s%s", row->certificate, row->agent, rollout_state_name(row->state),
		row->stopped ? " (stopped)" : "");
	if (row->state == ROLLOUT_STAGED)
		printf("  %u ms", row->stage_ms);
	if ((row->state == ROLLOUT_VERIFIED || row->state == ROLLOUT_UNPROBED) && row->activate_ms > 0)
		printf("  %u ms", row->activate_ms);
	if (row->state == ROLLOUT_FAILED)
		printf(" at %s: %s", row->step, row->error);
	putchar('\n');
	fflush(stdout);
}

/* Returns "" for never. */
static const char *when(int64_t time, char text[CLOCK_TEXT_MAX])
{
	return time ? clock_text(time, text) : "";
}

static const char *agent_detail(const struct agent_row *row, char *out, size_t size)
{
	char text[CLOCK_TEXT_MAX];
	if (row->held_until)
		snprintf(out, size, "until %s%s%s", when(row->held_until, text), row->connected ? "" : "; away",
			row->danger ? "; DANGER, see below" : "");
	else if (row->error[0])
		snprintf(out, size, "%s%s: %s%s", row->connected ? "" : "away; ", row->step, row->error,
			row->rolled_back ? "; the old certificate is back" : "");
	else if (!row->connected)
		snprintf(out, size, "%s%s%s", row->last_seen ? "away since " : "never seen", when(row->last_seen, text),
			row->overdue ? ", longer than its away_after" : "");
	else if (row->waits_for[0])
		snprintf(out, size, "waits for %s", row->waits_for);
	else if (row->activate_ms > 0)
		snprintf(out, size, "staged in %u ms, activated in %u ms", row->stage_ms, row->activate_ms);
	else
		out[0] = '\0';
	return out;
}

/* Prints what the table has no room for. */
static void print_agent_notes(const struct agent_row *row)
{
	char text[CLOCK_TEXT_MAX];
	if (row->danger)
		printf("    DANGER: %s is held: %s\n", row->agent, row->danger);
	if (row->drifted)
		printf("    %s has drifted %u time%s, last %s: %s\n", row->agent, row->drifts,
			row->drifts == 1 ? "" : "s", when(row->drifted, text), row->drift);
	if (row->contradicted)
		printf("    %s is not believed, last %s: %s\n", row->agent, when(row->contradicted, text),
			row->contradiction);
	if (row->rival)
		printf("    another machine tried to connect as %s at %s and was refused: a clone?\n", row->agent,
			when(row->rival, text));
	if (row->output[0]) {
		printf("    output of %s on %s:\n", row->step, row->agent);
		cli_print_output(row->output);
	}
}

static bool is_of(const struct agent_row *row, const char *certificate)
{
	return strcmp(row->certificate, certificate) == 0;
}

/* A placeholder has a fingerprint, too: without one the agent has not said yet what it serves. */
static const char *served_text(const struct agent_row *row, char text[REVISION_TEXT_MAX])
{
	char hex[CHAIN_HEX_MAX];
	return revision_is_placeholder(row->served) && !content_hex(row->leaf, hex)[0]
		? "?"
		: revision_text(row->served, text);
}

static void print_agents(const struct answers *a, const char *certificate)
{
	static const char *const header[] = {"  AGENT", "STATE", "SERVED", "SINCE", "DETAIL"};
	struct cli_table *table = cli_table_new(COUNT(header), header);
	for (size_t i = 0; i < a->row_count; i++) {
		char detail[SHOW_DETAIL_MAX], served[REVISION_TEXT_MAX], since[CLOCK_TEXT_MAX];
		const struct agent_row *row = &a->rows[i];
		if (!is_of(row, certificate))
			continue;
		auto_free char *name = mem_printf("  %s", row->agent);
		auto_free char *state =
			mem_printf("%s%s", rollout_state_name(row->state), row->stopped ? " (stopped)" : "");
		const char *const cells[] = {name, state, served_text(row, served), when(row->since, since),
			agent_detail(row, detail, sizeof(detail))};
		cli_table_row(table, cells);
	}
	cli_table_print(table);
	for (size_t i = 0; i < a->row_count; i++)
		if (is_of(&a->rows[i], certificate))
			print_agent_notes(&a->rows[i]);
}

/* Prints the probes that do not show the desired certificate, which is the one thing that a person must see. */
static void print_bad_probes(const struct answers *a, const char *certificate)
{
	for (size_t i = 0; i < a->row_count; i++)
		for (size_t k = 0; k < a->rows[i].probe_count && is_of(&a->rows[i], certificate); k++) {
			const struct message_probe *p = &a->rows[i].probes[k];
			if (!p->match && !p->stopped)
				printf("    %s %s: %s\n", a->rows[i].agent, p->endpoint,
					p->served ? "serves another certificate" : p->text);
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
	char since[CLOCK_TEXT_MAX];
	const struct check *c = &row->found.check;
	const char *endpoint = row->found.endpoint;
	printf("  %s%s%s: %s since %s: %s\n", row->name, endpoint[0] ? " " : "", endpoint,
		check_verdict_text(c->verdict), clock_text(row->since, since), c->reason);
	if (c->advice[0])
		printf("    what to do: %s\n", c->advice);
}

/* Prints what standing checks have seen; those that are ok are only counted. */
static void print_endpoints(const struct answers *a)
{
	size_t ok = 0;
	for (size_t i = 0; i < a->seen_count; i++)
		ok += a->seen[i].found.check.verdict == CHECK_OK;
	if (a->seen_count)
		printf("endpoints: %zu of %zu ok\n", ok, a->seen_count);
	for (size_t i = 0; i < a->seen_count; i++)
		if (a->seen[i].found.check.verdict != CHECK_OK)
			print_endpoint(&a->seen[i]);
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
	print_endpoints(a);
}

/* Prints the table at the end of push, renew and import. */
void show_outcome(const struct answers *a)
{
	char desired[REVISION_TEXT_MAX];
	const char *last = "";
	for (size_t i = 0; i < a->row_count; i++) {
		if (is_of(&a->rows[i], last))
			continue;
		last = a->rows[i].certificate;
		printf("\n%s  revision %s\n", last, revision_text(a->rows[i].desired, desired));
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
