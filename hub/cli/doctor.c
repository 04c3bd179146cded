#include "hub/cli/doctor.h"
#include "hub/common/config.h"
#include "hub/cli/doctor_gate.h"
#include "hub/cli/doctor_web.h"
#include "hub/cli/doctor_worker.h"
#include "lib/wire/ask.h"
#include "lib/cli/doctor.h"
#include "lib/cli/doctor_fail2ban.h"
#include "lib/cli/doctor_haproxy.h"
#include "lib/cli/doctor_place.h"
#include "lib/cli/doctor_system.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"

#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FAULTS_MAX = 64 * 1024 };

/* ---- users and files ---- */

static bool has_local_agent(const struct hub_config *c)
{
	for (size_t i = 0; i < c->agent_count; i++)
		if (c->agents[i].local)
			return true;
	return false;
}

/* Looks for the users and groups that the configuration has by default, by the faults that say that they are
 * missing. */
static void prepare_users(struct doctor_findings *f, struct doctor_site *site)
{
	auto_buf struct buf faults = BUF_INIT(FAULTS_MAX);
	struct hub_config *config = hub_config_load(site->path, &faults);
	auto_free char *shell = mem_printf("%s/certsync-gate", fs_program_directory());
	const struct doctor_user users[] = {{"certsync-hub", "/var/lib/certsync-hub", NULL},
		{"certsync-keys", "/var/lib/certsync-hub-keys", NULL}, {"certsync-worker", "/", NULL},
		{"certsync-gate", "/var/lib/certsync-gate", shell},
		{"certsync-agent", "/var/lib/certsync-agent", NULL}};
	hub_config_free(config);
	doctor_missing(f, buf_text(&faults), "certsync-admin", users, COUNT(users));
}

static void load(struct doctor_findings *f, struct doctor_site *site)
{
	auto_buf struct buf faults = BUF_INIT(FAULTS_MAX);
	hub_config_free(site->config);
	site->config = hub_config_load(site->path, &faults);
	if (site->config) {
		doctor_add(f, DOCTOR_OK, "%s is understood", site->path);
		return;
	}
	doctor_faults(f, buf_text(&faults), site->path, "certsync-hub.conf(5)");
}

static void look_at_users(struct doctor_findings *f, const void *site)
{
	const struct hub_config *c = site;
	const struct doctor_user hub = {c->user, c->state, NULL};
	auto_free char *directory = mem_printf("%s-keys", c->state);
	const struct doctor_user keys = {c->keys_user, directory, NULL};
	const struct doctor_user worker = {c->worker_user, "/", NULL};
	const struct doctor_user agent = {c->local_user, "/var/lib/certsync-agent", NULL};
	bool good = doctor_group(f, c->admin_group);
	good = doctor_user(f, &hub) && good;
	good = doctor_user(f, &keys) && good;
	good = doctor_user(f, &worker) && good;
	good = (!has_local_agent(c) || doctor_user(f, &agent)) && good;
	if (good)
		doctor_add(f, DOCTOR_OK, "%s, %s, %s and the group %s exist", c->user, c->keys_user, c->worker_user,
			c->admin_group);
}

static void look_at_files(struct doctor_findings *f, const void *site)
{
	const struct hub_config *c = site;
	/* If the hub was started without root, everything belongs to the caller. */
	bool separate = geteuid() == 0 || strcmp(c->user, "certsync-hub") == 0;
	const char *root = separate ? "root" : NULL, *user = separate ? c->user : NULL,
		   *keys_user = separate ? c->keys_user : NULL;
	auto_free char *keys = mem_printf("%s-keys", c->state);
	auto_free char *run = mem_printf("%s-keys", c->run);
	const struct doctor_place places[] = {
		{c->path, "", root, user, 0640, false, false, DOCTOR_MISSING_WRONG},
		{c->run, "", user, separate ? c->admin_group : NULL, 02755, true, false, DOCTOR_MISSING_MADE},
		{c->state, "", user, user, 0700, true, true, DOCTOR_MISSING_MADE},
		{run, "", root, separate ? c->admin_group : NULL, 02755, true, false, DOCTOR_MISSING_MADE},
		{keys, "", keys_user, keys_user, 0700, true, true, DOCTOR_MISSING_MADE},
		{keys, "sign.key", keys_user, NULL, 0600, false, true, DOCTOR_MISSING_FINE},
		{keys, "leaf", keys_user, NULL, 0700, true, true, DOCTOR_MISSING_FINE},
		{keys, "pending", keys_user, NULL, 0700, true, true, DOCTOR_MISSING_FINE},
		{keys, "account", keys_user, NULL, 0700, true, true, DOCTOR_MISSING_FINE},
		{c->state, "certificates", user, NULL, 0700, true, true, DOCTOR_MISSING_FINE},
	};
	/* Another directory is its owner's, whatever mode it has. */
	const struct doctor_place usual = {"/etc/certsync", "", NULL, NULL, 0755, true, false, DOCTOR_MISSING_WRONG};
	bool good = strncmp(c->path, "/etc/certsync/", 14) != 0 || doctor_place(f, &usual);
	for (size_t i = 0; i < COUNT(places); i++)
		good = doctor_place(f, &places[i]) && good;
	if (good)
		doctor_add(f, DOCTOR_OK, "configuration, store and private keys have their owners and modes");
}

/* ---- the daemon ---- */

struct seen {
	size_t agents, connected;
	char *other_version; /* owned: "NAME 0.0.9" of one that is not ours */
	char *missing;       /* owned: of those that have not joined */
};

