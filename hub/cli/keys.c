#include "hub/cli/keys.h"
#include "hub/cli/commands.h"
#include "lib/core/mem.h"
#include "lib/wire/json.h"

#include <stdio.h>
#include <string.h>

/* Collects events into their lists, and the result's members beside them. */
static void on_answer(const cJSON *answer, void *context)
{
	cJSON *all = context;
	const char *event = json_text(answer, "event");
	cJSON *copy = cJSON_Duplicate(answer, true);
	cJSON_DeleteItemFromObjectCaseSensitive(copy, "event");
	if (strcmp(event, "result") == 0)
		for (cJSON *member; (member = cJSON_DetachItemFromArray(copy, 0));)
			cJSON_AddItemToObject(all, member->string, member);
	else if (strcmp(event, "key") == 0)
		cJSON_AddItemToObject(all, json_text(answer, "which"), cJSON_CreateString(json_text(answer, "key")));
	else if (strcmp(event, "missing") == 0)
		cJSON_AddItemToArray(cJSON_GetObjectItemCaseSensitive(all, "missing"), cJSON_Duplicate(copy, true));
	cJSON_Delete(copy);
}

static void show_phase(const cJSON *all)
{
	const char *phase = json_text(all, "phase"), *since = json_text(all, "since"), *by = json_text(all, "by");
	int missing = cJSON_GetArraySize(json_get(all, "missing"));
	int agents = (int)json_number(all, "agents");
	if (strcmp(phase, "told") == 0)
		printf("being replaced since %s, as %s asked: %d of %d agents take both keys; the next one takes over when all do\n",
			since, by, agents - missing, agents);
	else if (strcmp(phase, "switched") == 0)
		printf("replaced, as %s asked at %s; the old key is wiped here: %d of %d agents have forgotten it\n",
			by, since, agents - missing, agents);
	else if (since[0] && missing)
		printf("replaced the last time as %s asked at %s; agents refuse the present one:\n", by, since);
	else if (since[0])
		printf("replaced the last time as %s asked at %s: every agent has the new key, and none the old one\n",
			by, since);
	else
		puts("it was never replaced");
}

static void show(const cJSON *all)
{
	const cJSON *o;
	printf("signing key  ed25519:%s\n", json_text(all, "present"));
	if (json_text(all, "next")[0])
		printf("next key     ed25519:%s\n", json_text(all, "next"));
	show_phase(all);
	cJSON_ArrayForEach (o, json_get(all, "missing"))
		printf("  %s%s: %s\n", json_text(o, "agent"), json_true(o, "must_join") ? " has to join again" : "",
			json_text(o, "reason"));
}

static int show_answer_of(const struct cli_line *line, const char *command)
{
	cJSON *request = cJSON_CreateObject();
	auto_json cJSON *all = cJSON_CreateObject();
	cJSON_AddStringToObject(request, "command", command);
	cJSON_AddBoolToObject(request, "now", cli_has(line, "--now"));
	cJSON_AddArrayToObject(all, "missing");
	int exit_code = command_ask(line, request, on_answer, all);
	if (!json_get(all, "exit"))
		return exit_code;
	if (cli_has(line, "--json")) {
		char *text = cJSON_Print(all);
		puts(text ? text : "{}");
		cJSON_free(text);
		return exit_code;
	}
	if (json_text(all, "error")[0])
		return cli_fail((enum cli_exit)exit_code, "%s", json_text(all, "error"));
	show(all);
	return exit_code;
}

int command_keys(const struct cli_line *line)
{
	return show_answer_of(line, "keys");
}

int command_keys_rotate(const struct cli_line *line)
{
	return show_answer_of(line, "keys-rotate");
}
