#include "agent/cli/adopt/adopt.h"
#include "agent/cli/check.h"
#include "agent/cli/commands.h"
#include "agent/daemon/daemon.h"
#include "agent/daemon/teller.h"
#include "agent/cli/doctor.h"
#include "lib/cli/cli.h"
#include "lib/cli/complete.h"
#include "lib/cli/doctor.h"
#include "lib/core/proc.h"

static int run(const struct cli_line *line)
{
	return agent_run(line->config);
}

static int tell(const struct cli_line *line)
{
	return teller_main(line->plain[0]);
}

static const struct cli_option status_options[] = {
	{"--json", NULL, "print one JSON object instead of a table"},
	{NULL, NULL, NULL},
};

static const struct cli_option pull_options[] = {
	{"--wait", "SECONDS", "wait so long for the end (120)"},
	{"--json", NULL, "print one JSON object instead of progress and a table"},
	{NULL, NULL, NULL},
};

static const struct cli_option join_options[] = {
	{"--replace", NULL, "replace other keys that are pinned already"},
	{NULL, NULL, NULL},
};

static int run_complete(const struct cli_line *line);

static const struct cli_command commands[] = {
	{"status", "", "show what this node serves, and how it stands with the hub", status_options, 0, 0, false,
		command_agent_status},
	{"pull", "[CERTIFICATE…]", "connect now, ask the hub for what is due, and wait", pull_options, 0, -1, false,
		command_agent_pull},
	{"check", "[HOST[:PORT[/PROTOCOL]]…]",
		"show what clients see at this node's ports, or elsewhere, and what to do", agent_check_options, 0, -1,
		false, command_agent_check},
	{"identity", "", "print this agent's public keys as one line, for certsync agent add", NULL, 0, 0, false,
		command_agent_identity},
	{"join", "", "read the hub's line (certsync agent add prints it) from standard input and pin its keys",
		join_options, 0, 0, false, command_agent_join},
	{"adopt", "[CERTIFICATE…]", "show how each service would use what is installed here, as a diff, or change it",
		adopt_options, 0, -1, false, command_agent_adopt},
	{"doctor", "", "look over this node, and say what mends each fault, or mend it", doctor_options, 0, 0, false,
		command_agent_doctor},
	{"config", "", "print the effective configuration, or its faults", NULL, 0, 0, false, command_agent_config},
	{"reload", "PID",
		"have the agent whose root half is this process read agent.conf again, and wait until it holds", NULL,
		1, 1, false, command_agent_reload},
	{"run", "", "run the daemon (certsync-agent-root starts it)", NULL, 0, 0, false, run},
	{"tell", "COMMAND", "run it with each message of the daemon, which starts this", NULL, 1, 1, true, tell},
	{"complete", "WORD…", "show what may come next, for the shells", NULL, 0, -1, true, run_complete},
	{NULL, NULL, NULL, NULL, 0, 0, false, NULL},
};

static int run_complete(const struct cli_line *line)
{
	return complete(line, commands, command_agent_ask);
}

int main(int argc, char **argv)
{
	proc_harden();
	return cli_main("certsync-agent", "keeps the certificates of this node as the hub wants them",
		"/etc/certsync/agent.conf", commands, argc, argv);
}
