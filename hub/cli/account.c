#include "hub/cli/account.h"
#include "hub/cli/commands.h"
#include "hub/common/revocation.h"
#include "lib/wire/json.h"

#include <stdio.h>
#include <string.h>

const struct cli_option revoke_options[] = {
	{"--reason", "REASON", "tell the authority why; keyCompromise also makes a new key"},
	{"--revision", "REVISION", "revoke this one, not the current one"},
	{"--json", NULL, "print one JSON object instead of progress and a table"},
	{NULL, NULL, NULL},
};

int command_revoke(const struct cli_line *line)
{
	const char *reason = cli_value(line, "--reason", 0), *revision = cli_value(line, "--revision", 0);
	if (reason && revoked_code(reason) == REVOKED_CODE_NONE)
		return cli_fail(CLI_USAGE, "--reason: \"%s\" is not one of %s", reason, revoked_reasons);
	cJSON *request = cJSON_CreateObject();
	cJSON_AddStringToObject(request, "command", "revoke");
	cJSON_AddStringToObject(request, "certificate", line->plain[0]);
	cJSON_AddStringToObject(request, "reason", reason ? reason : "unspecified");
	if (revision)
		cJSON_AddStringToObject(request, "revision", revision);
	return command_follow(line, request, NULL);
}

static cJSON *account_request(const char *op)
{
	cJSON *request = cJSON_CreateObject();
	cJSON_AddStringToObject(request, "command", "account");
	cJSON_AddStringToObject(request, "op", op);
	return request;
}

/* ---- show ---- */

static void on_account(const cJSON *answer, void *context)
{
	cJSON *accounts = context;
	if (strcmp(json_text(answer, "event"), "account") == 0)
		cJSON_AddItemToArray(accounts, cJSON_Duplicate(answer, true));
	else if (json_text(answer, "error")[0])
		cli_fail(CLI_FAILED, "%s", json_text(answer, "error"));
}

static void print_json(cJSON *accounts)
{
	auto_json cJSON *all = cJSON_CreateObject();
	cJSON_AddItemToObject(all, "accounts", cJSON_Duplicate(accounts, true));
	char *text = cJSON_Print(all);
	puts(text ? text : "{}");
	cJSON_free(text);
}

static void print_accounts(const cJSON *accounts)
{
	const cJSON *a;
	cJSON_ArrayForEach (a, accounts) {
		printf("%s  %s\n", json_text(a, "name"), json_text(a, "directory"));
		printf("  account %s\n",
			json_text(a, "url")[0] ? json_text(a, "url") : "none yet: the first order makes it");
		if (json_text(a, "thumbprint")[0])
			printf("  thumbprint of its key %s\n", json_text(a, "thumbprint"));
		if (json_text(a, "contact")[0])
			printf("  contact %s\n", json_text(a, "contact"));
		if (cJSON_IsTrue(json_get(a, "unsettled")))
			puts("  a change of its key has begun and its answer was lost: the next order finds "
			     "out which key holds, "
			     "or `certsync account rollover` ends it");
	}
}

int command_account_show(const struct cli_line *line)
{
	auto_json cJSON *accounts = cJSON_CreateArray();
	cJSON *request = account_request("show");
	cJSON *names = cJSON_AddArrayToObject(request, "names");
	for (int i = 0; i < line->plain_count; i++)
		cJSON_AddItemToArray(names, cJSON_CreateString(line->plain[i]));
	int exit_code = command_ask(line, request, on_account, accounts);
	if (exit_code == CLI_DONE && cli_has(line, "--json"))
		print_json(accounts);
	else if (exit_code == CLI_DONE)
		print_accounts(accounts);
	return exit_code;
}

/* ---- the others ---- */

static int act(const struct cli_line *line, const char *op)
{
	auto_json cJSON *ignored = cJSON_CreateArray();
	cJSON *request = account_request(op);
	cJSON_AddStringToObject(request, "name", line->plain[0]);
	return command_ask(line, request, on_account, ignored);
}

int command_account_rollover(const struct cli_line *line)
{
	int exit_code = act(line, "rollover");
	if (exit_code == CLI_DONE)
		printf("%s has a new key. Where HAProxy answers challenges by itself, give it the new "
		       "thumbprint: certsync account "
		       "show %s\n",
			line->plain[0], line->plain[0]);
	return exit_code;
}

int command_account_deactivate(const struct cli_line *line)
{
	int exit_code = act(line, "deactivate");
	if (exit_code == CLI_DONE)
		printf("%s is deactivated for good. What it issued stays valid; the next order of a "
		       "certificate with acme = \"%s\" "
		       "makes a new account\n",
			line->plain[0], line->plain[0]);
	return exit_code;
}
