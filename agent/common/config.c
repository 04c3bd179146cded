#include "agent/common/config.h"
#include "agent/common/root_request.h"
#include "lib/config/config.h"
#include "lib/probe/endpoint.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"
#include "lib/wire/message.h"
#include "lib/core/owned.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HOUR = 3600, DAY = 86400, SSH_PORT = 22 };

static const char *const contents[] = {"privkey", "cert", "chain", "fullchain", "combined"};

static cfg_opt_t file_options[] = {
	CFG_STR("content", NULL, CFGF_NODEFAULT),
	CFG_STR("owner", NULL, CFGF_NODEFAULT),
	CFG_STR("group", NULL, CFGF_NODEFAULT),
	CFG_STR("mode", "0600", CFGF_NONE),
	CFG_END(),
};

static cfg_opt_t service_options[] = {
	CFG_STR_LIST("probe", NULL, CFGF_NODEFAULT),
	CFG_STR("hook", NULL, CFGF_NODEFAULT),
	CFG_STR("user", NULL, CFGF_NODEFAULT),
	CFG_STR_LIST("instance", NULL, CFGF_NODEFAULT),
	CFG_STR("sni", NULL, CFGF_NODEFAULT),
	CFG_STR("timeout", "30s", CFGF_NONE),
	CFG_SEC("file", file_options, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
	CFG_END(),
};

static cfg_opt_t certificate_options[] = {
	CFG_STR_LIST("allow", NULL, CFGF_NODEFAULT),
	CFG_SEC("service", service_options, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
	CFG_END(),
};

static cfg_opt_t alert_options[] = {
	CFG_STR("command", NULL, CFGF_NODEFAULT),
	CFG_STR("hub_away", "24h", CFGF_NONE),
	CFG_STR("expiring", "0s", CFGF_NONE),
	CFG_STR("repeat", "24h", CFGF_NONE),
	CFG_END(),
};

static cfg_opt_t agent_options[] = {
	CFG_STR_LIST("hub", NULL, CFGF_NODEFAULT),
	CFG_STR("directory", "/etc/certsync", CFGF_NONE),
	CFG_STR("state", "/var/lib/certsync-agent", CFGF_NONE),
	CFG_STR("root_state", "/var/lib/certsync-agent-root", CFGF_NONE),
	CFG_STR("run", "/run/certsync-agent", CFGF_NONE),
	CFG_STR("hooks", NULL, CFGF_NODEFAULT),
	CFG_STR("user", "certsync-agent", CFGF_NONE),
	CFG_STR("admin_group", "certsync-admin", CFGF_NONE),
	CFG_STR("anchors", NULL, CFGF_NODEFAULT),
	CFG_STR("probe_timeout", "10s", CFGF_NONE),
	CFG_STR("probe_interval", "15m", CFGF_NONE),
	CFG_SEC("alert", alert_options, CFGF_NONE),
	CFG_SEC("certificate", certificate_options, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
	CFG_END(),
};

/* `text` has the shape that config_is_ssh accepted. */
static void split_ssh(const char *text, struct agent_hub *ret)
{
	size_t user_len = strcspn(text, "@");
	const char *host = text + user_len + 1;
	const char *bracket = host[0] == '[' ? strchr(host, ']') : NULL;
	const char *colon = strchr(bracket ? bracket : host, ':');
	ret->user = mem_strndup(text, user_len);
	if (bracket)
		ret->host = mem_strndup(host + 1, (size_t)(bracket - host - 1));
	else
		ret->host = mem_strndup(host, colon ? (size_t)(colon - host) : strlen(host));
	ret->port = colon ? (uint16_t)strtoul(colon + 1, NULL, 10) : SSH_PORT;
}

static void read_hub(struct config *c, cfg_t *root, const char *text, struct agent_hub *ret)
{
	static const char ssh[] = "ssh://", local[] = "unix://";
	ret->text = mem_strdup(text);
	if (strncmp(text, ssh, strlen(ssh)) == 0 && config_is_ssh(text + strlen(ssh)))
		split_ssh(text + strlen(ssh), ret);
	else if (strncmp(text, local, strlen(local)) == 0 && text[strlen(local)] == '/' && strlen(text) < 108)
		ret->path = mem_strdup(text + strlen(local));
	else
		config_fault(c, root, "hub",
			"hub: \"%s\" is neither ssh://user@host[:port] nor unix:///path/of/local.sock", text);
}

static void read_hubs(struct config *c, cfg_t *root, struct agent_config *a)
{
	size_t count = cfg_size(root, "hub");
	if (count == 0)
		config_fault(c, root, "hub",
			"hub is missing: say where the hub is, as `certsync agent add` prints it: "
			"hub = {\"ssh://certsync-gate@haproxy.domain.pl:22\"}");
	a->hubs = mem_array(count, sizeof(*a->hubs));
	for (; a->hub_count < count; a->hub_count++)
		read_hub(c, root, cfg_getnstr(root, "hub", (unsigned)a->hub_count), &a->hubs[a->hub_count]);
}

static bool read_mode(const char *text, mode_t *ret)
{
	size_t len = strlen(text);
	if (len < 3 || len > 4 || strspn(text, "01234567") != len || (len == 4 && text[0] != '0'))
		return false;
	*ret = (mode_t)strtoul(text, NULL, 8);
	return true;
}

static bool is_content(const char *word)
{
	for (size_t i = 0; i < COUNT(contents); i++)
		if (strcmp(word, contents[i]) == 0)
			return true;
	return false;
}

static bool holds_key(const char *content)
{
	return strcmp(content, "privkey") == 0 || strcmp(content, "combined") == 0;
}

static void read_file(struct config *c, cfg_t *section, struct agent_file *ret)
{
	const char *mode = cfg_getstr(section, "mode");
	ret->path = mem_strdup(cfg_title(section));
	ret->content = config_string(c, section, "content");
	ret->owner = config_string(c, section, "owner");
	ret->group = config_string(c, section, "group");
	if (!config_is_path(ret->path) || ret->path[strlen(ret->path) - 1] == '/')
		config_fault(c, section, NULL,
			"file \"%s\": not the absolute path of a file, without \"//\", \".\" and \"..\"", ret->path);
	if (!ret->content)
		config_fault(c, section, NULL,
			"file \"%s\": content is missing: one of privkey, cert, chain, fullchain, "
			"combined",
			ret->path);
	else if (!is_content(ret->content))
		config_fault(c, section, "content",
			"content: \"%s\" is not one of privkey, cert, chain, fullchain, combined", ret->content);
	if (!read_mode(mode, &ret->mode))
		config_fault(c, section, "mode", "mode: \"%s\" is not an octal mode like \"0640\"", mode);
	else if (ret->content && holds_key(ret->content) && (ret->mode & 0007))
		config_fault(c, section, "mode",
			"mode: \"%s\" would give the private key in %s to every user: take \"0640\" "
			"and a group",
			mode, ret->path);
	config_check_user(c, section, "owner", ret->owner);
	config_check_group(c, section, "group", ret->group);
}

static void read_probe(struct config *c, cfg_t *section, struct agent_service *ret)
{
	ret->probe = config_list(section, "probe");
	if (!ret->probe[0]) {
		config_fault(c, section, "probe",
			"service \"%s\": probe is missing: list the ports where it serves the "
			"certificate, like {\"127.0.0.1:993\"}, or write probe = none",
			ret->name);
		return;
	}
	if (strcmp(ret->probe[0], "none") == 0 && !ret->probe[1]) {
		free(steal(ret->probe[0]));
		return;
	}
	for (size_t i = 0; ret->probe[i]; i++) {
		struct endpoint ignored;
		struct error err;
		if (endpoint_parse(ret->probe[i], &ignored, &err) < 0)
			config_fault(c, section, "probe", "probe: %s", err.message);
	}
}

/* They reach the hook in one variable, a line each; no text of a configuration has a line's end in it. */
static void read_instance(struct config *c, cfg_t *section, struct agent_service *ret)
{
	ret->instance = config_list(section, "instance");
	for (size_t i = 0; ret->instance[i]; i++)
		if (ret->instance[i][0] == '\0')
			config_fault(c, section, "instance",
				"instance: a word is empty: list those that the service is started with, like {\"-f\", "
				"\"/etc/haproxy/haproxy.cfg\"}");
}

static void read_service(struct config *c, cfg_t *section, const struct agent_config *a, const char *certificate,
	struct agent_service *ret)
{
	ret->name = mem_strdup(cfg_title(section));
	ret->hook = config_path(c, section, "hook");
	ret->user = config_string(c, section, "user");
	ret->sni = config_string(c, section, "sni");
	ret->timeout = config_duration(c, section, "timeout", 1, HOUR);
	if (!name_is_service(ret->name))
		config_fault(c, section, NULL,
			"service \"%s\": the name is its hook's file name: a-z 0-9 . _ -, up to %d, "
			"beginning with a letter or digit",
			ret->name, NAME_SERVICE_MAX - 1);
	if (!ret->hook)
		ret->hook = mem_printf("%s/%s", a->hooks, ret->name);
	if (!ret->sni)
		ret->sni = mem_strdup(certificate);
	else if (!name_is_dns(ret->sni, false))
		config_fault(c, section, "sni", "sni: \"%s\" is not a host name", ret->sni);
	config_check_user(c, section, "user", ret->user);
	read_instance(c, section, ret);
	read_probe(c, section, ret);
	size_t count = cfg_size(section, "file");
	ret->files = mem_array(count, sizeof(*ret->files));
	for (; ret->file_count < count; ret->file_count++)
		read_file(c, cfg_getnsec(section, "file", (unsigned)ret->file_count), &ret->files[ret->file_count]);
}

/* What one message or reply has room for: more would be left out in silence. */
static void check_counts(struct config *c, cfg_t *section, const struct agent_certificate *certificate)
{
	size_t probes = 0;
	if (certificate->service_count > REQUEST_SERVICES_MAX)
		config_fault(c, section, NULL, "certificate \"%s\": %zu services: %d at most", certificate->name,
			certificate->service_count, REQUEST_SERVICES_MAX);
	for (size_t i = 0; i < certificate->service_count; i++)
		for (size_t k = 0; certificate->services[i].probe[k]; k++)
			probes++;
	if (probes > MESSAGE_PROBES_MAX)
		config_fault(c, section, NULL, "certificate \"%s\": %zu endpoints to probe: %d at most",
			certificate->name, probes, MESSAGE_PROBES_MAX);
}

static void read_certificate(
	struct config *c, cfg_t *section, const struct agent_config *a, struct agent_certificate *ret)
{
	ret->name = mem_strdup(cfg_title(section));
	ret->allow = config_list(section, "allow");
	if (!name_is_certificate(ret->name))
		config_fault(c, section, NULL,
			"certificate \"%s\": the name is a host name in lower case: a-z 0-9 - _, with "
			"dots between",
			ret->name);
	if (!ret->allow[0])
		config_fault(c, section, "allow",
			"certificate \"%s\": allow is missing: list the names that the hub may put "
			"into it, like {\"*.domain.pl\"}; * is one label",
			ret->name);
	for (size_t i = 0; ret->allow[i]; i++)
		if (!name_is_dns(ret->allow[i], true))
			config_fault(c, section, "allow", "allow: \"%s\" is neither a DNS name nor *. in front of one",
				ret->allow[i]);
	size_t count = cfg_size(section, "service");
	ret->services = mem_array(count, sizeof(*ret->services));
	for (; ret->service_count < count; ret->service_count++)
		read_service(c, cfg_getnsec(section, "service", (unsigned)ret->service_count), a, ret->name,
			&ret->services[ret->service_count]);
	check_counts(c, section, ret);
}

static void read_alert(struct config *c, cfg_t *section, struct agent_alert *a)
{
	a->command = config_path(c, section, "command");
	a->hub_away = config_duration(c, section, "hub_away", 10, 366 * DAY);
	a->expiring = config_duration(c, section, "expiring", 0, 365 * DAY);
	a->repeat = config_duration(c, section, "repeat", 0, 30 * DAY);
	if (a->command && access(a->command, X_OK) < 0)
		config_fault(c, section, "command", "command: %s: %s", a->command, strerror(errno));
}

static void read_globals(struct config *c, cfg_t *root, struct agent_config *a)
{
	read_hubs(c, root, a);
	a->directory = config_path(c, root, "directory");
	a->state = config_path(c, root, "state");
	a->root_state = config_path(c, root, "root_state");
	a->run = config_path(c, root, "run");
	a->hooks = config_path(c, root, "hooks");
	a->user = config_string(c, root, "user");
	a->admin_group = config_string(c, root, "admin_group");
	a->anchors = config_path(c, root, "anchors");
	a->probe_timeout = config_duration(c, root, "probe_timeout", 1, 120);
	a->probe_interval = config_duration(c, root, "probe_interval", 1, DAY);
	read_alert(c, cfg_getsec(root, "alert"), &a->alert);
	if (!a->hooks)
		a->hooks = mem_printf("%s/hooks", fs_program_directory());
	/* sun_path has 108 bytes. */
	if (strlen(a->run) > 90)
		config_fault(c, root, "run", "run: %s is too long for the socket in it: 90 bytes at most", a->run);
	if (a->anchors && access(a->anchors, R_OK) < 0)
		config_fault(c, root, "anchors", "anchors: %s: %s", a->anchors, strerror(errno));
	config_check_user(c, root, "user", a->user);
	config_check_group(c, root, "admin_group", a->admin_group);
}

struct owned_file {
	const char *path;
	cfg_t *section;
};

static int owned_compare(const void *left, const void *right)
{
	const struct owned_file *a = left, *b = right;
	int order = strcmp(a->path, b->path);
	return order ? order : a->section->line - b->section->line;
}

static size_t collect_files(cfg_t *root, struct owned_file *ret)
{
	size_t count = 0;
	for (unsigned i = 0; i < cfg_size(root, "certificate"); i++) {
		cfg_t *certificate = cfg_getnsec(root, "certificate", i);
		for (unsigned k = 0; k < cfg_size(certificate, "service"); k++) {
			cfg_t *service = cfg_getnsec(certificate, "service", k);
			for (unsigned n = 0; n < cfg_size(service, "file"); n++, count++) {
				cfg_t *file = cfg_getnsec(service, "file", n);
				if (ret)
					ret[count] = (struct owned_file){cfg_title(file), file};
			}
		}
	}
	return count;
}

/* Two that write one path would undo each other for ever. (Twice in one service is config_parse's fault.) */
static void check_files(struct config *c, cfg_t *root)
{
	size_t count = collect_files(root, NULL);
	auto_free struct owned_file *files = mem_array(count, sizeof(*files));
	collect_files(root, files);
	qsort(files, count, sizeof(*files), owned_compare);
	for (size_t i = 1; i < count; i++)
		if (strcmp(files[i].path, files[i - 1].path) == 0)
			config_fault(c, files[i].section, NULL,
				"file \"%s\" is written by another section too, in line %d", files[i].path,
				files[i - 1].section->line);
}

static void read_certificates(struct config *c, cfg_t *root, struct agent_config *a)
{
	size_t count = cfg_size(root, "certificate");
	if (count > REQUEST_CERTIFICATES_MAX)
		config_fault(c, cfg_getnsec(root, "certificate", REQUEST_CERTIFICATES_MAX), NULL,
			"%zu certificates: %d at most on one node", count, REQUEST_CERTIFICATES_MAX);
	a->certificates = mem_array(count, sizeof(*a->certificates));
	for (; a->certificate_count < count; a->certificate_count++)
		read_certificate(c, cfg_getnsec(root, "certificate", (unsigned)a->certificate_count), a,
			&a->certificates[a->certificate_count]);
	check_files(c, root);
}

struct agent_config *agent_config_load(const char *path, struct buf *faults)
{
	struct error err;
	/* What it names is read, written and run by root. One that is missing is told of by who reads it. */
	bool owned = access(path, F_OK) < 0 || owned_check(path, NULL, &err) == 0;
	struct config *c = owned ? config_parse(path, NULL, agent_options, &err) : NULL;
	if (!c) {
		buf_addf(faults, "%s\n", err.message);
		return NULL;
	}
	struct agent_config *a = mem_alloc(sizeof(*a));
	a->path = mem_strdup(path);
	read_globals(c, config_root(c), a);
	read_certificates(c, config_root(c), a);
	if (config_fault_count(c)) {
		config_faults(c, faults);
		agent_config_free(a);
		a = NULL;
	}
	config_free(c);
	return a;
}

static void service_release(struct agent_service *s)
{
	for (size_t i = 0; i < s->file_count; i++) {
		free(s->files[i].path);
		free(s->files[i].content);
		free(s->files[i].owner);
		free(s->files[i].group);
	}
	free(s->files);
	free(s->name);
	free(s->hook);
	free(s->user);
	free(s->sni);
	config_list_free(s->instance);
	config_list_free(s->probe);
}

static void certificate_release(struct agent_certificate *certificate)
{
	for (size_t i = 0; i < certificate->service_count; i++)
		service_release(&certificate->services[i]);
	free(certificate->services);
	free(certificate->name);
	config_list_free(certificate->allow);
}

void agent_config_free(struct agent_config *a)
{
	if (!a)
		return;
	for (size_t i = 0; i < a->certificate_count; i++)
		certificate_release(&a->certificates[i]);
	free(a->certificates);
	for (size_t i = 0; i < a->hub_count; i++) {
		free(a->hubs[i].text);
		free(a->hubs[i].path);
		free(a->hubs[i].user);
		free(a->hubs[i].host);
	}
	free(a->hubs);
	char *const texts[] = {a->path, a->directory, a->state, a->root_state, a->run, a->hooks, a->user,
		a->admin_group, a->anchors, a->alert.command};
	for (size_t i = 0; i < COUNT(texts); i++)
		free(texts[i]);
	free(a);
}

const struct agent_certificate *agent_config_certificate(const struct agent_config *c, const char *name)
{
	for (size_t i = 0; i < c->certificate_count; i++)
		if (strcmp(c->certificates[i].name, name) == 0)
			return &c->certificates[i];
	return NULL;
}
