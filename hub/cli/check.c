#include "hub/cli/check.h"
#include "hub/common/config.h"
#include "lib/wire/ask.h"
#include "lib/probe/check_job.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FAULTS_MAX = 64 * 1024 };

const struct cli_option check_options[] = {
	{"--at", "ADDRESS", "look at this address instead of what DNS says; may be given more than once"},
	{"--expect", "WHAT", "require this certificate of the hub, or this SHA-256"},
	{"--anchors", "FILE", "trust these roots (PEM) instead of hub.conf's or the system's"},
	CHECK_JOB_OPTIONS,
	{NULL, NULL, NULL},
};

/* What one run of the command works on. */
struct job {
	struct check_job check;
	char *anchors;       /* owned; hub.conf's; NULL: none */
	char *socket;        /* owned; NULL: no hub here */
	cJSON *certificates; /* owned: the hub's, once asked */
	char *hub_error;     /* owned; NULL: none */
};

static void job_release(struct job *j)
{
	check_job_release(&j->check);
	cJSON_Delete(j->certificates);
	free(j->anchors);
	free(j->socket);
	free(j->hub_error);
}

/* ---- the hub ---- */

/* hub.conf is useful and never needed: where it exists, its anchors are what the hub itself trusts. */
static int read_config(struct job *j, bool needed, struct error *err)
{
	const struct cli_line *line = j->check.line;
	if (cli_config_is_hidden(line)) {
		j->socket = mem_strdup(HUB_RUN_DEFAULT "/control.sock");
		return 0;
	}
	if (access(line->config, F_OK) < 0)
		return !needed ? 0
			       : error_set(err, ERROR_USAGE,
					 "there is no %s to say where the hub is: name a HOST, and "
					 "with --expect a SHA-256",
					 line->config);
	auto_buf struct buf faults = BUF_INIT(FAULTS_MAX);
	struct hub_config *config = hub_config_load(line->config, &faults);
	if (!config) {
		const char *text = buf_text(&faults);
		return error_set(err, ERROR_USAGE, "%.*s", (int)strcspn(text, "\n"), text);
	}
	j->socket = mem_printf("%s/control.sock", config->run);
	j->anchors = config->anchors ? mem_strdup(config->anchors) : NULL;
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
		return error_set(err, ERROR_RETRY,
			"the hub cannot be reached: %s. Does certsync-hub-root run here, and are you in "
			"the group that may use it? Without it, give HOST and --expect SHA-256",
			strdupa(err->message));
	if (cJSON_GetArraySize(j->certificates) == 0 && j->hub_error)
		return error_set(err, ERROR_RETRY, "the hub says: %s", j->hub_error);
	return 0;
}

static const cJSON *find_certificate(const struct job *j, const char *name, struct error *err)
{
	const cJSON *certificate;
	cJSON_ArrayForEach (certificate, j->certificates) {
		if (strcmp(text_of(certificate, "certificate"), name) == 0) {
			if (text_of(certificate, "fingerprint")[0])
				return certificate;
			error_set(err, ERROR_USAGE, "--expect %s: the hub has published nothing under it yet", name);
			return NULL;
		}
	}
	error_set(err, ERROR_USAGE, "--expect %s: the hub has no such certificate, and it is no SHA-256 (64 digits)",
		name);
	return NULL;
}

/* ---- hosts ---- */

static int expect_of_hub(struct check_host *host, const cJSON *certificate, struct error *err)
{
	host->expected_count = text_of(certificate, "second")[0] ? 2 : 1;
	if (chain_unhex(text_of(certificate, "fingerprint"), host->expected[0]) < 0 ||
		(host->expected_count > 1 && chain_unhex(text_of(certificate, "second"), host->expected[1]) < 0))
		return error_set(
			err, ERROR_RETRY, "the hub tells no SHA-256 for %s", text_of(certificate, "certificate"));
	snprintf(host->certificate, sizeof(host->certificate), "%s", text_of(certificate, "certificate"));
	return 0;
}

/* Nobody has named a host, so every name that a certificate of the hub is for is looked at. A wildcard is no host. */
static int add_names(struct job *j, const cJSON *certificate, struct error *err)
{
	const cJSON *name;
	if (!text_of(certificate, "fingerprint")[0])
		return 0;
	cJSON_ArrayForEach (name, json_get(certificate, "names")) {
		if (!cJSON_IsString(name) || strchr(name->valuestring, '*'))
			continue;
		struct check_host *host = check_job_name(&j->check, name->valuestring, err);
		if (!host || expect_of_hub(host, certificate, err) < 0)
			return -1;
	}
	return 0;
}

static int add_hosts(struct job *j, struct error *err)
{
	const struct cli_line *line = j->check.line;
	const cJSON *wanted = NULL, *certificate;
	if (j->check.expect && !j->check.expects) {
		wanted = find_certificate(j, j->check.expect, err);
		if (!wanted)
			return -1;
	}
	for (int i = 0; i < line->plain_count; i++) {
		struct check_host *host = check_job_name(&j->check, line->plain[i], err);
		if (!host || (wanted && expect_of_hub(host, wanted, err) < 0))
			return -1;
	}
	if (line->plain_count)
		return 0;
	cJSON_ArrayForEach (certificate, j->certificates)
		if ((!wanted || wanted == certificate) && add_names(j, certificate, err) < 0)
			return -1;
	return j->check.host_count ? 0
				   : error_set(err, ERROR_USAGE,
					     "nothing to check: the hub has published no certificate "
					     "yet; name a HOST");
}

/* ---- the command ---- */

static int prepare(struct job *j, const struct cli_line *line, struct error *err)
{
	if (check_job_begin(&j->check, line, err) < 0)
		return -1;
	bool needs_hub = line->plain_count == 0 || (j->check.expect && !j->check.expects);
	if (read_config(j, needs_hub, err) < 0 || (needs_hub && ask_hub(j, err) < 0))
		return -1;
	return add_hosts(j, err);
}

int command_check(const struct cli_line *line)
{
	struct error err;
	struct job j = {0};
	int exit_code =
		prepare(&j, line, &err) < 0 ? check_job_refuse(&j.check, &err) : check_job_run(&j.check, j.anchors);
	job_release(&j);
	return exit_code;
}
