#include "hub/check_command.h"
#include "lib/check_run.h"
#include "lib/check_show.h"
#include "hub/config.h"
#include "lib/ask.h"
#include "lib/clock.h"
#include "lib/mem.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TIMEOUT_DEFAULT = 10, TIMEOUT_MAX = 300, DAYS_MAX = 10000, FAULTS_MAX = 64 * 1024, DAY = 86400 };

const struct cli_option check_options[] = {
	{"--at", "ADDRESS", "this address instead of what DNS says (may be given more than once)"},
	{"--expect", "WHAT", "the certificate of the hub, or the SHA-256, that must be served"},
	{"--anchors", "FILE", "trust these roots (PEM) instead of hub.conf's or the system's"},
	{"--days", "N", "expiring: fewer left than these, instead of a fifth of its life, 21 at most"},
	{"--timeout", "SECONDS", "for each endpoint: 10"},
	{"--both-keys", NULL, "the RSA and the ECDSA certificate each (a server with one logs a failed handshake)"},
	{"--json", NULL, "one JSON object instead of a table"},
	{"--nagios", NULL, "one line, and the exit codes of Nagios's plugins"},
	{NULL, NULL, NULL},
};

/* What one run of the command works on. */
struct job {
	const struct cli_line *line;
	const char *at[256];
	struct anchors *anchors;   /* owned */
	char *socket;              /* owned; NULL: no hub here */
	cJSON *certificates;       /* owned: the hub's, once asked */
	char *hub_error;           /* owned; NULL: none */
	bool expects;
	uint8_t expected[CHAIN_SHA256_SIZE];
	struct check_host *hosts; /* owned */
	size_t host_count;
};

static void job_release(struct job *j)
{
	anchors_free(j->anchors);
	cJSON_Delete(j->certificates);
	free(j->socket);
	free(j->hub_error);
	free(j->hosts);
}

/* Nagios reads one line of standard output and takes whatever hinders the check for "unknown". */
static int refuse(const struct job *j, enum cli_exit exit_code, const char *text)
{
	if (!cli_has(j->line, "--nagios"))
		return cli_fail(exit_code, "%s", text);
	printf("CERTSYNC UNKNOWN - %s\n", text);
	return NAGIOS_UNKNOWN;
}

/* ---- options ---- */

static int read_number(const struct job *j, const char *option, long maximum, long *ret, struct error *err)
{
	char *end;
	const char *text = cli_value(j->line, option, 0);
	if (!text)
		return 0;
	long value = strtol(text, &end, 10);
	if (*end || end == text || value < 1 || value > maximum)
		return error_set(err, ERROR_USAGE, "%s %s: give a number from 1 to %ld", option, text, maximum);
	*ret = value;
	return 0;
}

/* As openssl, browsers and this program write it: 64 digits, with or without colons, in any case. */
static bool read_fingerprint(const char *text, uint8_t ret[CHAIN_SHA256_SIZE])
{
	char hex[CHAIN_HEX_MAX];
	size_t used = 0;
	for (; *text; text++) {
		if (*text == ':')
			continue;
		if (used + 1 == sizeof(hex))
			return false;
		hex[used++] = *text >= 'A' && *text <= 'F' ? (char)(*text - 'A' + 'a') : *text;
	}
	hex[used] = '\0';
	return chain_unhex(hex, ret) == 0;
}

/* ---- the hub ---- */

/* hub.conf is of use and never needed: where it is, its anchors are what the hub itself trusts. */
static int read_config(struct job *j, bool needed, char **ret_anchors, struct error *err)
{
	if (cli_config_is_hidden(j->line)) {
		j->socket = mem_strdup(HUB_RUN_DEFAULT "/control.sock");
		return 0;
	}
	if (access(j->line->config, F_OK) < 0)
		return !needed ? 0 : error_set(err, ERROR_USAGE, "there is no %s to say where the hub is: name a HOST, and "
			"with --expect a SHA-256", j->line->config);
	auto_buf struct buf faults = BUF_INIT(FAULTS_MAX);
	struct hub_config *config = hub_config_load(j->line->config, &faults);
	if (!config) {
		const char *text = buf_text(&faults);
		return error_set(err, ERROR_USAGE, "%.*s", (int)strcspn(text, "\n"), text);
	}
	j->socket = mem_printf("%s/control.sock", config->run);
	*ret_anchors = config->anchors ? mem_strdup(config->anchors) : NULL;
	hub_config_free(config);
	return 0;
}

