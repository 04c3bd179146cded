#include "agent/cli/check.h"
#include "agent/common/config.h"
#include "lib/probe/check_job.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FAULTS_MAX = 64 * 1024 };

const struct cli_option agent_check_options[] = {
	{"--at", "ADDRESS", "look at this address instead of what DNS says; needs a HOST, may be given more than once"},
	{"--expect", "WHAT", "require this certificate of agent.conf as installed here, or this SHA-256"},
	{"--anchors", "FILE", "trust these roots (PEM) instead of agent.conf's or the system's"},
	CHECK_JOB_OPTIONS,
	{NULL, NULL, NULL},
};

/* One address of agent.conf, in the form that struct check_host borrows. */
struct place {
	char *address;
	const char *at[2];
};

struct job {
	struct check_job check;
	struct agent_config *config; /* owned; NULL: none here */
	struct place **places;       /* owned */
	size_t place_count;
};

static void job_release(struct job *j)
{
	check_job_release(&j->check);
	agent_config_free(j->config);
	for (size_t i = 0; i < j->place_count; i++) {
		free(j->places[i]->address);
		free(j->places[i]);
	}
	free(j->places);
}

/* ---- what is installed ---- */

/* Reads the leaf of a file of live/NAME, which the caller releases. *ret_missing says that there is no such file. */
static int read_leaf(const struct job *j, const char *certificate, const char *file, bool *ret_missing,
	struct chain *ret, struct error *err)
{
	auto_buf struct buf pem = BUF_INIT(CHAIN_PEM_MAX);
	auto_free char *path = mem_printf("%s/live/%s/%s", j->config->directory, certificate, file);
	*ret_missing = access(path, F_OK) < 0 && errno == ENOENT;
	if (*ret_missing)
		return error_set(err, ERROR_USAGE,
			"%s: nothing is installed here yet, %s is missing; certsync-agent status says "
			"what it waits for",
			certificate, path);
	if (access(path, R_OK) < 0)
		return error_set(
			err, ERROR_USAGE, "%s: only root may read %s: run it again with sudo", certificate, path);
	if (fs_read(AT_FDCWD, path, false, &pem, err) < 0)
		return -1;
	/* A file with a key is parsed as the key as well, so that the parser takes it; the key is not used. */
	bool key = strcmp(file, "fullchain.pem") != 0;
	return chain_parse_pem(pem.data, pem.len, key ? pem.data : NULL, key ? pem.len : 0, ret, err);
}

/* The second leaf of a pair stands only in files with its key. */
static int expect_second(const struct job *j, struct check_host *host, struct error *err)
{
	static const char *const files[] = {"haproxy.pem.ecdsa", "haproxy.pem.rsa"};
	for (size_t i = 0; i < COUNT(files); i++) {
		auto_chain struct chain chain = {0};
		bool missing;
		if (read_leaf(j, host->certificate, files[i], &missing, &chain, err) < 0) {
			if (missing)
				continue;
			return -1;
		}
		uint8_t print[CHAIN_SHA256_SIZE];
		chain_fingerprint(chain.leaf, print);
		if (memcmp(print, host->expected[0], sizeof(print)) == 0)
			continue;
		memcpy(host->expected[1], print, sizeof(print));
		host->expected_count = 2;
	}
	return 0;
}

/* A certificate's name in agent.conf need not be one of the names that it is for. */
static void choose_name(struct check_host *host, const X509 *leaf)
{
	struct error ignored;
	struct chain_facts facts = {0};
	const char *concrete = NULL;
	if (chain_facts(leaf, &facts, &ignored) < 0)
		return;
	for (size_t i = 0; i < facts.name_count; i++) {
		if (name_covers(facts.names[i], host->name)) {
			concrete = NULL;
			break;
		}
		if (!concrete && !strchr(facts.names[i], '*') && strlen(facts.names[i]) < sizeof(host->name))
			concrete = facts.names[i];
	}
	if (concrete)
		strcpy(host->name, concrete);
	chain_facts_release(&facts);
}

/* `own` says that the host is this node, under the certificate's name. */
static int expect_installed(
	const struct job *j, struct check_host *host, const char *certificate, bool own, struct error *err)
{
	auto_chain struct chain chain = {0};
	bool missing;
	snprintf(host->certificate, sizeof(host->certificate), "%s", certificate);
	if (read_leaf(j, certificate, "fullchain.pem", &missing, &chain, err) < 0)
		return -1;
	chain_fingerprint(chain.leaf, host->expected[0]);
	host->expected_count = 1;
	if (own && strcmp(host->name, certificate) == 0)
		choose_name(host, chain.leaf);
	return expect_second(j, host, err);
}

