#include "agent/cli/adopt/adopt.h"
#include "agent/cli/adopt/apply.h"
#include "agent/cli/adopt/plan.h"
#include "agent/cli/adopt/table.h"
#include "agent/cli/discover/discover.h"
#include "agent/cli/discover/others.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FAULTS_MAX = 64 * 1024 };

const struct cli_option adopt_options[] = {
	{"--service", "SERVICE",
		"look at this one alone: haproxy nginx apache2 dovecot postfix exim4 courier mariadb postgresql "
		"stunnel"},
	{"--apply", NULL, "change it: back up, test, reload, look at the ports; put all back when anything fails"},
	{NULL, NULL, NULL},
};

static struct agent_config *load(const struct cli_line *line)
{
	auto_buf struct buf faults = BUF_INIT(FAULTS_MAX);
	struct agent_config *config = agent_config_load(line->config, &faults);
	if (!config)
		fputs(buf_text(&faults), stderr);
	return config;
}

static void print_summary(const struct plan *p, bool apply)
{
	if (p->edit.count == 0)
		printf("nothing to do: %zu already, %zu left as they are\n", p->done, p->left);
	else if (!apply)
		printf("nothing was changed: run it again with --apply, as root\n");
}

static int show(const struct plan *p, struct error *err)
{
	fputs(buf_text((struct buf *)(uintptr_t)&p->told), stdout);
	for (size_t i = 0; i < p->edit.count; i++)
		if (edit_show(&p->edit.files[i], err) < 0)
			return -1;
	return 0;
}

/* Looks at the services and shows what would change. *ret is to be released in any case. */
static int make_plan(const struct cli_line *line, const struct agent_config *config, struct found *found,
	struct plan *ret, struct error *err)
{
	const char *names[CLI_PLAIN_MAX + 1] = {NULL};
	for (int i = 0; i < line->plain_count; i++)
		names[i] = line->plain[i];
	/* What is left alone is looked at, too, when another service changes. */
	discover_services(config, cli_value(line, "--service", 0), found);
	if (plan_make(config, names, cli_value(line, "--service", 0), found, ret, err) < 0)
		return -1;
	return show(ret, err);
}

static int fail(const struct error *err)
{
	fflush(stdout);
	return cli_fail(err->kind == ERROR_USAGE ? CLI_USAGE : CLI_FAILED, "%s", err->message);
}

static bool is_installed(const struct plan *plan, const struct present *present)
{
	for (size_t i = 0; i < plan->certificate_count; i++)
		for (size_t k = 0; k < plan->certificates[i].leaf_count; k++)
			if (memcmp(plan->certificates[i].leaves[k], present->leaves[0].fingerprint,
				    CHAIN_SHA256_SIZE) == 0)
				return true;
	return false;
}

/* Tells what serves TLS here and is no service that adopt knows, unless it serves what is installed. */
static void print_others(const struct plan *plan, const struct found *found)
{
	auto_listening struct listening listening;
	auto_others struct others others;
	auto_free const char **names = mem_array(plan->certificate_count + 1, sizeof(*names));
	for (size_t i = 0; i < plan->certificate_count; i++)
		names[i] = plan->certificates[i].certificate->name;
	found_listening(found, &listening);
	others_look(found, &listening, names, &others);
	for (size_t i = 0; i < others.served.count; i++) {
		const struct served_look *look = &others.served.list[i];
		const struct present *present = look->name ? NULL : others_present(look);
		if (!present || is_installed(plan, present))
			continue;
		auto_free char *line = others_line(look);
		printf("%s\n", line);
	}
	fputs(buf_text(&others.unasked), stdout);
	if (others.left_out)
		printf("%zu more programs listen, and were not looked at\n", others.left_out);
}

/* The table of a plan that is not carried out. */
static int show_table(const struct agent_config *config, const struct plan *plan, struct found *found)
{
	struct error err;
	auto_sight struct sight now = {0};
	if (sight_first(config, plan, found, NULL, &now, &err) < 0)
		return fail(&err);
	printf("\n");
	table_print(plan, &now, NULL);
	print_others(plan, found);
	return CLI_DONE;
}

static int adopt_shown(const struct cli_line *line, const struct agent_config *config)
{
	struct error err;
	auto_found struct found found = {0};
	auto_plan struct plan plan = {0};
	if (adopt_journal_is_there(config))
		return cli_fail(CLI_FAILED,
			"an adopt was interrupted: certsync-agent adopt --apply, as "
			"root, puts back what it has changed, "
			"and begins anew");
	if (make_plan(line, config, &found, &plan, &err) < 0)
		return fail(&err);
	print_summary(&plan, false);
	return show_table(config, &plan, &found);
}

static int adopt_applied(const struct cli_line *line, const struct agent_config *config)
{
	struct error err;
	auto_adopt_journal struct adopt_journal journal = {.directory = -1, .lock = -1};
	auto_found struct found found = {0};
	auto_plan struct plan plan = {0};
	if (adopt_journal_open(config, &journal, &err) < 0)
		return fail(&err);
	int result = journal.state ? adopt_recover(config, &journal) : CLI_DONE;
	if (result != CLI_DONE)
		return result;
	if (make_plan(line, config, &found, &plan, &err) < 0)
		return fail(&err);
	print_summary(&plan, true);
	if (plan.edit.count == 0)
		return show_table(config, &plan, &found);
	result = adopt_apply(config, &plan, &found, &journal);
	if (result == CLI_DONE)
		print_others(&plan, &found);
	return result;
}

int command_agent_adopt(const struct cli_line *line)
{
	bool apply = cli_has(line, "--apply");
	if (apply && geteuid() != 0)
		return cli_fail(CLI_USAGE,
			"adopt --apply changes the services' files, which needs root: run "
			"it again with sudo");
	struct agent_config *config = load(line);
	if (!config)
		return CLI_USAGE;
	int result = apply ? adopt_applied(line, config) : adopt_shown(line, config);
	agent_config_free(config);
	return result;
}
