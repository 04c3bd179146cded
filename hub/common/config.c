#include "hub/common/config_sections.h"
#include "lib/probe/endpoint.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"

#include <errno.h>
#include <glob.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DAY = 86400 };

static cfg_opt_t acme_options[] = {
	CFG_STR("directory", NULL, CFGF_NODEFAULT),
	CFG_STR_LIST("contact", NULL, CFGF_NODEFAULT),
	CFG_BOOL("agree_tos", cfg_false, CFGF_NONE),
	CFG_STR("ca_file", NULL, CFGF_NODEFAULT),
	CFG_STR("eab_kid", NULL, CFGF_NODEFAULT),
	CFG_STR("eab_hmac", NULL, CFGF_NODEFAULT),
	CFG_BOOL("ari", cfg_true, CFGF_NONE),
	CFG_BOOL("limits", cfg_true, CFGF_NONE),
	CFG_END(),
};

static cfg_opt_t certificate_options[] = {
	CFG_STR("acme", NULL, CFGF_NODEFAULT),
	CFG_STR_LIST("watch", NULL, CFGF_NODEFAULT),
	CFG_STR_LIST("names", NULL, CFGF_NODEFAULT),
	CFG_STR_LIST("key", NULL, CFGF_NODEFAULT),
	CFG_BOOL("reuse_key", cfg_false, CFGF_NONE),
	CFG_BOOL("next_key", cfg_false, CFGF_NONE),
	CFG_BOOL("must_staple", cfg_false, CFGF_NONE),
	CFG_STR("profile", NULL, CFGF_NODEFAULT),
	CFG_STR("preferred_chain", NULL, CFGF_NODEFAULT),
	CFG_STR("challenge", "http-01", CFGF_NONE),
	CFG_STR("dns_hook", NULL, CFGF_NODEFAULT),
	CFG_STR("dns_config", NULL, CFGF_NODEFAULT),
	CFG_STR("dns_timeout", "10m", CFGF_NONE),
	CFG_STR("preflight", "warn", CFGF_NONE),
	CFG_STR("rollout", "together", CFGF_NONE),
	CFG_STR("stage_timeout", "10m", CFGF_NONE),
	CFG_STR("activate_timeout", "5m", CFGF_NONE),
	CFG_STR("proceed_after", "24h", CFGF_NONE),
	CFG_STR_LIST("canary", NULL, CFGF_NODEFAULT),
	CFG_STR("soak", "5m", CFGF_NONE),
	CFG_STR("on_failure", "stop", CFGF_NONE),
	CFG_STR_LIST("window", NULL, CFGF_NODEFAULT),
	CFG_STR("renew_before", "0s", CFGF_NONE),
	CFG_END(),
};

static cfg_opt_t agent_options[] = {
	CFG_STR_LIST("certificates", NULL, CFGF_NODEFAULT),
	CFG_BOOL("local", cfg_false, CFGF_NONE),
	CFG_STR("away_after", "24h", CFGF_NONE),
	CFG_END(),
};

static cfg_opt_t endpoint_options[] = {
	CFG_STR_LIST("ports", NULL, CFGF_NODEFAULT),
	CFG_STR_LIST("at", NULL, CFGF_NODEFAULT),
	CFG_STR("certificate", NULL, CFGF_NODEFAULT),
	CFG_STR("interval", "15m", CFGF_NONE),
	CFG_END(),
};

static cfg_opt_t alert_options[] = {
	CFG_STR_LIST("email", NULL, CFGF_NODEFAULT),
	CFG_STR("smtp", "smtp://127.0.0.1:25", CFGF_NONE),
	CFG_STR("from", NULL, CFGF_NODEFAULT),
	CFG_STR("smtp_user", NULL, CFGF_NODEFAULT),
	CFG_STR("smtp_password", NULL, CFGF_NODEFAULT),
	CFG_STR("ca_file", NULL, CFGF_NODEFAULT),
	CFG_STR_LIST("webhook", NULL, CFGF_NODEFAULT),
	CFG_STR("command", NULL, CFGF_NODEFAULT),
	CFG_STR("for", "5m", CFGF_NONE),
	CFG_STR("repeat", "24h", CFGF_NONE),
	CFG_STR("expiring", "0s", CFGF_NONE),
	CFG_END(),
};

