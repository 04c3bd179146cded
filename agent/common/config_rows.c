#include "agent/common/config_rows.h"
#include "agent/common/config.h"
#include "agent/common/root_request.h"
#include "lib/config/put.h"
#include "lib/config/types.h"
#include "lib/config/value.h"
#include "lib/core/mem.h"
#include "lib/probe/endpoint.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MINUTE = 60, HOUR = 60 * MINUTE, DAY = 24 * HOUR, SSH_PORT = 22 };

static const char *const contents[] = {
	"privkey", "cert", "chain", "fullchain", "combined", "pkcs12", "cert-der", "privkey-der", NULL};

_Static_assert(offsetof(struct agent_certificate, name) == 0 && offsetof(struct agent_service, name) == 0 &&
		offsetof(struct agent_file, path) == 0,
	"a struct begins with its title");

/* `hub` says where hubs are. */

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

static void hubs_read(struct config *c, const struct config_section *s, const struct config_row *row,
	char *const *values, void *object)
{
	static const char ssh[] = "ssh://", local[] = "unix://";
	struct agent_config *a = object;
	size_t count = 0;
	while (values[count])
		count++;
	a->hubs = mem_array(count, sizeof(*a->hubs));
	for (; a->hub_count < count; a->hub_count++) {
		const char *text = values[a->hub_count];
		struct agent_hub *ret = &a->hubs[a->hub_count];
		ret->text = mem_strdup(text);
		if (strncmp(text, ssh, strlen(ssh)) == 0 && config_is_ssh(text + strlen(ssh)))
			split_ssh(text + strlen(ssh), ret);
		else if (strncmp(text, local, strlen(local)) == 0 && text[strlen(local)] == '/' && strlen(text) < 108)
			ret->path = mem_strdup(text + strlen(local));
		else
			config_fault(c, s, row->name,
				"hub: \"%s\" is neither ssh://user@host[:port] nor unix:///path/of/local.sock", text);
	}
}

static void hubs_print(const struct config_row *row, const void *object, int tabs, struct buf *out)
{
	const struct agent_config *a = object;
	auto_free char **texts = mem_array(a->hub_count + 1, sizeof(*texts));
	for (size_t i = 0; i < a->hub_count; i++)
		texts[i] = a->hubs[i].text;
	config_put_list(out, tabs, row->name, texts);
}

static void hubs_release(const struct config_row *row, void *object)
{
	struct agent_config *a = object;
	(void)row;
	for (size_t i = 0; i < a->hub_count; i++) {
		free(a->hubs[i].text);
		free(a->hubs[i].path);
		free(a->hubs[i].user);
		free(a->hubs[i].host);
	}
	free(a->hubs);
}

static const struct config_type hubs = {"list", true, hubs_read, hubs_print, hubs_release};

/* `mode` is in octal. */

static void mode_read(struct config *c, const struct config_section *s, const struct config_row *row,
	char *const *values, void *object)
{
	const char *text = values[0];
	size_t len = strlen(text);
	if (len < 3 || len > 4 || strspn(text, "01234567") != len || (len == 4 && text[0] != '0'))
		config_fault(c, s, row->name, "mode: \"%s\" is not an octal mode like \"0640\"", text);
	else
		((struct agent_file *)object)->mode = (mode_t)strtoul(text, NULL, 8);
}

static void mode_print(const struct config_row *row, const void *object, int tabs, struct buf *out)
{
	auto_free char *text = mem_printf("%04o", (unsigned)((const struct agent_file *)object)->mode);
	config_put(out, tabs, row->name, text);
}

static const struct config_type mode = {"mode", false, mode_read, mode_print, NULL};

/* `probe` has endpoints, or the one word none, which is an empty list. */

static void check_probe(struct config *c, const struct config_section *s, const char *key, const char *value)
{
	struct endpoint ignored;
	struct error err;
	if (endpoint_parse(value, &ignored, &err) < 0)
		config_fault(c, s, key, "%s: %s", key, err.message);
}

