#include "hub/cli/alerts.h"
#include "hub/cli/commands.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Collects events into their lists, and the result's members beside them. */
static void on_answer(const cJSON *answer, void *context)
{
	cJSON *all = context;
	const char *event = json_text(answer, "event");
	const char *list = strcmp(event, "condition") == 0 ? "conditions"
		: strcmp(event, "channel") == 0            ? "channels"
							   : NULL;
	if (list && json_get(all, list)) {
		cJSON *copy = cJSON_Duplicate(answer, true);
		cJSON_DeleteItemFromObjectCaseSensitive(copy, "event");
		cJSON_AddItemToArray(cJSON_GetObjectItemCaseSensitive(all, list), copy);
	}
	static const char *const kept[] = {"exit", "error"};
	for (size_t i = 0; i < COUNT(kept); i++)
		if (json_get(answer, kept[i]) && strcmp(event, "result") == 0)
			cJSON_AddItemToObject(all, kept[i], cJSON_Duplicate(json_get(answer, kept[i]), true));
}

static void show_tests(const cJSON *all)
{
	const cJSON *o;
	cJSON_ArrayForEach (o, json_get(all, "channels"))
		printf("%-6s  %s: %s\n", json_true(o, "ok") ? "ok" : "FAILED", json_text(o, "channel"),
			json_text(o, "text"));
}

static void show_condition(const cJSON *o)
{
	const char *told = json_text(o, "told");
	printf("%s  %s: %s\n  %s\n  since %s, %s%s\n", json_true(o, "critical") ? "CRITICAL" : "WARNING ",
		json_text(o, "subject"), json_text(o, "kind"), json_text(o, "text"), json_text(o, "since"),
		told[0] ? "told " : "not told yet", told);
}

static void show_list(const cJSON *all)
{
	const cJSON *o;
	if (!cJSON_GetArraySize(json_get(all, "conditions")))
		puts("nothing is wrong");
	cJSON_ArrayForEach (o, json_get(all, "conditions"))
		show_condition(o);
	if (!cJSON_GetArraySize(json_get(all, "channels")))
		puts("nobody is told: the alert section of hub.conf has neither email nor webhook nor "
		     "command");
	cJSON_ArrayForEach (o, json_get(all, "channels"))
		if (json_text(o, "error")[0])
			printf("FAILED    %s: %.0f message(s) wait, next try %s: %s\n", json_text(o, "channel"),
				json_number(o, "waiting"), json_text(o, "next_try"), json_text(o, "error"));
}

static int run(const struct cli_line *line, const char *command, void (*show)(const cJSON *all))
{
	cJSON *request = cJSON_CreateObject();
	auto_json cJSON *all = cJSON_CreateObject();
	cJSON_AddStringToObject(request, "command", command);
	if (strcmp(command, "alert-list") == 0)
		cJSON_AddArrayToObject(all, "conditions");
	cJSON_AddArrayToObject(all, "channels");
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

int command_alert_test(const struct cli_line *line)
{
	return run(line, "alert-test", show_tests);
}

int command_alert_list(const struct cli_line *line)
{
	return run(line, "alert-list", show_list);
}
