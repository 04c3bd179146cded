#include "agent/cli/doctor.h"
#include "agent/common/pin.h"
#include "agent/cli/adopt/journal.h"
#include "agent/common/config.h"
#include "agent/common/password.h"
#include "agent/cli/doctor_service.h"
#include "lib/wire/ask.h"
#include "lib/cli/doctor.h"
#include "lib/cli/doctor_fail2ban.h"
#include "lib/cli/doctor_haproxy.h"
#include "lib/cli/doctor_net.h"
#include "lib/cli/doctor_place.h"
#include "lib/cli/doctor_system.h"
#include "lib/core/mem.h"
#include "lib/core/tool.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* This is Debian's first version without the holes that a client can meet. */
#define LIBSSH_GOOD "0.10.6-0+deb12u3"

enum { FAULTS_MAX = 64 * 1024, SAID_MAX = 64 * 1024, ADDRESSES_MAX = 32 };

/* ---- users and configuration ---- */

static void prepare_users(struct doctor_findings *f, struct doctor_site *site)
{
	static const struct doctor_user users[] = {{"certsync-agent", "/var/lib/certsync-agent", NULL}};
	auto_buf struct buf faults = BUF_INIT(FAULTS_MAX);
	struct agent_config *config = agent_config_load(site->path, &faults);
	agent_config_free(config);
	doctor_missing(f, buf_text(&faults), "certsync-admin", users, COUNT(users));
}

static void load(struct doctor_findings *f, struct doctor_site *site)
{
	auto_buf struct buf faults = BUF_INIT(FAULTS_MAX);
	agent_config_free(site->config);
	site->config = agent_config_load(site->path, &faults);
	if (site->config)
		doctor_add(f, DOCTOR_OK, "%s is understood", site->path);
	else
		doctor_faults(f, buf_text(&faults), site->path, "certsync-agent.conf(5)");
}

static void look_at_users(struct doctor_findings *f, const void *config)
{
	const struct agent_config *c = config;
	const struct doctor_user agent = {c->user, c->state, NULL};
	bool good = doctor_group(f, c->admin_group);
	if (doctor_user(f, &agent) && good)
		doctor_add(f, DOCTOR_OK, "%s and the group %s exist", c->user, c->admin_group);
}

/* ---- files ---- */

static bool look_at_keys(struct doctor_findings *f, const struct agent_config *c, const char *root)
{
	bool good = true;
	for (size_t i = 0; i < c->certificate_count; i++) {
		auto_free char *live = mem_printf("%s/live/%s", c->directory, c->certificates[i].name);
		static const char *const keys[] = {"privkey.pem", "combined.pem", "haproxy.pem", "combined-all.pem"};
		for (size_t k = 0; k < COUNT(keys); k++) {
			const struct doctor_place key = {
				live, keys[k], root, NULL, 0600, false, true, DOCTOR_MISSING_FINE};
			good = doctor_place(f, &key) && good;
		}
	}
	return good;
}

static bool look_at_password(struct doctor_findings *f, const char *path)
{
	auto_buf struct buf password = BUF_INIT(PASSWORD_MAX);
	struct error err;
	if (password_read(path, &password, &err) == 0)
		return true;
	doctor_remedy(doctor_add(f, DOCTOR_WRONG, "%s", err.message),
		"%s: a file of root's, mode 0600, with one line of %d to %d printable ASCII characters", path,
		PASSWORD_MIN, PASSWORD_MAX);
	return false;
}

/* Only root can read them, so nobody else is told of them. */
static bool look_at_passwords(struct doctor_findings *f, const struct agent_config *c)
{
	bool good = true;
	for (size_t i = 0; geteuid() == 0 && i < c->certificate_count; i++)
		for (size_t k = 0; k < c->certificates[i].service_count; k++)
			for (size_t n = 0; n < c->certificates[i].services[k].file_count; n++) {
				const char *path = c->certificates[i].services[k].files[n].password_file;
				good = (!path || look_at_password(f, path)) && good;
			}
	return good;
}