static void probe_read(struct config *c, const struct config_section *s, const struct config_row *row,
	char *const *values, void *object)
{
	static char *const nowhere[] = {NULL};
	bool none = values[0] && strcmp(values[0], "none") == 0 && !values[1];
	config_list_read(c, s, row, none ? nowhere : values, object);
}

static void probe_print(const struct config_row *row, const void *object, int tabs, struct buf *out)
{
	const struct agent_service *service = object;
	if (service->probe[0])
		config_put_list(out, tabs, row->name, service->probe);
	else
		config_put_word(out, tabs, row->name, "none");
}

static const struct config_type probe = {"list", true, probe_read, probe_print, config_list_release};

/* Single values. */

static void check_run(struct config *c, const struct config_section *s, const char *key, const char *path)
{
	/* sun_path has 108 bytes. */
	if (strlen(path) > 90)
		config_fault(c, s, key, "%s: %s is too long for the socket in it: 90 bytes at most", key, path);
}

static void check_allow(struct config *c, const struct config_section *s, const char *key, const char *value)
{
	unsigned char address[sizeof(struct in6_addr)];
	bool is_address = inet_pton(AF_INET, value, address) == 1 || inet_pton(AF_INET6, value, address) == 1;
	if (!is_address && (!name_is_dns(value, true) || name_is_address(value)))
		config_fault(c, s, key, "%s: \"%s\" is neither a DNS name, nor *. in front of one, nor an address", key,
			value);
}

static void check_sni(struct config *c, const struct config_section *s, const char *key, const char *value)
{
	if (!name_is_dns(value, false) || name_is_address(value))
		config_fault(c, s, key, "%s: \"%s\" is not a host name", key, value);
}

/* They reach the hook in one variable, a line each; no text of a configuration has a line's end in it. */
static void check_instance(struct config *c, const struct config_section *s, const char *key, const char *value)
{
	if (!value[0])
		config_fault(c, s, key,
			"%s: a word is empty: list those that the service is started with, like {\"-f\", "
			"\"/etc/haproxy/haproxy.cfg\"}",
			key);
}

static void check_certificate(struct config *c, const struct config_section *s, const char *key, const char *title)
{
	if (!name_is_certificate(title))
		config_fault(c, s, key,
			"certificate \"%s\": the name is a host name in lower case: a-z 0-9 - _, with dots between",
			title);
}

static void check_service(struct config *c, const struct config_section *s, const char *key, const char *title)
{
	if (!name_is_service(title))
		config_fault(c, s, key,
			"service \"%s\": the name is its hook's file name: a-z 0-9 . _ -, up to %d, beginning with a letter "
			"or digit",
			title, NAME_SERVICE_MAX - 1);
}

static void check_file(struct config *c, const struct config_section *s, const char *key, const char *title)
{
	if (!config_is_path(title) || title[strlen(title) - 1] == '/')
		config_fault(c, s, key,
			"file \"%s\": not the absolute path of a file, without \"//\", \".\" and \"..\"", title);
}

/* The rows. */

#define RANGE(from, to) .low = (from), .high = (to)

#define ROW(key, kind, member, ...) CONFIG_ROW(struct agent_file, key, kind, member, __VA_ARGS__)
static const struct config_row file_rows[] = {
	ROW("content", config_text, content, .words = contents,
		.missing = "one of privkey, cert, chain, fullchain, combined, pkcs12, cert-der, privkey-der"),
	ROW("owner", config_text, owner, .check = config_check_user),
	ROW("group", config_text, group, .check = config_check_group),
	ROW("mode", mode, mode, .value = "0600"),
	ROW("password_file", config_path, password_file),
	{0},
};
#undef ROW

