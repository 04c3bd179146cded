#include "agent/cli/commands.h"
#include "agent/common/config.h"
#include "agent/cli/join.h"
#include "lib/wire/ask.h"
#include "lib/core/fs.h"
#include "lib/wire/listener.h"
#include "lib/core/mem.h"
#include "lib/cli/progress.h"
#include "lib/cli/reload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FAULTS_MAX = 64 * 1024, CONFIG_TEXT_MAX = 1024 * 1024, PULL_SECONDS = 120 };

/* What has been answered. */
struct answers {
	bool json;
	cJSON *hub, *certificates, *result; /* owned */
};

static bool is_true(const cJSON *o, const char *key)
{
	return cJSON_IsTrue(json_get(o, key));
}

/* ---- showing ---- */

static void print_hub(const cJSON *hub)
{
	const char *name = json_text(hub, "name");
	printf("hub %s  %s since %s%s%s\n", json_text(hub, "hub"), json_text(hub, "state"), json_text(hub, "since"),
		name[0] ? ", this agent is " : "", name);
	if (json_text(hub, "failure")[0])
		printf("  %s  %s\n", json_text(hub, "failed_at"), json_text(hub, "failure"));
	if (json_text(hub, "next_try")[0])
		printf("  next try %s; `certsync-agent pull` tries at once\n", json_text(hub, "next_try"));
}

static const char *probe_result(const cJSON *probe)
{
	if (is_true(probe, "match"))
		return "serves it";
	return json_text(probe, "text");
}

static void print_probes(const cJSON *certificate)
{
	static const char *const header[] = {"  ENDPOINT", "SERVICE", "SHA-256", "RESULT"};
	const cJSON *probes = json_get(certificate, "probes");
	const cJSON *probe;
	if (cJSON_GetArraySize(probes) == 0)
		return;
	struct cli_table *table = cli_table_new(COUNT(header), header);
	cJSON_ArrayForEach (probe, probes) {
		auto_free char *endpoint = mem_printf("  %s", json_text(probe, "endpoint"));
		auto_free char *fingerprint = mem_printf("%.16s", json_text(probe, "fingerprint"));
		const char *const cells[] = {endpoint, json_text(probe, "service"), fingerprint, probe_result(probe)};
		cli_table_row(table, cells);
	}
	cli_table_print(table);
}

static void print_certificate(const cJSON *certificate)
{
	const cJSON *failure = json_get(certificate, "failure");
	const char *staged = json_text(certificate, "staged");
	bool placeholder = strcmp(json_text(certificate, "revision"), "0.0") == 0;
	printf("%s  %s%s  %s%s%s%s%s\n  SHA-256 %s\n", json_text(certificate, "certificate"),
		placeholder ? "no certificate yet, self-signed placeholder" : "revision ",
		placeholder ? "" : json_text(certificate, "revision"), json_text(certificate, "state"),
		placeholder ? "" : "  expires ", placeholder ? "" : json_text(certificate, "not_after"),
		strcmp(staged, "0.0") != 0 ? "  staged " : "", strcmp(staged, "0.0") != 0 ? staged : "",
		json_text(certificate, "fingerprint"));
	if (failure) {
		printf("  %s  revision %s failed at %s%s: %s\n", json_text(failure, "at"),
			json_text(failure, "revision"), json_text(failure, "step"),
			is_true(failure, "rolled_back") ? " (the old files are back)" : "", json_text(failure, "text"));
		cli_print_output(json_text(failure, "output"));
	}
	if (json_text(certificate, "held_until")[0])
		printf("  held until %s: nothing is put right here\n", json_text(certificate, "held_until"));
	if (json_text(certificate, "unverified")[0])
		printf("  unverified  %s\n", json_text(certificate, "unverified"));
	print_probes(certificate);
}

static void print_progress(const cJSON *answer)
{
	const char *certificate = json_text(answer, "certificate");
	printf("%s%s%s %s\n", certificate, certificate[0] ? "  " : "", json_text(answer, "what"),
		json_text(answer, "text"));
	fflush(stdout);
}

static void print_json(struct answers *a)
{
	auto_json cJSON *all = cJSON_CreateObject();
	if (a->hub)
		cJSON_AddItemToObject(all, "hub", steal(a->hub));
	cJSON_AddItemToObject(all, "certificates", steal(a->certificates));
	cJSON_AddItemReferenceToObject(all, "exit", cJSON_GetObjectItemCaseSensitive(a->result, "exit"));
	if (json_text(a->result, "error")[0])
		cJSON_AddStringToObject(all, "error", json_text(a->result, "error"));
	char *text = cJSON_Print(all);
	puts(text ? text : "{}");
	cJSON_free(text);
}