static const char *text_of(const cJSON *o, const char *key)
{
	const cJSON *value = json_get(o, key);
	return cJSON_IsString(value) ? value->valuestring : "";
}

static void on_answer(const cJSON *answer, void *context)
{
	struct job *j = context;
	if (strcmp(text_of(answer, "event"), "certificate") == 0)
		cJSON_AddItemToArray(j->certificates, cJSON_Duplicate(answer, true));
	else if (text_of(answer, "error")[0] && !j->hub_error)
		j->hub_error = mem_strdup(text_of(answer, "error"));
}

static int ask_hub(struct job *j, struct error *err)
{
	auto_json cJSON *request = cJSON_CreateObject();
	cJSON_AddStringToObject(request, "command", "status");
	j->certificates = cJSON_CreateArray();
	if (ask(j->socket, request, NULL, on_answer, j, err) < 0)
		return error_set(err, ERROR_RETRY, "the hub cannot be reached: %s. Does certsync-hub-root run here, and are you in "
			"the group that may use it? Without it, give HOST and --expect SHA-256", strdupa(err->message));
	if (cJSON_GetArraySize(j->certificates) == 0 && j->hub_error)
		return error_set(err, ERROR_RETRY, "the hub says: %s", j->hub_error);
	return 0;
}

static const cJSON *find_certificate(const struct job *j, const char *name, struct error *err)
{
	const cJSON *certificate;
	cJSON_ArrayForEach(certificate, j->certificates)
	{
		if (strcmp(text_of(certificate, "certificate"), name) == 0) {
			if (text_of(certificate, "fingerprint")[0])
				return certificate;
			error_set(err, ERROR_USAGE, "--expect %s: the hub has published nothing under it yet", name);
			return NULL;
		}
	}
	error_set(err, ERROR_USAGE, "--expect %s: the hub has no such certificate, and it is no SHA-256 (64 digits)", name);
	return NULL;
}

/* ---- hosts ---- */

static int expect_of_hub(struct check_host *host, const cJSON *certificate, struct error *err)
{
	host->expected_count = text_of(certificate, "second")[0] ? 2 : 1;
	if (chain_unhex(text_of(certificate, "fingerprint"), host->expected[0]) < 0 ||
		(host->expected_count > 1 && chain_unhex(text_of(certificate, "second"), host->expected[1]) < 0))
		return error_set(err, ERROR_RETRY, "the hub tells no SHA-256 for %s", text_of(certificate, "certificate"));
	snprintf(host->certificate, sizeof(host->certificate), "%s", text_of(certificate, "certificate"));
	return 0;
}

static struct check_host *add_host(struct job *j, const char *text, struct error *err)
{
	j->hosts = mem_grow(j->hosts, j->host_count + 1, sizeof(*j->hosts));
	struct check_host *host = &j->hosts[j->host_count];
	if (check_host_parse(text, host, err) < 0)
		return NULL;
	j->host_count++;
	return host;
}

/* Nobody has named a host: every name that a certificate of the hub is for. A wildcard is no host. */
static int add_names(struct job *j, const cJSON *certificate, struct error *err)
{
	const cJSON *name;
	if (!text_of(certificate, "fingerprint")[0])
		return 0;
	cJSON_ArrayForEach(name, json_get(certificate, "names"))
	{
		if (!cJSON_IsString(name) || strchr(name->valuestring, '*'))
			continue;
		struct check_host *host = add_host(j, name->valuestring, err);
		if (!host || expect_of_hub(host, certificate, err) < 0)
			return -1;
	}
	return 0;
}

