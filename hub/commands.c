#include "hub/commands.h"
#include "hub/renewal_show.h"
#include "hub/config.h"
#include "lib/ask.h"
#include "lib/fs.h"
#include "lib/mem.h"
#include "lib/name.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COMMAND_FAULTS_MAX = 64 * 1024, COMMAND_OUTPUT_MAX = 1024 * 1024, COMMAND_LINE_MAX = 2048 };

/* What has been answered so far. */
struct answers {
	bool json, live; /* live: progress is shown as it comes */
	cJSON *certificates, *agents, *revisions, *result; /* owned */
};

static void answers_release(struct answers *a)
{
	cJSON_Delete(a->certificates);
	cJSON_Delete(a->agents);
	cJSON_Delete(a->revisions);
	cJSON_Delete(a->result);
}

static const char *text_of(const cJSON *o, const char *key)
{
	const cJSON *value = json_get(o, key);
	return cJSON_IsString(value) ? value->valuestring : "";
}

static double number_of(const cJSON *o, const char *key)
{
	const cJSON *value = json_get(o, key);
	return cJSON_IsNumber(value) ? value->valuedouble : 0;
}

static bool is_true(const cJSON *o, const char *key)
{
	return cJSON_IsTrue(json_get(o, key));
}

/* Showing. */

static void print_indented(const char *text)
{
	while (*text) {
		size_t len = strcspn(text, "\n");
		printf("      | %.*s\n", (int)len, text);
		text += len + (text[len] == '\n');
	}
}

static void print_progress(const cJSON *agent)
{
	printf("%s  %-12s %s%s", text_of(agent, "certificate"), text_of(agent, "agent"), text_of(agent, "state"),
		is_true(agent, "stopped") ? " (stopped)" : "");
	if (strcmp(text_of(agent, "state"), "staged") == 0)
		printf("  %.0f ms", number_of(agent, "stage_ms"));
	if (strcmp(text_of(agent, "state"), "verified") == 0 && number_of(agent, "activate_ms") > 0)
		printf("  %.0f ms", number_of(agent, "activate_ms"));
	if (strcmp(text_of(agent, "state"), "failed") == 0)
		printf(" at %s: %s", text_of(agent, "step"), text_of(agent, "error"));
	putchar('\n');
	fflush(stdout);
}

static const char *agent_detail(const cJSON *agent, char *out, size_t size)
{
	bool connected = is_true(agent, "connected");
	const char *error = text_of(agent, "error");
	if (text_of(agent, "held_until")[0])
		snprintf(out, size, "until %s%s%s", text_of(agent, "held_until"), connected ? "" : "; away",
			text_of(agent, "danger")[0] ? "; DANGER, see below" : "");
	else if (error[0])
		snprintf(out, size, "%s%s: %s%s", connected ? "" : "away; ", text_of(agent, "step"), error,
			is_true(agent, "rolled_back") ? "; the old certificate is back" : "");
	else if (!connected)
		snprintf(out, size, "%s%s%s", text_of(agent, "last_seen")[0] ? "away since " : "never seen",
			text_of(agent, "last_seen"), is_true(agent, "overdue") ? ", longer than its away_after" : "");
	else if (text_of(agent, "waits_for")[0])
		snprintf(out, size, "waits for %s", text_of(agent, "waits_for"));
	else if (number_of(agent, "activate_ms") > 0)
		snprintf(out, size, "staged in %.0f ms, activated in %.0f ms", number_of(agent, "stage_ms"),
			number_of(agent, "activate_ms"));
	else
		out[0] = '\0';
	return out;
}

/* What the table has no room for. */
static void print_agent_notes(const cJSON *agent)
{
	if (text_of(agent, "danger")[0])
		printf("    DANGER: %s is held: %s\n", text_of(agent, "agent"), text_of(agent, "danger"));
	if (text_of(agent, "drifted")[0])
		printf("    %s has drifted %.0f time%s, last %s: %s\n", text_of(agent, "agent"), number_of(agent, "drifts"),
			number_of(agent, "drifts") == 1 ? "" : "s", text_of(agent, "drifted"), text_of(agent, "drift"));
}