static void print_all(struct answers *a)
{
	const cJSON *certificate;
	if (a->json) {
		print_json(a);
		return;
	}
	if (a->hub)
		print_hub(a->hub);
	cJSON_ArrayForEach (certificate, a->certificates)
		print_certificate(certificate);
}

/* ---- asking ---- */

static void on_answer(const cJSON *answer, void *context)
{
	struct answers *a = context;
	const char *event = json_text(answer, "event");
	if (strcmp(event, "hub") == 0)
		a->hub = cJSON_Duplicate(answer, true);
	else if (strcmp(event, "certificate") == 0)
		cJSON_AddItemToArray(a->certificates, cJSON_Duplicate(answer, true));
	else if (strcmp(event, "result") == 0)
		a->result = cJSON_Duplicate(answer, true);
	else if (!a->json)
		print_progress(answer);
}

static struct agent_config *load_config(const struct cli_line *line)
{
	auto_buf struct buf faults = BUF_INIT(FAULTS_MAX);
	struct agent_config *config = agent_config_load(line->config, &faults);
	if (!config)
		fputs(buf_text(&faults), stderr);
	return config;
}

static char *control_path(const struct cli_line *line)
{
	if (cli_config_is_hidden(line))
		return mem_strdup(AGENT_RUN_DEFAULT "/control.sock");
	struct agent_config *config = load_config(line);
	char *path = config ? mem_printf("%s/control.sock", config->run) : NULL;
	agent_config_free(config);
	return path;
}

