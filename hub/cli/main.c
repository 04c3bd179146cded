#include "hub/cli/import.h"
#include "hub/cli/check.h"
#include "hub/cli/account.h"
#include "hub/cli/agents.h"
#include "hub/cli/alerts.h"
#include "hub/cli/commands.h"
#include "hub/cli/haproxy.h"
#include "hub/daemon/daemon.h"
#include "hub/cli/doctor.h"
#include "hub/cli/hold.h"
#include "hub/cli/keys.h"
#include "hub/cli/recover.h"
#include "lib/cli/cli.h"
#include "lib/cli/complete.h"
#include "lib/cli/doctor.h"
#include "lib/core/proc.h"

static int run_hub(const struct cli_line *line)
{
	return daemon_run(line->config);
}

static const struct cli_option json_option[] = {
	{"--json", NULL, "print one JSON object instead of a table"},
	{NULL, NULL, NULL},
};

static const struct cli_option status_options[] = {
	{"--watch", NULL, "go on showing it, anew upon every change, until Ctrl-C"},
	{"--json", NULL, "print one JSON object instead of a table"},
	{NULL, NULL, NULL},
};

static const struct cli_option push_options[] = {
	{"--agent", "NAME", "push to this agent only; may be given more than once"},
	{"--force", NULL, "repeat the activation where it is verified already"},
	{"--proceed", NULL, "go on without agents that failed, and without waiting for a window"},
	{"--json", NULL, "print one JSON object instead of progress and a table"},
	{NULL, NULL, NULL},
};

static const struct cli_option renew_options[] = {
	{"--force", NULL, "order in spite of what the authority said, and of its limits"},
	{"--json", NULL, "print one JSON object instead of progress and a table"},
	{NULL, NULL, NULL},
};

static const struct cli_option agent_add_options[] = {
	{"--key", "LINE", "take the keys that certsync-agent identity printed there; - reads them from standard input"},
	{"--replace", NULL, "replace the keys that this agent has, which then open nothing any more"},
	{NULL, NULL, NULL},
};

static const struct cli_option keys_rotate_options[] = {
	{"--now", NULL,
		"let the new key take over at once, after a theft; whoever had not pinned it by then has to join again"},
	{"--json", NULL, "print one JSON object instead of text"},
	{NULL, NULL, NULL},
};

static int run_complete(const struct cli_line *line);

static const struct cli_command commands[] = {
	{"status", "", "show what every agent serves and what is under way", status_options, 0, 0, false,
		command_status},
	{"push", "[CERTIFICATE…]", "bring the desired revision to every agent, and wait", push_options, 0, -1, false,
		command_push},
	{"renew", "[CERTIFICATE…]", "order a new certificate now, then push it", renew_options, 0, -1, false,
		command_renew},
	{"revoke", "CERTIFICATE", "revoke a certificate at its authority, and replace it at once", revoke_options, 1, 1,
		false, command_revoke},
	{"account show", "[NAME…]", "show accounts at authorities: URL, key, contact", json_option, 0, -1, false,
		command_account_show},
	{"account rollover", "NAME", "give an account a new key", NULL, 1, 1, false, command_account_rollover},
	{"account deactivate", "NAME", "end an account for good", NULL, 1, 1, false, command_account_deactivate},
	{"history", "CERTIFICATE", "show every revision: where it came from, when, and why", json_option, 1, 1, false,
		command_history},
	{"rollback", "CERTIFICATE [REVISION]", "publish old content as a new revision, at once on every agent",
		json_option, 1, 2, false, command_rollback},
	{"recover", "[CERTIFICATE…]",
		"begin a new epoch, which all agents take, after the hub was restored from a backup (root)",
		recover_options, 0, -1, false, command_recover},
	{"import", "CERTIFICATE", "publish a key and chain of your own", import_options, 1, 1, false, command_import},
	{"hold", "AGENT [CERTIFICATE]", "leave an agent alone while a person works there", hold_options, 1, 2, false,
		command_hold},
	{"check", "[HOST[:PORT[/PROTOCOL]]…]", "show what clients see at every address of these names, and what to do",
		check_options, 0, -1, false, command_check},
	{"alert test", "", "send a test message by every way that hub.conf has, and show what each answered",
		json_option, 0, 0, false, command_alert_test},
	{"alert list", "", "show what is wrong now, since when, and whether a person was told", json_option, 0, 0,
		false, command_alert_list},
	{"agent add", "NAME",
		"print the line by which a node joins as this agent; it is good once, for 15 minutes (root)",
		agent_add_options, 1, 1, false, command_agent_add},
	{"agent list", "", "show every agent: its keys, when it was last seen", json_option, 0, 0, false,
		command_agent_list},
	{"agent rotate", "NAME",
		"print a line by which this agent gets new keys; the old ones work until those do (root)", NULL, 1, 1,
		false, command_agent_rotate},
	{"agent remove", "NAME", "take an agent's keys away, and end its connections at once (root)", NULL, 1, 1, false,
		command_agent_remove},
	{"keys", "", "show the hub's signing key, which agents pin, and how far its replacement is", json_option, 0, 0,
		false, command_keys},
	{"keys rotate", "", "replace the hub's signing key, without a visit to any node (root)", keys_rotate_options, 0,
		0, false, command_keys_rotate},
	{"doctor", "", "look over the hub's node, and say what mends each fault, or mend it", doctor_options, 0, 0,
		false, command_doctor},
	{"config haproxy", "", "print what HAProxy needs for challenges", config_haproxy_options, 0, 0, false,
		command_config_haproxy},
	{"config", "", "print the effective configuration, or its faults", NULL, 0, 0, false, command_config},
	{"reload", "PID", "have the hub whose root half is this process read hub.conf again, and wait until it holds",
		NULL, 1, 1, false, command_reload},
	{"hub", "", "run the daemon (certsync-hub-root starts it)", NULL, 0, 0, false, run_hub},
	{"complete", "WORD…", "show what may come next, for the shells", NULL, 0, -1, true, run_complete},
	{NULL, NULL, NULL, NULL, 0, 0, false, NULL},
};

static int run_complete(const struct cli_line *line)
{
	return complete(line, commands, command_ask);
}

int main(int argc, char **argv)
{
	proc_harden();
	return cli_main("certsync", "every TLS endpoint presents the same certificate", "/etc/certsync/hub.conf",
		commands, argc, argv);
}