#define ROW(key, kind, member, ...) CONFIG_ROW(struct agent_service, key, kind, member, __VA_ARGS__)
static const struct config_row service_rows[] = {
	ROW("probe", probe, probe, .check = check_probe,
		.missing =
			"list the ports where it serves the certificate, like {\"127.0.0.1:993\"}, or write probe = none"),
	ROW("hook", config_path, hook),
	ROW("user", config_text, user, .check = config_check_user),
	ROW("instance", config_list, instance, .check = check_instance),
	ROW("sni", config_text, sni, .check = check_sni),
	ROW("timeout", config_duration, timeout, .value = "2m", RANGE(1, HOUR)),
	{0},
};
static const struct config_table file_table = {.name = "file",
	.kind = CONFIG_TITLED,
	.rows = file_rows,
	.check = check_file,
	CONFIG_ARRAY(struct agent_service, files, file_count)};
static const struct config_table *const service_tables[] = {&file_table, NULL};
#undef ROW

#define ROW(key, kind, member, ...) CONFIG_ROW(struct agent_certificate, key, kind, member, __VA_ARGS__)
static const struct config_row certificate_rows[] = {
	ROW("allow", config_list, allow, .check = check_allow,
		.missing = "list the names that the hub may put into it, like {\"*.domain.pl\"}; * is one label"),
	{0},
};
static const struct config_table service_table = {.name = "service",
	.kind = CONFIG_TITLED,
	.rows = service_rows,
	.sections = service_tables,
	.check = check_service,
	CONFIG_ARRAY(struct agent_certificate, services, service_count)};
static const struct config_table *const certificate_tables[] = {&service_table, NULL};
#undef ROW

#define ROW(key, kind, member, ...) CONFIG_ROW(struct agent_alert, key, kind, member, __VA_ARGS__)
static const struct config_row alert_rows[] = {
	ROW("command", config_path, command, .check = config_check_executable),
	ROW("hub_away", config_duration, hub_away, .value = "24h", RANGE(10, 366 * DAY)),
	ROW("expiring", config_duration, expiring, .value = "0s", RANGE(0, 365 * DAY)),
	ROW("repeat", config_duration, repeat, .value = "24h", RANGE(0, 30 * DAY)),
	{0},
};
#undef ROW

#define ROW(key, kind, member, ...) CONFIG_ROW(struct agent_config, key, kind, member, __VA_ARGS__)
static const struct config_row agent_rows[] = {
	ROW("hub", hubs, hubs,
		.missing = "say where the hub is, as `certsync agent add` prints it: "
			   "hub = {\"ssh://certsync-gate@haproxy.domain.pl:22\"}"),
	ROW("directory", config_path, directory, .value = "/etc/certsync"),
	ROW("state", config_path, state, .value = "/var/lib/certsync-agent"),
	ROW("root_state", config_path, root_state, .value = "/var/lib/certsync-agent-root"),
	ROW("run", config_path, run, .value = AGENT_RUN_DEFAULT, .check = check_run),
	ROW("hooks", config_path, hooks),
	ROW("user", config_text, user, .value = "certsync-agent", .check = config_check_user),
	ROW("admin_group", config_text, admin_group, .value = "certsync-admin", .check = config_check_group),
	ROW("anchors", config_path, anchors, .check = config_check_readable),
	ROW("helo", config_text, helo, .check = config_check_helo),
	ROW("probe_timeout", config_duration, probe_timeout, .value = "10s", RANGE(1, 2 * MINUTE)),
	ROW("probe_interval", config_duration, probe_interval, .value = "15m", RANGE(1, DAY)),
	{0},
};
static const struct config_table alert_table = {.name = "alert",
	.kind = CONFIG_ONE,
	.size = sizeof(struct agent_alert),
	.field = offsetof(struct agent_config, alert),
	.rows = alert_rows};
static const struct config_table certificate_table = {.name = "certificate",
	.kind = CONFIG_TITLED,
	.rows = certificate_rows,
	.sections = certificate_tables,
	.check = check_certificate,
	CONFIG_ARRAY(struct agent_config, certificates, certificate_count)};
static const struct config_table *const agent_tables[] = {&alert_table, &certificate_table, NULL};
#undef ROW

const struct config_table agent_config_table = {
	.size = sizeof(struct agent_config), .rows = agent_rows, .sections = agent_tables};