static cfg_opt_t hub_options[] = {
	CFG_STR("ssh", NULL, CFGF_NODEFAULT),
	CFG_STR_LIST("host_keys", NULL, CFGF_NODEFAULT),
	CFG_STR("state", "/var/lib/certsync-hub", CFGF_NONE),
	CFG_STR("run", "/run/certsync-hub", CFGF_NONE),
	CFG_STR("http", "127.0.0.1:8402", CFGF_NONE),
	CFG_STR("anchors", NULL, CFGF_NODEFAULT),
	CFG_STR("user", "certsync-hub", CFGF_NONE),
	CFG_STR("keys_user", "certsync-keys", CFGF_NONE),
	CFG_STR("worker_user", "certsync-worker", CFGF_NONE),
	CFG_STR("gate_user", "certsync-gate", CFGF_NONE),
	CFG_STR("local_user", "certsync-agent", CFGF_NONE),
	CFG_STR("admin_group", "certsync-admin", CFGF_NONE),
	CFG_STR("agent_keys", "root", CFGF_NONE),
	CFG_STR("authorized_keys", "/var/lib/certsync-gate/.ssh/authorized_keys", CFGF_NONE),
	CFG_STR_LIST("resolvers", NULL, CFGF_NODEFAULT),
	CFG_STR("hooks", NULL, CFGF_NODEFAULT),
	CFG_STR("scan_interval", "10m", CFGF_NONE),
	CFG_STR("page", NULL, CFGF_NODEFAULT),
	CFG_SEC("alert", alert_options, CFGF_NONE),
	CFG_SEC("endpoint", endpoint_options, CFGF_MULTI | CFGF_TITLE),
	CFG_SEC("acme", acme_options, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
	CFG_SEC("certificate", certificate_options, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
	CFG_SEC("agent", agent_options, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
	CFG_END(),
};

bool config_is_loopback(const char *text)
{
	struct endpoint ignored;
	struct error err;
	if (strpbrk(text, "/+") || endpoint_parse(text, &ignored, &err) < 0)
		return false;
	return strncmp(text, "127.", 4) == 0 || strncmp(text, "[::1]", 5) == 0;
}

static int grant_compare(const void *left, const void *right)
{
	const struct hub_certificate *const *a = left, *const *b = right;
	return *a < *b ? -1 : *a > *b;
}

static void read_grants(struct config *c, cfg_t *section, const struct hub_config *h, struct hub_agent *ret)
{
	unsigned count = cfg_size(section, "certificates");
	size_t used = 0;
	ret->certificates = mem_array(count + 1, sizeof(*ret->certificates));
	for (unsigned i = 0; i < count; i++) {
		const char *name = cfg_getnstr(section, "certificates", i);
		ret->certificates[used] = hub_config_certificate(h, name);
		if (ret->certificates[used])
			used++;
		else
			config_fault(c, section, "certificates", "certificates: there is no section certificate \"%s\"",
				name);
	}
	qsort(ret->certificates, used, sizeof(*ret->certificates), grant_compare);
	for (size_t i = 1; i < used; i++)
		if (ret->certificates[i] == ret->certificates[i - 1])
			config_fault(c, section, "certificates", "certificates: %s is listed twice",
				ret->certificates[i]->name);
}

static void read_agent(struct config *c, cfg_t *section, const struct hub_config *h, struct hub_agent *ret)
{
	ret->name = mem_strdup(cfg_title(section));
	ret->local = cfg_getbool(section, "local");
	ret->away_after = config_duration(c, section, "away_after", 10, 366 * DAY);
	if (!name_is_agent(ret->name))
		config_fault(c, section, NULL,
			"agent \"%s\": the name may have a-z 0-9 . _ -, up to %d of them, and begins "
			"with a letter or digit",
			ret->name, NAME_AGENT_MAX - 1);
	read_grants(c, section, h, ret);
}

/* The existing public host keys of this machine's sshd. */
static char **default_host_keys(void)
{
	glob_t found;
	if (glob("/etc/ssh/ssh_host_*_key.pub", 0, NULL, &found) != 0)
		return mem_array(1, sizeof(char *));
	char **list = mem_array(found.gl_pathc + 1, sizeof(*list));
	for (size_t i = 0; i < found.gl_pathc; i++)
		list[i] = mem_strdup(found.gl_pathv[i]);
	globfree(&found);
	return list;
}

static void read_ssh(struct config *c, cfg_t *root, struct hub_config *h)
{
	h->ssh = config_string(c, root, "ssh");
	h->host_keys = config_has(root, "host_keys") ? config_list(root, "host_keys") : default_host_keys();
	if (h->ssh && *h->ssh && !config_is_ssh(h->ssh))
		config_fault(c, root, "ssh", "ssh: \"%s\" is not of the form user@host or user@host:port", h->ssh);
	for (size_t i = 0; h->host_keys[i]; i++) {
		if (h->host_keys[i][0] != '/')
			config_fault(c, root, "host_keys", "host_keys: %s is not an absolute path", h->host_keys[i]);
		else if (access(h->host_keys[i], R_OK) < 0)
			config_fault(c, root, "host_keys",
				"host_keys: %s: %s: name the public key files of the sshd that agents "
				"reach",
				h->host_keys[i], strerror(errno));
	}
}

static void read_resolvers(struct config *c, cfg_t *root, struct hub_config *h)
{
	h->resolvers = config_list(root, "resolvers");
	for (size_t i = 0; h->resolvers[i]; i++) {
		struct endpoint ignored;
		struct error err;
		auto_free char *with_port = mem_printf(strchr(h->resolvers[i], ':') ? "%s" : "%s:53", h->resolvers[i]);
		if (strspn(h->resolvers[i], "0123456789abcdefABCDEF.:[]") != strlen(h->resolvers[i]) ||
			endpoint_parse(with_port, &ignored, &err) < 0)
			config_fault(c, root, "resolvers",
				"resolvers: \"%s\" is not an address, like 192.0.2.1, 192.0.2.1:53 or [2001:db8::1]:53",
				h->resolvers[i]);
	}
}

static enum hub_keys_by read_agent_keys(struct config *c, cfg_t *root)
{
	const char *word = cfg_getstr(root, "agent_keys");
	if (strcmp(word, "group") == 0)
		return HUB_KEYS_GROUP;
	if (strcmp(word, "root") != 0)
		config_fault(c, root, "agent_keys", "agent_keys: \"%s\" is none of root, group", word);
	return HUB_KEYS_ROOT;
}

static void read_globals(struct config *c, cfg_t *root, struct hub_config *h)
{
	read_ssh(c, root, h);
	h->state = config_path(c, root, "state");
	h->run = config_path(c, root, "run");
	h->anchors = config_path(c, root, "anchors");
	h->authorized_keys = config_path(c, root, "authorized_keys");
	h->http = config_string(c, root, "http");
	h->user = config_string(c, root, "user");
	h->keys_user = config_string(c, root, "keys_user");
	h->worker_user = config_string(c, root, "worker_user");
	h->gate_user = config_string(c, root, "gate_user");
	h->local_user = config_string(c, root, "local_user");
	h->admin_group = config_string(c, root, "admin_group");
	h->agent_keys = read_agent_keys(c, root);
	read_resolvers(c, root, h);
	h->hooks = config_path(c, root, "hooks");
	if (!h->hooks)
		h->hooks = mem_printf("%s/hooks", fs_program_directory());
	h->scan_interval = config_duration(c, root, "scan_interval", 1, DAY);
	if (!config_is_loopback(h->http))
		config_fault(c, root, "http",
			"http: \"%s\" is not a loopback address with a port, like 127.0.0.1:8402 or "
			"[::1]:8402: HAProxy is the door to the world",
			h->http);
	/* sun_path has 108 bytes. */
	if (strlen(h->run) > 90)
		config_fault(c, root, "run", "run: %s is too long for the sockets in it: 90 bytes at most", h->run);
	if (h->anchors && access(h->anchors, R_OK) < 0)
		config_fault(c, root, "anchors", "anchors: %s: %s", h->anchors, strerror(errno));
}

static int certificate_compare(const void *left, const void *right)
{
	const struct hub_certificate *a = left, *b = right;
	return strcmp(a->name, b->name);
}

static int agent_compare(const void *left, const void *right)
{
	const struct hub_agent *a = left, *b = right;
	return strcmp(a->name, b->name);
}

static void read_sections(struct config *c, cfg_t *root, struct hub_config *h)
{
	unsigned acmes = cfg_size(root, "acme"), certificates = cfg_size(root, "certificate");
	unsigned agents = cfg_size(root, "agent");
	h->acmes = mem_array(acmes, sizeof(*h->acmes));
	h->certificates = mem_array(certificates, sizeof(*h->certificates));
	h->agents = mem_array(agents, sizeof(*h->agents));
	for (; h->acme_count < acmes; h->acme_count++)
		config_read_acme(c, cfg_getnsec(root, "acme", (unsigned)h->acme_count), &h->acmes[h->acme_count]);
	cfg_opt_t *opt = cfg_getopt(root, "certificate");
	for (; h->certificate_count < certificates; h->certificate_count++)
		config_read_certificate(c, cfg_opt_getnsec(opt, (unsigned)h->certificate_count), h,
			&h->certificates[h->certificate_count]);
	qsort(h->certificates, certificates, sizeof(*h->certificates), certificate_compare);
	opt = cfg_getopt(root, "agent");
	for (; h->agent_count < agents; h->agent_count++)
		read_agent(c, cfg_opt_getnsec(opt, (unsigned)h->agent_count), h, &h->agents[h->agent_count]);
}

/* A canary that gets no certificate would hold the others for proceed_after. */
static void check_canaries(struct config *c, cfg_t *root, const struct hub_config *h)
{
	for (unsigned i = 0; i < cfg_size(root, "certificate"); i++) {
		cfg_t *section = cfg_getnsec(root, "certificate", i);
		for (unsigned k = 0; k < cfg_size(section, "canary"); k++) {
			const char *name = cfg_getnstr(section, "canary", k);
			const struct hub_agent *a = NULL;
			for (size_t n = 0; n < h->agent_count; n++)
				if (strcmp(h->agents[n].name, name) == 0)
					a = &h->agents[n];
			if (!a || !hub_agent_has(a, cfg_title(section)))
				config_fault(c, section, "canary",
					"canary: no agent \"%s\" is assigned this certificate", name);
		}
	}
}

/* What only holds for all agents together. */
static void check_agents(struct config *c, cfg_t *root, const struct hub_config *h)
{
	const char *local = NULL;
	size_t remote = 0;
	for (unsigned i = 0; i < h->agent_count; i++) {
		cfg_t *section = cfg_getnsec(root, "agent", i);
		remote += !h->agents[i].local;
		if (!h->agents[i].local)
			continue;
		if (local)
			config_fault(c, section, "local",
				"agent \"%s\" is local, and so is \"%s\": only one agent can run on the "
				"hub's own node",
				h->agents[i].name, local);
		local = h->agents[i].name;
	}
	config_check_user(c, root, "user", h->user);
	config_check_user(c, root, "keys_user", h->keys_user);
	config_check_user(c, root, "worker_user", h->worker_user);
	config_check_group(c, root, "admin_group", h->admin_group);
	if (remote)
		config_check_user(c, root, "gate_user", h->gate_user);
	if (local)
		config_check_user(c, root, "local_user", h->local_user);
}

struct hub_config *hub_config_load(const char *path, struct buf *faults)
{
	struct error err;
	struct config *c = config_parse(path, NULL, hub_options, &err);
	if (!c) {
		buf_addf(faults, "%s\n", err.message);
		return NULL;
	}
	struct hub_config *h = mem_alloc(sizeof(*h));
	h->path = mem_strdup(path);
	read_globals(c, config_root(c), h);
	read_sections(c, config_root(c), h);
	check_agents(c, config_root(c), h);
	check_canaries(c, config_root(c), h);
	config_read_checks(c, config_root(c), h);
	qsort(h->agents, h->agent_count, sizeof(*h->agents), agent_compare);
	if (config_fault_count(c)) {
		config_faults(c, faults);
		hub_config_free(h);
		h = NULL;
	}
	config_free(c);
	return h;
}

static void free_sections(struct hub_config *h)
{
	for (size_t i = 0; i < h->acme_count; i++) {
		free(h->acmes[i].name);
		free(h->acmes[i].directory);
		free(h->acmes[i].ca_file);
		free(h->acmes[i].eab_kid);
		free(h->acmes[i].eab_hmac);
		config_list_free(h->acmes[i].contact);
	}
	for (size_t i = 0; i < h->certificate_count; i++)
		config_release_certificate(&h->certificates[i]);
	config_release_checks(h);
	for (size_t i = 0; i < h->agent_count; i++) {
		free(h->agents[i].name);
		free(h->agents[i].certificates);
	}
	free(h->acmes);
	free(h->certificates);
	free(h->agents);
}

void hub_config_free(struct hub_config *h)
{
	if (!h)
		return;
	free_sections(h);
	char *const texts[] = {h->path, h->ssh, h->state, h->run, h->http, h->anchors, h->user, h->keys_user,
		h->worker_user, h->gate_user, h->local_user, h->admin_group, h->authorized_keys, h->hooks};
	for (size_t i = 0; i < COUNT(texts); i++)
		free(texts[i]);
	config_list_free(h->host_keys);
	config_list_free(h->resolvers);
	free(h);
}

const struct hub_certificate *hub_config_certificate(const struct hub_config *c, const char *name)
{
	const struct hub_certificate wanted = {.name = (char *)(uintptr_t)name};
	return bsearch(&wanted, c->certificates, c->certificate_count, sizeof(wanted), certificate_compare);
}

const struct hub_agent *hub_config_agent(const struct hub_config *c, const char *name)
{
	const struct hub_agent wanted = {.name = (char *)(uintptr_t)name};
	return bsearch(&wanted, c->agents, c->agent_count, sizeof(wanted), agent_compare);
}

bool hub_agent_has(const struct hub_agent *a, const char *certificate)
{
	for (size_t i = 0; a->certificates[i]; i++)
		if (strcmp(a->certificates[i]->name, certificate) == 0)
			return true;
	return false;
}