static void look_at_files(struct doctor_findings *f, const void *config)
{
	const struct agent_config *c = config;
	bool separate = geteuid() == 0 || strcmp(c->user, "certsync-agent") == 0;
	const char *root = separate ? "root" : NULL, *user = separate ? c->user : NULL;
	const char *group = separate ? c->admin_group : NULL;
	auto_free char *live = mem_printf("%s/live", c->directory);
	auto_free char *archive = mem_printf("%s/archive", c->directory);
	const struct doctor_place places[] = {
		{c->path, "", root, user, 0640, false, false, DOCTOR_MISSING_WRONG},
		{c->directory, "", root, NULL, 0755, true, false, DOCTOR_MISSING_MADE},
		{live, "", root, NULL, 0755, true, false, DOCTOR_MISSING_FINE},
		{archive, "", root, NULL, 0755, true, false, DOCTOR_MISSING_FINE},
		{c->run, "", user, group, 02755, true, false, DOCTOR_MISSING_MADE},
		{c->state, "", user, user, 0700, true, true, DOCTOR_MISSING_MADE},
		{c->state, "id_ed25519", user, NULL, 0600, false, true, DOCTOR_MISSING_FINE},
		{c->root_state, "", root, NULL, 0700, true, true, DOCTOR_MISSING_MADE},
		{c->root_state, "seal.key", root, NULL, 0600, false, true, DOCTOR_MISSING_FINE},
	};
	bool good = true;
	for (size_t i = 0; i < COUNT(places); i++)
		good = doctor_place(f, &places[i]) && good;
	good = look_at_passwords(f, c) && good;
	if (look_at_keys(f, c, root) && good)
		doctor_add(f, DOCTOR_OK, "configuration, state and keys have their owners and modes");
}

/* ---- the hub ---- */

static void look_at_pins(struct doctor_findings *f, const void *config)
{
	const struct agent_config *c = config;
	bool ssh = false, good = true;
	for (size_t i = 0; i < c->hub_count; i++)
		ssh = ssh || !c->hubs[i].path;
	auto_free char *pins = mem_printf("%s/pins", c->directory);
	auto_free char *hub_keys = mem_printf("%s/hub_keys", pins);
	auto_free char *host_keys = mem_printf("%s/host_keys", pins);
	if (access(hub_keys, F_OK) < 0 || (ssh && access(host_keys, F_OK) < 0)) {
		doctor_remedy(
			doctor_add(f, DOCTOR_WRONG, "this node has not joined a hub: its keys are not in %s", pins),
			"on the hub: certsync agent add NAME; here: certsync-agent join, which reads the line that it prints");
		return;
	}
	const char *root = geteuid() == 0 ? "root" : NULL;
	const struct doctor_place places[] = {
		{pins, "", root, NULL, 0755, true, false, DOCTOR_MISSING_WRONG},
		{hub_keys, "", root, NULL, 0644, false, false, DOCTOR_MISSING_WRONG},
		{host_keys, "", root, NULL, 0644, false, false, DOCTOR_MISSING_FINE},
	};
	for (size_t i = 0; i < COUNT(places); i++)
		good = doctor_place(f, &places[i]) && good;
	struct bundle_keys keys = {0};
	struct error err;
	if (good && pin_signers(c->directory, &keys, &err) < 0)
		doctor_remedy(doctor_add(f, DOCTOR_WRONG, "%s", err.message),
			"on the hub: certsync agent add NAME --replace; here: certsync-agent join "
			"--replace, which reads the line that it prints");
	else if (good)
		doctor_add(f, DOCTOR_OK, "the hub's keys are pinned: %zu may sign%s", keys.signer_count,
			keys.signer_count > 1 ? ", as while the hub's signing key is being replaced" : "");
}

struct heard {
	struct doctor_findings *findings;
	bool hub;
};