static void print_agents(const struct answers *a, const char *certificate)
{
	static const char *const header[] = {"  AGENT", "STATE", "SERVED", "SINCE", "DETAIL"};
	struct cli_table *table = cli_table_new(COUNT(header), header);
	const cJSON *agent;
	cJSON_ArrayForEach(agent, a->agents)
	{
		char detail[COMMAND_LINE_MAX];
		if (strcmp(text_of(agent, "certificate"), certificate) != 0)
			continue;
		auto_free char *name = mem_printf("  %s", text_of(agent, "agent"));
		auto_free char *state = mem_printf("%s%s", text_of(agent, "state"),
			is_true(agent, "stopped") ? " (stopped)" : "");
		const char *const cells[] = {name, state, text_of(agent, "served"), text_of(agent, "since"),
			agent_detail(agent, detail, sizeof(detail))};
		cli_table_row(table, cells);
	}
	cli_table_print(table);
	cJSON_ArrayForEach(agent, a->agents)
	{
		if (strcmp(text_of(agent, "certificate"), certificate) == 0)
			print_agent_notes(agent);
		if (strcmp(text_of(agent, "certificate"), certificate) == 0 && text_of(agent, "rival")[0])
			printf("    another machine tried to connect as %s at %s and was refused: a clone?\n", text_of(agent, "agent"),
				text_of(agent, "rival"));
		if (strcmp(text_of(agent, "certificate"), certificate) != 0 || !text_of(agent, "output")[0])
			continue;
		printf("    output of %s on %s:\n", text_of(agent, "step"), text_of(agent, "agent"));
		print_indented(text_of(agent, "output"));
	}
}

/* Probes that do not show the desired certificate: the one thing that a person must see. */
static void print_bad_probes(const struct answers *a, const char *certificate)
{
	const cJSON *agent, *probe;
	cJSON_ArrayForEach(agent, a->agents)
	{
		if (strcmp(text_of(agent, "certificate"), certificate) != 0)
			continue;
		cJSON_ArrayForEach(probe, json_get(agent, "probes"))
		{
			if (is_true(probe, "match") || is_true(probe, "stopped"))
				continue;
			printf("    %s %s: %s\n", text_of(agent, "agent"), text_of(probe, "endpoint"),
				is_true(probe, "served") ? "serves another certificate" : text_of(probe, "text"));
		}
	}
}

static void print_source(const cJSON *certificate)
{
	const cJSON *renewal = json_get(certificate, "renewal");
	const cJSON *watch = json_get(certificate, "watch");
	if (renewal && is_true(renewal, "running"))
		printf("  order: %s\n", text_of(renewal, "step"));
	if (renewal && text_of(renewal, "error")[0])
		printf("  renewal failed %.0f times: %s\n  next try %s\n", number_of(renewal, "failures"),
			text_of(renewal, "error"), text_of(renewal, "due"));
	else if (renewal)
		printf("  next renewal %s\n", text_of(renewal, "due"));
	if (renewal)
		show_renewal(renewal);
	show_warnings(certificate);
	if (watch && text_of(watch, "error")[0])
		printf("  watch: %s\n", text_of(watch, "error"));
	if (text_of(certificate, "store_error")[0])
		printf("  store: %s\n", text_of(certificate, "store_error"));
}

static void print_certificates(const struct answers *a)
{
	const cJSON *certificate;
	cJSON_ArrayForEach(certificate, a->certificates)
	{
		const char *name = text_of(certificate, "certificate");
		if (text_of(certificate, "fingerprint")[0])
			printf("%s  revision %s  expires %s  from %s  %s\n  SHA-256 %s\n", name,
				text_of(certificate, "revision"), text_of(certificate, "not_after"), text_of(certificate, "source"),
				is_true(certificate, "converged") ? "converged" : "NOT converged", text_of(certificate, "fingerprint"));
		else
			printf("%s  nothing published yet\n", name);
		if (text_of(certificate, "not_rolled_back")[0])
			printf("  NOT rolled back, although an activation failed: %s\n", text_of(certificate, "not_rolled_back"));
		print_source(certificate);
		print_agents(a, name);
		print_bad_probes(a, name);
	}
}