/* ---- hosts ---- */

/* Adds an endpoint like "127.0.0.1:10025+proxy", which agent.conf was read with: the address, then its port. */
static int add_endpoint(struct job *j, const struct agent_certificate *certificate, const struct agent_service *service,
	const char *text, struct error *err)
{
	struct check_host *host = check_job_add(&j->check);
	struct place *place = mem_alloc(sizeof(*place));
	j->places = mem_grow(j->places, j->place_count + 1, sizeof(struct place *));
	j->places[j->place_count++] = place;
	const char *colon = text[0] == '[' ? strstr(text, "]:") + 1 : strchr(text, ':');
	bool six = text[0] == '[';
	place->address = mem_printf("%.*s", (int)(colon - text) - (six ? 2 : 0), text + (six ? 1 : 0));
	place->at[0] = place->address;
	host->at = place->at;
	snprintf(host->name, sizeof(host->name), "%s", service->sni);
	if (check_host_add_port(host, colon + 1, err) < 0)
		return -1;
	return expect_installed(j, host, certificate->name, true, err);
}

static int add_own(struct job *j, const char *only, struct error *err)
{
	for (size_t i = 0; i < j->config->certificate_count; i++) {
		const struct agent_certificate *certificate = &j->config->certificates[i];
		for (size_t k = 0; k < certificate->service_count && (!only || strcmp(only, certificate->name) == 0);
			k++) {
			const struct agent_service *service = &certificate->services[k];
			for (char **text = service->probe; text && *text; text++)
				if (add_endpoint(j, certificate, service, *text, err) < 0)
					return -1;
		}
	}
	return j->check.host_count
		? 0
		: error_set(err, ERROR_USAGE, "nothing to check: no service of %s has a probe; name a HOST",
			  j->config->path);
}

static int add_named(struct job *j, const char *wanted, struct error *err)
{
	for (int i = 0; i < j->check.line->plain_count; i++) {
		struct check_host *host = check_job_name(&j->check, j->check.line->plain[i], err);
		if (!host || (wanted && expect_installed(j, host, wanted, false, err) < 0))
			return -1;
	}
	return 0;
}

/* ---- the command ---- */

/* Reads agent.conf, which always helps and is needed only where it has to say what to look at. */
static int read_config(struct job *j, bool needed, struct error *err)
{
	const char *path = j->check.line->config;
	if (access(path, R_OK) < 0)
		return !needed ? 0
			       : error_set(err, ERROR_USAGE,
					 "%s, which says what to look at: %s; name a HOST, and with "
					 "--expect a SHA-256",
					 path, strerror(errno));
	auto_buf struct buf faults = BUF_INIT(FAULTS_MAX);
	j->config = agent_config_load(path, &faults);
	if (j->config)
		return 0;
	const char *text = buf_text(&faults);
	return error_set(err, ERROR_USAGE, "%.*s", (int)strcspn(text, "\n"), text);
}

static int prepare(struct job *j, const struct cli_line *line, struct error *err)
{
	if (check_job_begin(&j->check, line, err) < 0)
		return -1;
	const char *wanted = j->check.expects ? NULL : j->check.expect;
	if (read_config(j, line->plain_count == 0 || wanted, err) < 0)
		return -1;
	if (wanted && !agent_config_certificate(j->config, wanted))
		return error_set(err, ERROR_USAGE,
			"--expect %s: %s has no such certificate, and it is no SHA-256 (64 digits)", wanted,
			line->config);
	if (line->plain_count)
		return add_named(j, wanted, err);
	j->check.remedy = "reload the service";
	if (j->check.at[0])
		return error_set(err, ERROR_USAGE, "--at needs a HOST: %s says the addresses of its own", line->config);
	return add_own(j, wanted, err);
}

int command_agent_check(const struct cli_line *line)
{
	struct error err;
	struct job j = {0};
	int exit_code = prepare(&j, line, &err) < 0 ? check_job_refuse(&j.check, &err)
						    : check_job_run(&j.check, j.config ? j.config->anchors : NULL);
	job_release(&j);
	return exit_code;
}
