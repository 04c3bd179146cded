#include "hub/cli/hold.h"
#include "hub/cli/commands.h"
#include "hub/cli/show.h"
#include "lib/config/value.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"
#include "lib/wire/message.h"

#include <stdio.h>
#include <string.h>

const struct cli_option hold_options[] = {
	{"--for", "TIME", "hold it so long, 1s to 7d, like 4h; then everything goes on by itself"},
	{"--end", NULL, "end the hold now: what waits is done, and what was changed is put right"},
	{"--json", NULL, "print one JSON object instead of a table"},
	{NULL, NULL, NULL},
};

/* 0 seconds say that the hold ends. */
static int read_time(const struct cli_line *line, int64_t *ret)
{
	const char *time = cli_value(line, "--for", 0);
	if (!time == !cli_has(line, "--end"))
		return cli_fail(CLI_USAGE, "hold takes --for TIME or --end");
	*ret = 0;
	if (time && (!duration_parse(time, ret) || *ret < 1 || *ret > MESSAGE_HOLD_MAX))
		return cli_fail(CLI_USAGE,
			"--for: \"%s\" is not a time from 1s to 7d, like 4h: a hold that is forgotten must end", time);
	return CLI_DONE;
}

static void on_answer(const cJSON *answer, void *context)
{
	cJSON *all = context;
	if (strcmp(json_text(answer, "event"), "agent") == 0) {
		cJSON_AddItemToArray(cJSON_GetObjectItemCaseSensitive(all, "agents"), cJSON_Duplicate(answer, true));
		return;
	}
	static const char *const kept[] = {"exit", "error", "warning"};
	for (size_t i = 0; i < COUNT(kept); i++)
		if (json_get(answer, kept[i]))
			cJSON_AddItemToObject(all, kept[i], cJSON_Duplicate(json_get(answer, kept[i]), true));
}

static void show_agent(const cJSON *agent)
{
	char until[CLOCK_TEXT_MAX];
	struct error err;
	struct agent_row row;
	if (agent_row_decode(agent, &row, &err) < 0)
		show_left_out(&err);
	else
		printf("%s  %s  %s%s\n", row.certificate, row.agent, row.held_until ? "held until " : "not held",
			row.held_until ? clock_text(row.held_until, until) : "");
	if (row.danger)
		printf("  DANGER: %s\n", row.danger);
	agent_row_release(&row);
}

static void show(const cJSON *all)
{
	const cJSON *agent;
	cJSON_ArrayForEach (agent, json_get(all, "agents"))
		show_agent(agent);
	if (json_text(all, "warning")[0])
		fprintf(stderr, "certsync: warning: %s\n", json_text(all, "warning"));
	if (json_text(all, "error")[0])
		cli_fail(CLI_FAILED, "%s", json_text(all, "error"));
}

static cJSON *new_request(const struct cli_line *line, int64_t seconds)
{
	cJSON *request = cJSON_CreateObject();
	cJSON_AddStringToObject(request, "command", "hold");
	cJSON_AddStringToObject(request, "agent", line->plain[0]);
	if (line->plain_count > 1)
		cJSON_AddStringToObject(request, "certificate", line->plain[1]);
	cJSON_AddNumberToObject(request, "seconds", (double)seconds);
	return request;
}

int command_hold(const struct cli_line *line)
{
	int64_t seconds;
	if (read_time(line, &seconds) != CLI_DONE)
		return CLI_USAGE;
	auto_json cJSON *all = cJSON_CreateObject();
	cJSON_AddArrayToObject(all, "agents");
	int exit_code = command_ask(line, new_request(line, seconds), on_answer, all);
	if (exit_code == CLI_UNREACHABLE || !json_get(all, "exit"))
		return exit_code;
	if (!cli_has(line, "--json")) {
		show(all);
		return exit_code;
	}
	char *text = cJSON_Print(all);
	puts(text ? text : "{}");
	cJSON_free(text);
	return exit_code;
}