/* The table at the end of push, renew and import. */
static void print_outcome(const struct answers *a)
{
	const cJSON *agent;
	const char *last = "";
	cJSON_ArrayForEach(agent, a->agents)
	{
		if (strcmp(last, text_of(agent, "certificate")) == 0)
			continue;
		last = text_of(agent, "certificate");
		printf("\n%s  revision %s\n", last, text_of(agent, "desired"));
		print_agents(a, last);
		print_bad_probes(a, last);
	}
}

/* Asking. */

static void on_answer(const cJSON *answer, void *context)
{
	struct answers *a = context;
	const char *event = text_of(answer, "event");
	if (strcmp(event, "certificate") == 0)
		cJSON_AddItemToArray(a->certificates, cJSON_Duplicate(answer, true));
	else if (strcmp(event, "agent") == 0)
		cJSON_AddItemToArray(a->agents, cJSON_Duplicate(answer, true));
	else if (strcmp(event, "revision") == 0)
		cJSON_AddItemToArray(a->revisions, cJSON_Duplicate(answer, true));
	else if (strcmp(event, "result") == 0)
		a->result = cJSON_Duplicate(answer, true);
	else if (strcmp(event, "progress") == 0 && a->live && !a->json)
		print_progress(answer);
	else if (strcmp(event, "order") == 0 && a->live && !a->json)
		printf("%s  order: %s\n", text_of(answer, "certificate"), text_of(answer, "step"));
	fflush(stdout);
}

static void print_json(struct answers *a)
{
	auto_json cJSON *all = cJSON_CreateObject();
	cJSON_AddItemToObject(all, "certificates", steal(a->certificates));
	cJSON_AddItemToObject(all, "agents", steal(a->agents));
	if (cJSON_GetArraySize(a->revisions))
		cJSON_AddItemToObject(all, "revisions", steal(a->revisions));
	cJSON_AddNumberToObject(all, "exit", number_of(a->result, "exit"));
	if (text_of(a->result, "error")[0])
		cJSON_AddStringToObject(all, "error", text_of(a->result, "error"));
	if (text_of(a->result, "warning")[0])
		cJSON_AddStringToObject(all, "warning", text_of(a->result, "warning"));
	char *text = cJSON_Print(all);
	puts(text ? text : "{}");
	cJSON_free(text);
}

static char *control_path(const struct cli_line *line, int *ret_exit)
{
	if (cli_config_is_hidden(line))
		return mem_strdup(HUB_RUN_DEFAULT "/control.sock");
	auto_buf struct buf faults = BUF_INIT(COMMAND_FAULTS_MAX);
	struct hub_config *config = hub_config_load(line->config, &faults);
	if (!config) {
		fputs(buf_text(&faults), stderr);
		*ret_exit = CLI_USAGE;
		return NULL;
	}
	char *path = mem_printf("%s/control.sock", config->run);
	hub_config_free(config);
	return path;
}

/* Asks, shows, returns the exit code. Takes the request over. */
static int ask_hub(const struct cli_line *line, cJSON *request, const struct files *files,
	void (*show)(const struct answers *a))
{
	struct error err;
	auto_json cJSON *owned = request;
	struct answers a = {.json = cli_has(line, "--json"), .live = show == print_outcome};
	int exit_code = CLI_USAGE;
	auto_free char *path = control_path(line, &exit_code);
	if (!path)
		return exit_code;
	a.certificates = cJSON_CreateArray();
	a.agents = cJSON_CreateArray();
	a.revisions = cJSON_CreateArray();
	exit_code = ask(path, owned, files, on_answer, &a, &err);
	if (exit_code < 0) {
		exit_code = cli_fail(CLI_UNREACHABLE, "the hub cannot be reached: %s. Does certsync-hub-root run here, and are "
			"you in the group that may use it?", err.message);
	} else if (a.json) {
		print_json(&a);
	} else {
		show(&a);
		if (text_of(a.result, "warning")[0])
			fprintf(stderr, "certsync: warning: %s\n", text_of(a.result, "warning"));
		if (text_of(a.result, "error")[0])
			cli_fail(CLI_FAILED, "%s", text_of(a.result, "error"));
	}
	answers_release(&a);
	return exit_code;
}