static void add_name(char **list, const char *name, const char *more)
{
	auto_free char *before = *list;
	*list = mem_printf("%s%s%s%s%s", before ? before : "", before ? ", " : "", name, *more ? " " : "", more);
}

static void on_agent(const cJSON *answer, void *context)
{
	struct seen *s = context;
	if (strcmp(json_text(answer, "event"), "agent") != 0)
		return;
	const char *state = json_text(answer, "state"), *version = json_text(answer, "version");
	s->agents++;
	s->connected += strcmp(state, "connected") == 0;
	if (strcmp(state, "not joined") == 0 || strcmp(state, "broken") == 0)
		add_name(&s->missing, json_text(answer, "agent"), "");
	if (*version && strcmp(version, CERTSYNC_VERSION) != 0)
		add_name(&s->other_version, json_text(answer, "agent"), version);
}

static void tell_agents(struct doctor_findings *f, const struct seen *s)
{
	doctor_add(f, DOCTOR_OK, "the hub runs; %zu of %zu agents are connected", s->connected, s->agents);
	if (s->missing)
		doctor_remedy(doctor_add(f, DOCTOR_WARNING, "not joined: %s", s->missing),
			"certsync agent add NAME prints the line for certsync-agent join there");
	if (s->other_version)
		doctor_remedy(doctor_add(f, DOCTOR_WARNING, "of another version than this hub (%s): %s",
				      CERTSYNC_VERSION, s->other_version),
			"the same version there; until then they work together as certsync-protocol(7) says");
}

static void look_at_daemon(struct doctor_findings *f, const void *site)
{
	const struct hub_config *c = site;
	struct error err;
	struct seen seen = {0};
	auto_free char *path = mem_printf("%s/control.sock", c->run);
	auto_json cJSON *request = cJSON_CreateObject();
	cJSON_AddStringToObject(request, "command", "agent-list");
	int exit_code = ask(path, request, NULL, on_agent, &seen, &err);
	/* NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores): read as their scope ends */
	auto_free __attribute__((unused)) char *missing = seen.missing, *version = seen.other_version;
	if (exit_code >= 0) {
		tell_agents(f, &seen);
		return;
	}
	doctor_silent(f, path, "certsync-hub", c->admin_group, &err);
}

/* ---- the node ---- */

static void look_at_clock(struct doctor_findings *f, const void *site)
{
	(void)site;
	doctor_clock(f);
}

static void look_at_disk(struct doctor_findings *f, const void *site)
{
	const struct hub_config *c = site;
	doctor_disk(f, c->state);
}

/* Agents come from addresses of their own, which only a person knows; from here only loopback can be looked at. */
static void look_at_fail2ban(struct doctor_findings *f, const void *site)
{
	(void)site;
	static const char *const jails[] = {"sshd", "ssh", "haproxy", "postfix", "dovecot", NULL};
	static const char *const addresses[] = {"127.0.0.1", "::1", NULL};
	doctor_fail2ban(f, jails, addresses, "this node's own probes");
}

static void look_at_selinux(struct doctor_findings *f, const void *site)
{
	const struct hub_config *c = site;
	auto_free char *gate = mem_printf("%s/certsync-gate", fs_program_directory());
	auto_free char *copy = mem_strdup(c->authorized_keys);
	const struct doctor_label labels[] = {{gate, "bin_t"}, {dirname(copy), "ssh_home_t"}};
	/* Only a directory of ours gets a label: one of others would lose its own. */
	bool ours = strcmp(labels[1].path, "/var/lib/certsync-gate/.ssh") == 0;
	doctor_selinux(f, labels, ours ? COUNT(labels) : 1);
}

static void look_at_confinement(struct doctor_findings *f, const void *site)
{
	(void)site;
	doctor_confinement(f);
}

static void look_at_unit(struct doctor_findings *f, const void *site)
{
	(void)site;
	static const char *const before[] = {NULL};
	doctor_unit(f, "certsync-hub.service", before);
}

static const struct doctor_check checks[] = {
	{"accounts", NULL, prepare_users},
	{"configuration", NULL, load},
	{"users", look_at_users, NULL},
	{"gate account", doctor_gate_account, NULL},
	{"files", look_at_files, NULL},
	{"worker files", doctor_worker_files, NULL},
	{"gate files", doctor_gate_files, NULL},
	{"sshd", doctor_gate_sshd, NULL},
	{"hub", look_at_daemon, NULL},
	{"http-01", doctor_web_responder, NULL},
	{"tls-alpn-01", doctor_web_tls_alpn, NULL},
	{"HAProxy", doctor_web_haproxy, NULL},
	{"HAProxy socket", doctor_haproxy_socket, NULL},
	{"DNS", doctor_web_dns, NULL},
	{"clock", look_at_clock, NULL},
	{"disk", look_at_disk, NULL},
	{"fail2ban", look_at_fail2ban, NULL},
	{"confinement", look_at_confinement, NULL},
	{"SELinux", look_at_selinux, NULL},
	{"unit", look_at_unit, NULL},
	{NULL, NULL, NULL},
};

int command_doctor(const struct cli_line *line)
{
	if (cli_config_is_hidden(line))
		return cli_fail(CLI_USAGE, "%s cannot be read by this user: run doctor as root", line->config);
	struct doctor_site site = {.path = line->config};
	int exit_code = doctor_run(line, checks, &site);
	hub_config_free(site.config);
	return exit_code;
}
