#include "hub/cli/agents.h"
#include "hub/cli/commands.h"
#include "lib/core/base64.h"
#include "lib/core/files.h"
#include "lib/crypto/join.h"
#include "lib/wire/json.h"
#include "lib/core/mem.h"
#include "lib/core/name.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { AGENT_LINE_MAX = 8192 };

static cJSON *new_request(const char *command, const struct cli_line *line)
{
	cJSON *request = cJSON_CreateObject();
	cJSON_AddStringToObject(request, "command", command);
	if (line->plain_count)
		cJSON_AddStringToObject(request, "name", line->plain[0]);
	return request;
}

/* Collects the final answer's members, and "agent" events as an array beside them. */
static void on_answer(const cJSON *answer, void *context)
{
	cJSON *all = context;
	const char *event = json_text(answer, "event");
	static const char *const kept[] = {"exit", "error", "line"};
	for (size_t i = 0; i < COUNT(kept) && strcmp(event, "result") == 0; i++)
		if (json_get(answer, kept[i]))
			cJSON_AddItemToObject(all, kept[i], cJSON_Duplicate(json_get(answer, kept[i]), true));
	if (strcmp(event, "agent") == 0) {
		cJSON *copy = cJSON_Duplicate(answer, true);
		cJSON_DeleteItemFromObjectCaseSensitive(copy, "event");
		cJSON_AddItemToArray(cJSON_GetObjectItemCaseSensitive(all, "agents"), copy);
	}
}

/* Asks, and reports an error. */
static int ask_hub(const struct cli_line *line, cJSON *request, const struct files *files, cJSON *all)
{
	int exit_code = command_ask_with(line, request, files, on_answer, all);
	if (json_text(all, "error")[0])
		cli_fail((enum cli_exit)exit_code, "%s", json_text(all, "error"));
	return exit_code;
}

/* ---- adding by a line that is good once ---- */

static int print_join_line(const char *public_part, const uint8_t secret[JOIN_SECRET_SIZE])
{
	struct error err;
	char check[JOIN_CHECK_SIZE + 1];
	auto_buf struct buf text = BUF_INIT(AGENT_LINE_MAX);
	if (buf_addf(&text, "%s secret=", public_part) < 0 || base64_encode(secret, JOIN_SECRET_SIZE, &text) < 0 ||
		join_line_check(buf_text(&text), text.len, check, &err) < 0)
		return cli_fail(CLI_FAILED, "the hub's line is too long");
	printf("%s check=%s\n", buf_text(&text), check);
	fprintf(stderr, "good once, for %d minutes: give it to `certsync-agent join` on that node, as root\n",
		JOIN_LINE_SECONDS / 60);
	return CLI_DONE;
}

static int ask_with_secret(const struct cli_line *line, bool rotates, const uint8_t secret[JOIN_SECRET_SIZE])
{
	struct error err;
	auto_join_keys struct join_keys keys = {0};
	struct files files = {.label = "join"};
	auto_json cJSON *all = cJSON_CreateObject();
	if (join_derive(secret, &keys, &err) < 0)
		return cli_fail(CLI_FAILED, "%s", err.message);
	if (files_add(&files, "login", keys.login_public, sizeof(keys.login_public)) < 0 ||
		files_add(&files, "mac", keys.mac, sizeof(keys.mac)) < 0)
		mem_abort(__func__); /* two small files */
	cJSON *request = new_request("agent-join", line);
	cJSON_AddBoolToObject(request, "rotates", rotates);
	cJSON_AddBoolToObject(request, "replace", cli_has(line, "--replace"));
	int exit_code = ask_hub(line, request, &files, all);
	return exit_code == CLI_DONE ? print_join_line(json_text(all, "line"), secret) : exit_code;
}

/* The secret is made here and goes nowhere but into the line: the hub is told only what follows from it. */
static int print_join(const struct cli_line *line, bool rotates)
{
	uint8_t secret[JOIN_SECRET_SIZE];
	if (getrandom(secret, sizeof(secret), 0) != sizeof(secret))
		return cli_fail(CLI_FAILED, "no random bytes: %s", strerror(errno));
	int exit_code = ask_with_secret(line, rotates, secret);
	explicit_bzero(secret, sizeof(secret));
	return exit_code;
}