int command_follow(const struct cli_line *line, cJSON *request)
{
	return ask_hub(line, request, NULL, print_outcome);
}

int command_ask(const struct cli_line *line, cJSON *request, ask_answer *answer, void *context)
{
	struct error err;
	auto_json cJSON *owned = request;
	int exit_code = CLI_USAGE;
	auto_free char *path = control_path(line, &exit_code);
	if (!path)
		return exit_code;
	exit_code = ask(path, owned, NULL, answer, context, &err);
	if (exit_code < 0)
		return cli_fail(CLI_UNREACHABLE, "the hub cannot be reached: %s. Does certsync-hub-root run here, and are "
			"you in the group that may use it?", err.message);
	return exit_code;
}

static cJSON *new_request(const char *command)
{
	cJSON *request = cJSON_CreateObject();
	cJSON_AddStringToObject(request, "command", command);
	return request;
}

static void add_certificates(cJSON *request, const struct cli_line *line)
{
	cJSON *names = cJSON_AddArrayToObject(request, "certificates");
	for (int i = 0; i < line->plain_count; i++)
		cJSON_AddItemToArray(names, cJSON_CreateString(line->plain[i]));
}

int command_status(const struct cli_line *line)
{
	return ask_hub(line, new_request("status"), NULL, print_certificates);
}

int command_push(const struct cli_line *line)
{
	cJSON *request = new_request("push");
	add_certificates(request, line);
	cJSON_AddBoolToObject(request, "force", cli_has(line, "--force"));
	cJSON_AddBoolToObject(request, "proceed", cli_has(line, "--proceed"));
	cJSON *agents = cJSON_AddArrayToObject(request, "agents");
	for (int i = 0; cli_value(line, "--agent", i); i++)
		cJSON_AddItemToArray(agents, cJSON_CreateString(cli_value(line, "--agent", i)));
	return ask_hub(line, request, NULL, print_outcome);
}

int command_renew(const struct cli_line *line)
{
	cJSON *request = new_request("renew");
	add_certificates(request, line);
	cJSON_AddBoolToObject(request, "force", cli_has(line, "--force"));
	return ask_hub(line, request, NULL, print_outcome);
}

int command_rollback(const struct cli_line *line)
{
	cJSON *request = new_request("rollback");
	cJSON_AddStringToObject(request, "certificate", line->plain[0]);
	if (line->plain_count > 1)
		cJSON_AddStringToObject(request, "revision", line->plain[1]);
	return ask_hub(line, request, NULL, print_outcome);
}

static void print_history(const struct answers *a)
{
	static const char *const header[] = {"REVISION", "PUBLISHED", "EXPIRES", "FROM", "SHA-256", "WHY"};
	struct cli_table *table = cli_table_new(COUNT(header), header);
	const cJSON *revision;
	cJSON_ArrayForEach(revision, a->revisions)
	{
		char fingerprint[17];
		snprintf(fingerprint, sizeof(fingerprint), "%.16s", text_of(revision, "fingerprint"));
		auto_free char *number = mem_printf("%s%s", text_of(revision, "revision"), is_true(revision, "current") ? " *" : "");
		const char *why = text_of(revision, "store_error")[0] ? text_of(revision, "store_error") : text_of(revision, "reason");
		const char *const cells[] = {number, text_of(revision, "published"), text_of(revision, "not_after"),
			text_of(revision, "source"), fingerprint, why};
		cli_table_row(table, cells);
	}
	cli_table_print(table);
}

int command_history(const struct cli_line *line)
{
	cJSON *request = new_request("history");
	cJSON_AddStringToObject(request, "certificate", line->plain[0]);
	return ask_hub(line, request, NULL, print_history);
}