static void on_answer(const cJSON *answer, void *context)
{
	struct heard *h = context;
	if (strcmp(json_text(answer, "event"), "hub") != 0)
		return;
	const char *state = json_text(answer, "state"), *failure = json_text(answer, "failure");
	const char *version = json_text(answer, "version");
	h->hub = true;
	if (strcmp(state, "connected") == 0)
		doctor_add(h->findings, DOCTOR_OK, "connected to %s as agent %s", json_text(answer, "hub"),
			json_text(answer, "name"));
	else
		doctor_remedy(doctor_add(h->findings, DOCTOR_WRONG, "no connection to %s: %s%s%s",
				      json_text(answer, "hub"), state, *failure ? ": " : "", failure),
			"certsync-agent status says when it tries again, and why it fails; certsync-agent pull tries at once; on the "
			"hub: certsync doctor");
	if (strcmp(version, CERTSYNC_VERSION) != 0)
		doctor_remedy(doctor_add(h->findings, DOCTOR_WARNING, "the daemon that runs is %s, and %s is installed",
				      version, CERTSYNC_VERSION),
			"systemctl restart certsync-agent");
}

static void look_at_daemon(struct doctor_findings *f, const void *config)
{
	const struct agent_config *c = config;
	struct error err;
	struct heard heard = {.findings = f};
	auto_free char *path = mem_printf("%s/control.sock", c->run);
	auto_json cJSON *request = cJSON_CreateObject();
	cJSON_AddStringToObject(request, "command", "status");
	if (ask(path, request, NULL, on_answer, &heard, &err) >= 0 || heard.hub)
		return;
	doctor_silent(f, path, "certsync-agent", c->admin_group, &err);
}

/* Only Debian's packages say which holes are closed. */
static void look_at_libssh(struct doctor_findings *f, const void *config)
{
	(void)config;
	static const char *const query[] = {"dpkg-query", "-W", "-f", "${Version}", "libssh-4", NULL};
	struct error ignored;
	auto_buf struct buf version = BUF_INIT(SAID_MAX), said = BUF_INIT(SAID_MAX);
	int older = 0;
	if (!tool_exists("dpkg-query") || tool_run(query, &version, &ignored) < 0)
		return;
	const char *const compare[] = {"dpkg", "--compare-versions", buf_text(&version), "ge", LIBSSH_GOOD, NULL};
	if (tool_exit(compare, &said, &older, &ignored) < 0)
		return;
	if (older)
		/* --apply does not do this: a package manager must not be killed at a deadline. */
		doctor_remedy(doctor_add(f, DOCTOR_WARNING,
				      "libssh %s has holes that a client can meet, closed in " LIBSSH_GOOD,
				      buf_text(&version)),
			"apt-get install --only-upgrade libssh-4");
	else
		doctor_add(f, DOCTOR_OK, "libssh %s", buf_text(&version));
}

static bool serves(const struct agent_config *c, const char *service)
{
	for (size_t i = 0; i < c->certificate_count; i++)
		for (size_t k = 0; k < c->certificates[i].service_count; k++)
			if (strcmp(c->certificates[i].services[k].name, service) == 0)
				return true;
	return false;
}

static void look_at_haproxy(struct doctor_findings *f, const void *config)
{
	if (serves(config, "haproxy"))
		doctor_haproxy_socket(f, config);
}

/* ---- the node ---- */

static void look_at_clock(struct doctor_findings *f, const void *config)
{
	(void)config;
	doctor_clock(f);
}

static void look_at_adopt(struct doctor_findings *f, const void *config)
{
	if (adopt_journal_is_there(config))
		doctor_remedy(doctor_add(f, DOCTOR_WRONG,
				      "certsync-agent adopt was interrupted: services' files are as it left them"),
			"certsync-agent adopt --apply, which puts back what it had changed");
}

static void look_at_disk(struct doctor_findings *f, const void *config)
{
	const struct agent_config *c = config;
	doctor_disk(f, c->directory);
	doctor_disk(f, c->root_state);
}

