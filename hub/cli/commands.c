#include "hub/cli/commands.h"
#include "hub/common/config.h"
#include "hub/common/key_bring.h"
#include "hub/cli/terminal.h"
#include "hub/cli/show.h"
#include "lib/wire/ask.h"
#include "lib/core/clock.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"
#include "lib/cli/progress.h"
#include "lib/cli/reload.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	COMMAND_FAULTS_MAX = 64 * 1024,
	COMMAND_OUTPUT_MAX = 1024 * 1024,
	COMMAND_TICK_MS = 500,
	COMMAND_WATCH_MS = 5000
};

/* ---- asking ---- */

/* One command's way from the request to what is shown. */
struct asking {
	const struct cli_line *line;
	void (*show)(const struct answers *a); /* at the end */
	bool json;
	bool follows;          /* what it asked for takes its time, and can be left */
	struct terminal *live; /* owned; NULL: not on a terminal */
	struct answers answers;
};

static void take_order(struct asking *a, const cJSON *answer)
{
	const char *certificate = json_text(answer, "certificate"), *step = json_text(answer, "step");
	if (a->live) {
		terminal_order(a->live, certificate, step);
		return;
	}
	printf("%s  order: %s\n", certificate, step);
	fflush(stdout);
}

static void take_progress(struct asking *a, const cJSON *answer)
{
	struct error err;
	struct agent_row row;
	if (agent_row_decode(answer, &row, &err) < 0)
		show_left_out(&err);
	else if (a->live)
		terminal_take(a->live, &row);
	else
		show_progress(&row);
	agent_row_release(&row);
}

static void on_answer(const cJSON *answer, void *context)
{
	struct asking *a = context;
	const char *event = json_text(answer, "event");
	if (answers_take(&a->answers, answer) || a->json || !a->follows)
		return;
	if (strcmp(event, "order") == 0)
		take_order(a, answer);
	else if (strcmp(event, "progress") == 0)
		take_progress(a, answer);
}

static bool on_tick(void *context)
{
	struct asking *a = context;
	if (terminal_interrupted())
		return false;
	if (a->live)
		terminal_draw(a->live);
	return true;
}

/* Returns the directory of the hub's sockets, which the caller frees, or NULL with the exit code. */
static char *run_directory(const struct cli_line *line, int *ret_exit)
{
	if (cli_config_is_hidden(line))
		return mem_strdup(HUB_RUN_DEFAULT);
	auto_buf struct buf faults = BUF_INIT(COMMAND_FAULTS_MAX);
	struct hub_config *config = hub_config_load(line->config, &faults);
	if (!config) {
		fputs(buf_text(&faults), stderr);
		*ret_exit = CLI_USAGE;
		return NULL;
	}
	char *run = steal(config->run);
	hub_config_free(config);
	return run;
}

static char *control_path(const struct cli_line *line, int *ret_exit)
{
	auto_free char *run = run_directory(line, ret_exit);
	return run ? mem_printf("%s/control.sock", run) : NULL;
}

int command_reload(const struct cli_line *line)
{
	int exit_code = CLI_FAILED;
	auto_free char *path = control_path(line, &exit_code);
	return path ? reload(path, line->plain[0]) : exit_code;
}

static int unreachable(const struct error *err)
{
	return cli_fail(CLI_UNREACHABLE,
		"the hub cannot be reached: %s. Does certsync-hub-root run here, and are "
		"you in the group that may use it?",
		err->message);
}

static void show_answers(struct asking *a)
{
	if (a->json) {
		answers_print_json(&a->answers);
		return;
	}
	a->show(&a->answers);
	if (json_text(a->answers.result, "warning")[0])
		fprintf(stderr, "certsync: warning: %s\n", json_text(a->answers.result, "warning"));
	if (json_text(a->answers.result, "error")[0])
		cli_fail(CLI_FAILED, "%s", json_text(a->answers.result, "error"));
}

int command_bring(const struct cli_line *line, struct files *files, struct buf *left)
{
	struct error err;
	int exit_code = CLI_USAGE;
	auto_free char *run = run_directory(line, &exit_code);
	if (!run)
		return exit_code;
	auto_free char *path = key_bring_path(run);
	for (size_t i = 0; i < files->count; i++) {
		left[i] = BUF_INIT(KEY_BRING_LEFT_MAX);
		if (key_bring(path, files->file[i].data, files->file[i].len, &left[i], &err) < 0)
			return unreachable(&err);
		files->file[i].data = left[i].data;
		files->file[i].len = left[i].len;
	}
	return CLI_DONE;
}

/* Asks, shows, and returns the exit code. Takes the request over. */
static int ask_hub(
	const struct cli_line *line, cJSON *request, const struct files *files, void (*show)(const struct answers *a))
{
	struct error err;
	auto_json cJSON *owned = request;
	struct asking a = {
		.line = line, .show = show, .json = cli_has(line, "--json"), .follows = show == show_outcome};
	int exit_code = CLI_USAGE;
	auto_free char *path = control_path(line, &exit_code);
	if (!path)
		return exit_code;
	answers_init(&a.answers);
	if (a.follows)
		terminal_catch_interrupt();
	if (a.follows && !a.json && terminal_is_one())
		a.live = terminal_new();
	struct progress *progress = a.live ? NULL : progress_new("waiting for the hub");
	exit_code = ask_live(path, owned, files, on_answer, a.follows ? on_tick : NULL, COMMAND_TICK_MS, &a, &err);
	progress_free(progress);
	if (a.live)
		terminal_erase(a.live);
	if (exit_code == ASK_STOPPED)
		exit_code = cli_fail(CLI_UNCONVERGED,
			"interrupted; at the hub it goes on: certsync status --watch shows how far it is");
	else if (exit_code < 0)
		exit_code = unreachable(&err);
	else
		show_answers(&a);
	if (a.live)
		terminal_free(a.live);
	answers_release(&a.answers);
	return exit_code;
}