static int add_hosts(struct job *j, const char *expect, struct error *err)
{
	const cJSON *wanted = NULL, *certificate;
	if (expect && !j->expects && !(wanted = find_certificate(j, expect, err)))
		return -1;
	for (int i = 0; i < j->line->plain_count; i++) {
		struct check_host *host = add_host(j, j->line->plain[i], err);
		if (!host || (wanted && expect_of_hub(host, wanted, err) < 0))
			return -1;
		if (j->expects) {
			host->expected_count = 1;
			memcpy(host->expected[0], j->expected, sizeof(host->expected[0]));
		}
	}
	if (j->line->plain_count)
		return 0;
	cJSON_ArrayForEach(certificate, j->certificates)
		if ((!wanted || wanted == certificate) && add_names(j, certificate, err) < 0)
			return -1;
	return j->host_count ? 0 : error_set(err, ERROR_USAGE, "nothing to check: the hub has published no certificate yet; "
		"name a HOST");
}

/* ---- the command ---- */

static int prepare(struct job *j, struct check_run *run, struct error *err)
{
	long timeout = TIMEOUT_DEFAULT, days = 0;
	const char *expect = cli_value(j->line, "--expect", 0), *given = cli_value(j->line, "--anchors", 0);
	auto_free char *configured = NULL;
	if (cli_has(j->line, "--json") && cli_has(j->line, "--nagios"))
		return error_set(err, ERROR_USAGE, "--json and --nagios: give one of them");
	if (read_number(j, "--timeout", TIMEOUT_MAX, &timeout, err) < 0 || read_number(j, "--days", DAYS_MAX, &days, err) < 0)
		return -1;
	for (int i = 0; i < (int)COUNT(j->at) - 1 && cli_value(j->line, "--at", i); i++)
		j->at[i] = cli_value(j->line, "--at", i);
	j->expects = expect && read_fingerprint(expect, j->expected);
	bool needs_hub = j->line->plain_count == 0 || (expect && !j->expects);
	if (j->line->plain_count == 0 && j->expects)
		return error_set(err, ERROR_USAGE, "--expect SHA-256 needs a HOST");
	if (read_config(j, needs_hub, &configured, err) < 0 || (needs_hub && ask_hub(j, err) < 0))
		return -1;
	j->anchors = anchors_load(given ? given : configured, err);
	if (!j->anchors) {
		err->kind = ERROR_USAGE;
		return -1;
	}
	*run = (struct check_run){.anchors = j->anchors, .now = clock_wall(), .expiring_before = days * DAY, .at = j->at,
		.both_keys = cli_has(j->line, "--both-keys"),
		.timeout_ms = (int)timeout * 1000};
	return add_hosts(j, expect, err);
}

static bool wants_colour(void)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
	return isatty(STDOUT_FILENO) && !(no && *no) && term && strcmp(term, "dumb") != 0;
}

static int show(const struct job *j, const struct check_run *run)
{
	int exit_code = CLI_DONE;
	for (size_t i = 0; i < run->row_count; i++)
		if (run->rows[i].check.verdict != CHECK_OK)
			exit_code = CLI_UNCONVERGED;
	if (cli_has(j->line, "--nagios"))
		return (int)check_show_nagios(run);
	if (cli_has(j->line, "--json"))
		check_show_json(run, exit_code);
	else
		check_show_table(run, wants_colour());
	return exit_code;
}

int command_check(const struct cli_line *line)
{
	struct error err;
	struct job j = {.line = line};
	struct check_run run = {0};
	int exit_code;
	signal(SIGPIPE, SIG_IGN);
	bool failed = prepare(&j, &run, &err) < 0;
	run.hosts = j.hosts;
	run.host_count = j.host_count;
	if (failed || check_run(&run, &err) < 0)
		exit_code = refuse(&j, err.kind == ERROR_USAGE ? CLI_USAGE : CLI_UNREACHABLE, err.message);
	else
		exit_code = show(&j, &run);
	check_run_release(&run);
	job_release(&j);
	return exit_code;
}