/* This agent, and the hub from outside, look at the ports here without logging in. */
static void look_at_fail2ban(struct doctor_findings *f, const void *config)
{
	static const char *const jails[] = {
		"postfix", "dovecot", "exim", "courier", "nginx", "apache", "haproxy", NULL};
	const struct agent_config *c = config;
	struct error ignored;
	auto_buf struct buf all = BUF_INIT(SAID_MAX);
	const char *addresses[ADDRESSES_MAX + 1] = {"127.0.0.1", "::1"};
	size_t count = 2;
	if (!doctor_runs("fail2ban-server"))
		return;
	for (size_t i = 0; i < c->hub_count; i++) {
		auto_free char *found = c->hubs[i].host ? doctor_addresses(c->hubs[i].host, &ignored) : NULL;
		buf_addf(&all, "%s ", found ? found : "");
	}
	auto_free char *copy = mem_strdup(buf_text(&all));
	char *save = NULL;
	for (const char *word = strtok_r(copy, " ", &save); word && count < ADDRESSES_MAX;
		word = strtok_r(NULL, " ", &save))
		addresses[count++] = word;
	doctor_fail2ban(f, jails, addresses, "the probes of this agent and of the hub");
}

static void look_at_selinux(struct doctor_findings *f, const void *config)
{
	const struct agent_config *c = config;
	auto_free char *live = mem_printf("%s/live", c->directory);
	auto_free char *archive = mem_printf("%s/archive", c->directory);
	const struct doctor_label labels[] = {{live, "cert_t"}, {archive, "cert_t"}};
	doctor_selinux(f, labels, COUNT(labels));
}

static void look_at_confinement(struct doctor_findings *f, const void *config)
{
	(void)config;
	doctor_confinement(f);
}

static void look_at_unit(struct doctor_findings *f, const void *config)
{
	static const struct {
		const char *service, *unit;
	} units[] = {{"haproxy", "haproxy.service"}, {"postfix", "postfix.service"}, {"dovecot", "dovecot.service"},
		{"nginx", "nginx.service"}, {"apache2", "apache2.service"}, {"exim4", "exim4.service"},
		{"mariadb", "mariadb.service"}, {"postgresql", "postgresql.service"}, {"stunnel", "stunnel4.service"}};
	const struct agent_config *c = config;
	const char *before[COUNT(units) + 1] = {NULL};
	size_t count = 0;
	for (size_t i = 0; i < COUNT(units); i++)
		if (serves(c, units[i].service))
			before[count++] = units[i].unit;
	doctor_unit(f, "certsync-agent.service", before);
}

static const struct doctor_check checks[] = {
	{"accounts", NULL, prepare_users},
	{"configuration", NULL, load},
	{"users", look_at_users, NULL},
	{"files", look_at_files, NULL},
	{"pins", look_at_pins, NULL},
	{"hub", look_at_daemon, NULL},
	{"hooks", doctor_service_hooks, NULL},
	{"services", doctor_service_files, NULL},
	{"ports", doctor_service_ports, NULL},
	{"HAProxy socket", look_at_haproxy, NULL},
	{"libssh", look_at_libssh, NULL},
	{"clock", look_at_clock, NULL},
	{"adopt", look_at_adopt, NULL},
	{"disk", look_at_disk, NULL},
	{"fail2ban", look_at_fail2ban, NULL},
	{"confinement", look_at_confinement, NULL},
	{"SELinux", look_at_selinux, NULL},
	{"AppArmor", doctor_service_apparmor, NULL},
	{"unit", look_at_unit, NULL},
	{NULL, NULL, NULL},
};

int command_agent_doctor(const struct cli_line *line)
{
	if (cli_config_is_hidden(line))
		return cli_fail(CLI_USAGE, "%s cannot be read by this user: run doctor as root", line->config);
	struct doctor_site site = {.path = line->config};
	int exit_code = doctor_run(line, checks, &site);
	agent_config_free(site.config);
	return exit_code;
}