/* The nth --key and --chain, as files of these names. 1, or 0 when they were not given, or -1. */
static int add_pair(const struct cli_line *line, int nth, struct buf *key, struct buf *chain, struct files *files)
{
	static const char *const names[][2] = {{"key", "chain"}, {"key-2", "chain-2"}};
	struct error err;
	const char *key_path = cli_value(line, "--key", nth), *chain_path = cli_value(line, "--chain", nth);
	if (!key_path && !chain_path)
		return 0;
	if (!key_path || !chain_path || cli_value(line, "--key", COUNT(names)) || cli_value(line, "--chain", COUNT(names))) {
		cli_fail(CLI_USAGE, "give --key FILE and --chain FILE once, or both twice for an ECDSA and an RSA pair");
		return -1;
	}
	if (fs_read(AT_FDCWD, key_path, true, key, &err) < 0 || fs_read(AT_FDCWD, chain_path, true, chain, &err) < 0) {
		cli_fail(CLI_USAGE, "%s", err.message);
		return -1;
	}
	if (files_add(files, names[nth][0], key->data, key->len) < 0 ||
		files_add(files, names[nth][1], chain->data, chain->len) < 0)
		abort(); /* read with the same limits */
	return 1;
}

int command_import(const struct cli_line *line)
{
	struct files files = {.label = "import"};
	auto_buf struct buf key = BUF_INIT(FILES_FILE_MAX), chain = BUF_INIT(FILES_FILE_MAX);
	auto_buf struct buf second_key = BUF_INIT(FILES_FILE_MAX), second_chain = BUF_INIT(FILES_FILE_MAX);
	if (!cli_value(line, "--key", 0) || !cli_value(line, "--chain", 0))
		return cli_fail(CLI_USAGE, "import needs --key FILE and --chain FILE (the leaf first, then its issuers)");
	if (add_pair(line, 0, &key, &chain, &files) < 0 || add_pair(line, 1, &second_key, &second_chain, &files) < 0)
		return CLI_USAGE;
	cJSON *request = new_request("import");
	cJSON_AddStringToObject(request, "certificate", line->plain[0]);
	cJSON_AddBoolToObject(request, "may_expire_sooner", cli_has(line, "--may-expire-sooner"));
	return ask_hub(line, request, &files, print_outcome);
}

static void print_line(const struct answers *a)
{
	if (text_of(a->result, "line")[0])
		puts(text_of(a->result, "line"));
}

int command_agent_add(const struct cli_line *line)
{
	char identity[COMMAND_LINE_MAX];
	const char *key = cli_value(line, "--key", 0);
	if (!name_is_agent(line->plain[0]))
		return cli_fail(CLI_USAGE, "\"%s\" is not a name for an agent: a-z, 0-9, '.', '_', '-', up to 63", line->plain[0]);
	if (!key)
		return cli_fail(CLI_USAGE, "give the agent's line with --key LINE, or --key - and the line on standard input "
			"(certsync-agent identity prints it)");
	if (strcmp(key, "-") == 0) {
		if (!fgets(identity, sizeof(identity), stdin))
			return cli_fail(CLI_USAGE, "standard input has no line: run `certsync-agent identity` on the node");
		identity[strcspn(identity, "\r\n")] = '\0';
		key = identity;
	}
	cJSON *request = new_request("agent-add");
	cJSON_AddStringToObject(request, "name", line->plain[0]);
	cJSON_AddStringToObject(request, "key", key);
	return ask_hub(line, request, NULL, print_line);
}

int command_config(const struct cli_line *line)
{
	auto_buf struct buf text = BUF_INIT(COMMAND_OUTPUT_MAX);
	struct hub_config *config = hub_config_load(line->config, &text);
	if (!config) {
		fputs(buf_text(&text), stderr);
		return CLI_USAGE;
	}
	hub_config_print(config, &text);
	fputs(buf_text(&text), stdout);
	hub_config_free(config);
	return CLI_DONE;
}