int command_follow(const struct cli_line *line, cJSON *request, const struct files *files)
{
	return ask_hub(line, request, files, show_outcome);
}

int command_ask(const struct cli_line *line, cJSON *request, ask_answer *answer, void *context)
{
	return command_ask_with(line, request, NULL, answer, context);
}

/* Passes answers on to a caller that may print. */
struct told {
	ask_answer *answer;
	void *context;
	struct progress *progress;
};

static void on_told(const cJSON *answer, void *context)
{
	const struct told *told = context;
	progress_clear(told->progress);
	told->answer(answer, told->context);
}

int command_ask_with(
	const struct cli_line *line, cJSON *request, const struct files *files, ask_answer *answer, void *context)
{
	struct error err;
	auto_json cJSON *owned = request;
	int exit_code = CLI_USAGE;
	auto_free char *path = control_path(line, &exit_code);
	if (!path)
		return exit_code;
	auto_progress struct progress *progress = progress_new("waiting for the hub");
	struct told told = {answer, context, progress};
	exit_code = ask(path, owned, files, on_told, &told, &err);
	progress_clear(progress);
	return exit_code < 0 ? unreachable(&err) : exit_code;
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

/* ---- watching: rounds of answers, each drawn when it is complete ---- */

static void print_round(const void *what)
{
	char now[CLOCK_TEXT_MAX];
	printf("certsync status at %s; it is drawn anew upon every change. Ctrl-C ends it.\n\n",
		clock_text(clock_wall(), now));
	show_certificates(what);
}

/* Where there is no terminal, prints what has changed since the round before, one line each. */
static void print_changes(const struct answers *now, const struct answers *before)
{
	for (size_t i = 0; i < now->row_count; i++) {
		const struct agent_row *row = &now->rows[i];
		bool same = false;
		for (size_t k = 0; k < before->row_count && !same; k++) {
			const struct agent_row *old = &before->rows[k];
			same = row->state == old->state && revision_compare(row->desired, old->desired) == 0 &&
				strcmp(row->certificate, old->certificate) == 0 && strcmp(row->agent, old->agent) == 0;
		}
		if (!same)
			show_progress(row);
	}
	fflush(stdout);
}

struct watching {
	bool terminal;
	struct answers now, before;
};

static void on_watched(const cJSON *answer, void *context)
{
	struct watching *w = context;
	if (answers_take(&w->now, answer) || strcmp(json_text(answer, "event"), "round") != 0)
		return;
	if (w->terminal)
		terminal_screen(print_round, &w->now);
	else
		print_changes(&w->now, &w->before);
	answers_release(&w->before);
	w->before = w->now;
	answers_init(&w->now);
}

static bool on_watch_tick(void *context)
{
	const struct watching *w = context;
	if (w->terminal && !terminal_interrupted())
		terminal_screen(print_round, &w->before);
	return !terminal_interrupted();
}

static int watch_status(const struct cli_line *line)
{
	struct error err;
	struct watching w = {.terminal = terminal_is_one()};
	int exit_code = CLI_USAGE;
	auto_json cJSON *request = new_request("status");
	auto_free char *path = control_path(line, &exit_code);
	if (!path)
		return exit_code;
	cJSON_AddBoolToObject(request, "watch", true);
	answers_init(&w.now);
	answers_init(&w.before);
	terminal_catch_interrupt();
	if (w.terminal)
		printf("\033[2J");
	exit_code = ask_live(path, request, NULL, on_watched, on_watch_tick, COMMAND_WATCH_MS, &w, &err);
	if (exit_code == ASK_STOPPED)
		exit_code = CLI_DONE;
	else if (exit_code < 0)
		exit_code = unreachable(&err);
	else if (json_text(w.now.result, "error")[0])
		cli_fail(CLI_FAILED, "%s", json_text(w.now.result, "error"));
	answers_release(&w.now);
	answers_release(&w.before);
	return exit_code;
}

int command_status(const struct cli_line *line)
{
	if (!cli_has(line, "--watch"))
		return ask_hub(line, new_request("status"), NULL, show_certificates);
	if (cli_has(line, "--json"))
		return cli_fail(CLI_USAGE, "--watch and --json: give one of them");
	return watch_status(line);
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
	return ask_hub(line, request, NULL, show_outcome);
}

int command_renew(const struct cli_line *line)
{
	cJSON *request = new_request("renew");
	add_certificates(request, line);
	cJSON_AddBoolToObject(request, "force", cli_has(line, "--force"));
	return ask_hub(line, request, NULL, show_outcome);
}

int command_rollback(const struct cli_line *line)
{
	cJSON *request = new_request("rollback");
	cJSON_AddStringToObject(request, "certificate", line->plain[0]);
	if (line->plain_count > 1)
		cJSON_AddStringToObject(request, "revision", line->plain[1]);
	return ask_hub(line, request, NULL, show_outcome);
}

int command_history(const struct cli_line *line)
{
	cJSON *request = new_request("history");
	cJSON_AddStringToObject(request, "certificate", line->plain[0]);
	return ask_hub(line, request, NULL, show_history);
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
