#include "lib/probe/check_job.h"
#include "lib/probe/check_show.h"
#include "lib/core/clock.h"
#include "lib/core/helo.h"
#include "lib/core/mem.h"
#include "lib/cli/progress.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TIMEOUT_DEFAULT = 10, TIMEOUT_MAX = 300, DAYS_MAX = 10000, DAY = 86400 };

void check_job_release(struct check_job *j)
{
	free(j->hosts);
	j->hosts = NULL;
	j->host_count = 0;
}

/* ---- options ---- */

static int read_number(const struct check_job *j, const char *option, long maximum, long *ret, struct error *err)
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

/* Reads a fingerprint as openssl, browsers and this program write it: 64 digits, with or without colons, in any
 * case. */
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

int check_job_begin(struct check_job *j, const struct cli_line *line, struct error *err)
{
	*j = (struct check_job){.line = line, .expect = cli_value(line, "--expect", 0), .timeout = TIMEOUT_DEFAULT};
	signal(SIGPIPE, SIG_IGN);
	if (cli_has(line, "--json") && cli_has(line, "--nagios"))
		return error_set(err, ERROR_USAGE, "--json and --nagios: give one of them");
	if (read_number(j, "--timeout", TIMEOUT_MAX, &j->timeout, err) < 0 ||
		read_number(j, "--days", DAYS_MAX, &j->days, err) < 0)
		return -1;
	for (int i = 0; i < (int)COUNT(j->at) - 1 && cli_value(line, "--at", i); i++)
		j->at[i] = cli_value(line, "--at", i);
	const char *helo = cli_value(line, "--helo", 0);
	if (helo && !helo_is_valid(helo))
		return error_set(err, ERROR_USAGE,
			"--helo %s: give a name with a dot, like haproxy.domain.pl, or an address, like [192.0.2.1]",
			helo);
	j->expects = j->expect && read_fingerprint(j->expect, j->expected);
	if (line->plain_count == 0 && j->expects)
		return error_set(err, ERROR_USAGE, "--expect SHA-256 needs a HOST");
	return 0;
}

/* ---- hosts ---- */

struct check_host *check_job_add(struct check_job *j)
{
	j->hosts = mem_grow(j->hosts, j->host_count + 1, sizeof(*j->hosts));
	struct check_host *host = &j->hosts[j->host_count++];
	*host = (struct check_host){0};
	return host;
}

struct check_host *check_job_name(struct check_job *j, const char *text, struct error *err)
{
	struct check_host *host = check_job_add(j);
	if (check_host_parse(text, host, err) < 0) {
		j->host_count--;
		return NULL;
	}
	if (j->expects) {
		host->expected_count = 1;
		memcpy(host->expected[0], j->expected, sizeof(host->expected[0]));
	}
	return host;
}

/* ---- the outcome ---- */

/* Nagios reads one line of standard output and takes whatever hinders the check for "unknown". */
int check_job_refuse(const struct check_job *j, const struct error *err)
{
	if (!cli_has(j->line, "--nagios"))
		return cli_fail(err->kind == ERROR_USAGE ? CLI_USAGE : CLI_UNREACHABLE, "%s", err->message);
	printf("CERTSYNC UNKNOWN - %s\n", err->message);
	return NAGIOS_UNKNOWN;
}

static bool wants_colour(void)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
	return isatty(STDOUT_FILENO) && !(no && *no) && term && strcmp(term, "dumb") != 0;
}

static int show(const struct check_job *j, const struct check_run *run)
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

int check_job_run(struct check_job *j, const char *anchors)
{
	struct error err;
	const char *given = cli_value(j->line, "--anchors", 0);
	struct anchors *trusted = anchors_load(given ? given : anchors, &err);
	if (!trusted) {
		err.kind = ERROR_USAGE;
		return check_job_refuse(j, &err);
	}
	struct check_run run = {
		.anchors = trusted,
		.now = clock_wall(),
		.expiring_before = j->days * DAY,
		.at = j->at,
		.remedy = j->remedy,
		.both_keys = cli_has(j->line, "--both-keys"),
		.timeout_ms = (int)j->timeout * 1000,
		.helo = cli_value(j->line, "--helo", 0),
		.hosts = j->hosts,
		.host_count = j->host_count,
	};
	struct progress *progress = progress_new("looking at %zu name%s", j->host_count, j->host_count == 1 ? "" : "s");
	int done = check_run(&run, &err);
	progress_free(progress);
	int exit_code = done < 0 ? check_job_refuse(j, &err) : show(j, &run);
	check_run_release(&run);
	anchors_free(trusted);
	return exit_code;
}