int command_agent_reload(const struct cli_line *line)
{
	auto_free char *path = control_path(line);
	return path ? reload(path, line->plain[0]) : CLI_USAGE;
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

int command_agent_ask(const struct cli_line *line, cJSON *request, ask_answer *answer, void *context)
{
	struct error err;
	auto_json cJSON *owned = request;
	auto_free char *path = control_path(line);
	if (!path)
		return CLI_USAGE;
	auto_progress struct progress *progress = progress_new("waiting for the agent");
	struct told told = {answer, context, progress};
	int result = ask(path, owned, NULL, on_told, &told, &err);
	progress_clear(progress);
	if (result < 0)
		return cli_fail(CLI_UNREACHABLE,
			"the agent's daemon does not answer: %s: is certsync-agent-root running?", err.message);
	return result;
}

/* Asks and shows; takes the request over. */
static int ask_agent(const struct cli_line *line, cJSON *request)
{
	struct answers answers = {.json = cli_has(line, "--json"), .certificates = cJSON_CreateArray()};
	int result = command_agent_ask(line, request, on_answer, &answers);
	if (answers.result)
		print_all(&answers);
	if (!answers.json && json_text(answers.result, "error")[0])
		cli_fail(CLI_FAILED, "%s", json_text(answers.result, "error"));
	cJSON_Delete(answers.hub);
	cJSON_Delete(answers.certificates);
	cJSON_Delete(answers.result);
	return result;
}

int command_agent_status(const struct cli_line *line)
{
	cJSON *request = cJSON_CreateObject();
	cJSON_AddStringToObject(request, "command", "status");
	return ask_agent(line, request);
}

int command_agent_pull(const struct cli_line *line)
{
	const char *wait = cli_value(line, "--wait", 0);
	char *end = NULL;
	unsigned long seconds = wait ? strtoul(wait, &end, 10) : PULL_SECONDS;
	if (wait && (*wait < '0' || *wait > '9' || *end || seconds < 1 || seconds > 3600))
		return cli_fail(CLI_USAGE, "--wait %s: a number of seconds from 1 to 3600 is needed", wait);
	cJSON *request = cJSON_CreateObject();
	cJSON_AddStringToObject(request, "command", "pull");
	cJSON_AddNumberToObject(request, "seconds", (double)seconds);
	cJSON *names = cJSON_AddArrayToObject(request, "certificates");
	for (int i = 0; i < line->plain_count; i++)
		cJSON_AddItemToArray(names, cJSON_CreateString(line->plain[i]));
	return ask_agent(line, request);
}

int command_agent_config(const struct cli_line *line)
{
	auto_buf struct buf text = BUF_INIT(CONFIG_TEXT_MAX);
	struct agent_config *config = load_config(line);
	if (!config)
		return CLI_USAGE;
	agent_config_print(config, &text);
	agent_config_free(config);
	fputs(buf_text(&text), stdout);
	return CLI_DONE;
}

/* ---- going on as the root half's program ---- */

static int become_root_half(const struct cli_line *line, const char *command, const char *option)
{
	auto_free char *program = mem_printf("%s/certsync-agent-root", fs_program_directory());
	const char *const argv[] = {program, command, "-c", line->config, option, NULL};
	execv(program, (char *const *)(uintptr_t)argv);
	return cli_fail(CLI_FAILED, "cannot start %s: %s", program, strerror(errno));
}

int command_agent_identity(const struct cli_line *line)
{
	return become_root_half(line, "identity", NULL);
}

/* Returns whether `path`, or what stands above it while it is missing, can be written by us. */
static bool is_writable(const char *path)
{
	auto_free char *at = mem_strdup(path);
	while (access(at, F_OK) < 0 && errno == ENOENT) {
		char *slash = strrchr(at, '/');
		if (!slash || slash == at)
			return access("/", W_OK) == 0;
		*slash = '\0';
	}
	return access(at, W_OK) == 0;
}

static int check_writable(const struct agent_config *config, struct error *err)
{
	auto_free char *pins = mem_printf("%s/pins", config->directory);
	return is_writable(pins)
		? 0
		: error_set(err, ERROR_USAGE, "join writes %s, which needs root: run it again with sudo", pins);
}

/* Reads standard input to its end: the line holds a secret, and stands in no other place. */
static int read_line(struct buf *out)
{
	for (;;) {
		uint8_t *room = buf_reserve(out, 512);
		ssize_t got = room ? read(STDIN_FILENO, room, 512) : -1;
		if (got < 0 && room && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			return 0;
		buf_added(out, (size_t)got);
		/* At a terminal the line ends with its newline. */
		if (isatty(STDIN_FILENO) && memchr(out->data, '\n', out->len))
			return 0;
	}
}

/* The root half reads a line that only says what to pin. */
static int pin_by_hand(const struct cli_line *line, struct buf *text)
{
	int ends[2];
	struct error err;
	struct agent_config *config = load_config(line);
	int writable = config ? check_writable(config, &err) : 0;
	agent_config_free(config);
	if (!config || writable < 0)
		return config ? cli_fail(CLI_USAGE, "%s", err.message) : CLI_USAGE;
	if (pipe(ends) < 0 || write(ends[1], text->data, text->len) != (ssize_t)text->len ||
		dup2(ends[0], STDIN_FILENO) < 0)
		return cli_fail(CLI_FAILED, "cannot hand the line on: %s", strerror(errno));
	close(ends[0]);
	close(ends[1]);
	return become_root_half(line, "pin", cli_has(line, "--replace") ? "--replace" : NULL);
}

/* The hub keeps the old keys until it has seen the new ones, so the agent connects with them at once. */
static void reconnect(const struct cli_line *line)
{
	cJSON *request = cJSON_CreateObject();
	struct answers answers = {.certificates = cJSON_CreateArray()};
	cJSON_AddStringToObject(request, "command", "reconnect");
	command_agent_ask(line, request, on_answer, &answers);
	cJSON_Delete(answers.certificates);
	cJSON_Delete(answers.result);
}

/* Everything is there, so the certificates may come now. */
static int tell_next(const struct cli_line *line, const struct join *j)
{
	struct error ignored;
	auto_free char *path = mem_printf("%s/control.sock", j->config->run);
	auto_close int fd = listener_connect(path, 0, &ignored);
	if (fd < 0)
		printf("next: systemctl enable --now certsync-agent\n");
	else if (!j->has_config)
		printf("next: systemctl restart certsync-agent\n");
	else {
		if (j->pin.new_keys)
			reconnect(line);
		const struct cli_line pull = {.config = line->config};
		fflush(stdout);
		return command_agent_pull(&pull);
	}
	return CLI_DONE;
}

static int join_by_secret(const struct cli_line *line, struct buf *text)
{
	struct error err;
	struct join j;
	auto_join_answer struct join_answer answer = {0};
	int exit_code = CLI_DONE;
	int result = join_open(&j, line->config, buf_text(text), cli_has(line, "--replace"), &err);
	buf_reset(text);
	if (result == 0)
		result = check_writable(j.config, &err);
	if (result == 0)
		result = join_run(&j, &answer, &err);
	if (result == 0)
		printf("joined as agent %s: the hub %s is pinned\n", j.pin.agent, j.pin.url);
	if (result == 0)
		result = join_configure(&j, &answer, &err);
	if (result < 0)
		exit_code = cli_fail(err.kind == ERROR_USAGE ? CLI_USAGE : CLI_FAILED, "%s", err.message);
	else
		exit_code = tell_next(line, &j);
	join_close(&j);
	return exit_code;
}

int command_agent_join(const struct cli_line *line)
{
	auto_buf struct buf text = BUF_INIT(PIN_LINE_MAX);
	if (isatty(STDIN_FILENO))
		fprintf(stderr, "paste the line that `certsync agent add` printed on the hub, and press Enter:\n");
	if (read_line(&text) < 0 || memchr(text.data ? text.data : (const uint8_t *)"", '\0', text.len))
		return cli_fail(CLI_USAGE, "standard input is not one line of a hub");
	bool by_secret = strstr(buf_text(&text), " secret=") != NULL;
	if (by_secret)
		return join_by_secret(line, &text);
	return pin_by_hand(line, &text);
}