/* ---- adding by hand ---- */
static int add_identity(const struct cli_line *line, const char *key)
{
	char identity[AGENT_LINE_MAX];
	auto_json cJSON *all = cJSON_CreateObject();
	if (strcmp(key, "-") == 0) {
		if (!fgets(identity, sizeof(identity), stdin))
			return cli_fail(
				CLI_USAGE, "standard input has no line: run `certsync-agent identity` on the node");
		identity[strcspn(identity, "\r\n")] = '\0';
		key = identity;
	}
	cJSON *request = new_request("agent-add", line);
	cJSON_AddStringToObject(request, "key", key);
	cJSON_AddBoolToObject(request, "replace", cli_has(line, "--replace"));
	int exit_code = ask_hub(line, request, NULL, all);
	if (exit_code == CLI_DONE)
		puts(json_text(all, "line"));
	return exit_code;
}

static int check_name(const struct cli_line *line)
{
	if (name_is_agent(line->plain[0]))
		return CLI_DONE;
	return cli_fail(
		CLI_USAGE, "\"%s\" is not a name for an agent: a-z, 0-9, '.', '_', '-', up to 63", line->plain[0]);
}

int command_agent_add(const struct cli_line *line)
{
	const char *key = cli_value(line, "--key", 0);
	int exit_code = check_name(line);
	if (exit_code != CLI_DONE)
		return exit_code;
	return key ? add_identity(line, key) : print_join(line, false);
}

int command_agent_rotate(const struct cli_line *line)
{
	int exit_code = check_name(line);
	return exit_code == CLI_DONE ? print_join(line, true) : exit_code;
}

int command_agent_remove(const struct cli_line *line)
{
	auto_json cJSON *all = cJSON_CreateObject();
	int exit_code = check_name(line);
	if (exit_code != CLI_DONE)
		return exit_code;
	exit_code = ask_hub(line, new_request("agent-remove", line), NULL, all);
	if (exit_code == CLI_DONE)
		puts(json_text(all, "line"));
	return exit_code;
}

/* ---- the list ---- */

static void add_row(struct cli_table *table, const cJSON *o)
{
	const char *until = json_text(o, "join_until");
	const char *error = json_text(o, "error");
	auto_free char *state = mem_printf("%s%s%s%s", json_text(o, "state"), until[0] ? " until " : "", until,
		json_true(o, "rotates")               ? ", new keys not proven yet"
			: json_text(o, "rotation")[0] ? ", is to have new keys"
						      : "");
	auto_free char *count = mem_printf("%d", cJSON_GetArraySize(json_get(o, "certificates")));
	const char *seen = json_text(o, "last_seen"), *enrolled = json_text(o, "enrolled");
	const char *const cells[] = {json_text(o, "agent"), state, seen[0] ? seen : "never",
		enrolled[0] ? enrolled : "-", count, json_text(o, "version")[0] ? json_text(o, "version") : "-",
		error[0]                        ? error
			: json_true(o, "local") ? "(local)"
						: json_text(o, "ssh")};
	cli_table_row(table, cells);
}

int command_agent_list(const struct cli_line *line)
{
	static const char *const header[] = {
		"AGENT", "STATE", "LAST SEEN", "KEYS SINCE", "CERTIFICATES", "VERSION", "SSH KEY"};
	auto_json cJSON *all = cJSON_CreateObject();
	const cJSON *o;
	cJSON_AddArrayToObject(all, "agents");
	int exit_code = ask_hub(line, new_request("agent-list", line), NULL, all);
	if (!json_get(all, "exit"))
		return exit_code;
	if (cli_has(line, "--json")) {
		char *text = cJSON_Print(all);
		puts(text ? text : "{}");
		cJSON_free(text);
		return exit_code;
	}
	struct cli_table *table = cli_table_new(COUNT(header), header);
	cJSON_ArrayForEach (o, json_get(all, "agents"))
		add_row(table, o);
	cli_table_print(table);
	return exit_code;
}
