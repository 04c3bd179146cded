#include "hub/common/config_sections.h"
#include "lib/probe/endpoint.h"
#include "lib/core/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DAY = 86400, CHECK_INTERVAL_MIN = 10, PORTS_MAX = 16, ADDRESSES_MAX = 64 };

/* Endpoints. */

static void read_ports(struct config *c, cfg_t *section, struct hub_endpoint *ret)
{
	ret->ports = config_list(section, "ports");
	if (!ret->ports[0])
		config_fault(
			c, section, "ports", "endpoint \"%s\": ports is missing: such as {\"25\", \"993\"}", ret->name);
	if (cfg_size(section, "ports") > PORTS_MAX || cfg_size(section, "at") > ADDRESSES_MAX)
		config_fault(c, section, NULL,
			"endpoint \"%s\": more than %d ports or %d addresses: divide it into several sections",
			ret->name, PORTS_MAX, ADDRESSES_MAX);
	for (size_t i = 0; ret->ports[i]; i++) {
		struct endpoint ignored;
		struct error err;
		auto_free char *whole = mem_printf("127.0.0.1:%s", ret->ports[i]);
		if (endpoint_parse(whole, &ignored, &err) < 0)
			config_fault(c, section, "ports", "ports: \"%s\": %s", ret->ports[i], err.message);
	}
}

static void read_addresses(struct config *c, cfg_t *section, struct hub_endpoint *ret)
{
	ret->at = config_list(section, "at");
	for (size_t i = 0; ret->at[i]; i++) {
		struct in6_addr ignored;
		if (inet_pton(AF_INET, ret->at[i], &ignored) != 1 && inet_pton(AF_INET6, ret->at[i], &ignored) != 1)
			config_fault(c, section, "at", "at: \"%s\" is not an address", ret->at[i]);
	}
}

/* The one that is named, else the one of the same name, else one that has to have the name. */
static const struct hub_certificate *expected(
	struct config *c, cfg_t *section, const struct hub_config *h, const char *name)
{
	const char *named = cfg_getstr(section, "certificate");
	const struct hub_certificate *found = hub_config_certificate(h, named ? named : name);
	if (named && !found)
		config_fault(c, section, "certificate", "certificate: there is no section certificate \"%s\"", named);
	for (size_t i = 0; !found && !named && i < h->certificate_count; i++)
		for (char **covered = h->certificates[i].names; *covered && !found; covered++)
			if (name_covers(*covered, name))
				found = &h->certificates[i];
	return found;
}

static void read_endpoint(struct config *c, cfg_t *section, const struct hub_config *h, struct hub_endpoint *ret)
{
	ret->name = mem_strdup(cfg_title(section));
	if (!name_is_dns(ret->name, false))
		config_fault(c, section, NULL, "endpoint \"%s\": it is not a DNS name", ret->name);
	read_ports(c, section, ret);
	read_addresses(c, section, ret);
	ret->certificate = expected(c, section, h, ret->name);
	ret->interval = config_duration(c, section, "interval", CHECK_INTERVAL_MIN, DAY);
}

/* Alerts. */

static bool has_scheme(const char *text, const char *one, const char *other)
{
	size_t len = strcspn(text, ":");
	bool known = (len == strlen(one) && strncmp(text, one, len) == 0) ||
		(len == strlen(other) && strncmp(text, other, len) == 0);
	return known && strncmp(text + len, "://", 3) == 0 && text[len + 3] && text[len + 3] != '/' &&
		!strpbrk(text, " \t\r\n\"<>@");
}

static void check_readable(struct config *c, cfg_t *section, const char *key, const char *path, int mode)
{
	if (path && access(path, mode) < 0)
		config_fault(c, section, key, "%s: %s: %s", key, path, strerror(errno));
}

static bool is_address(const char *text)
{
	const char *at = strchr(text, '@');
	return at && at != text && name_is_dns(at + 1, false) && !strpbrk(text, " \t\r\n\"<>,;:\\");
}

static void read_mail(struct config *c, cfg_t *section, struct hub_alert *a)
{
	a->email = config_list(section, "email");
	a->smtp = config_string(c, section, "smtp");
	a->from = config_string(c, section, "from");
	a->smtp_user = config_string(c, section, "smtp_user");
	a->smtp_password = config_path(c, section, "smtp_password");
	for (size_t i = 0; a->email[i]; i++)
		if (!is_address(a->email[i]))
			config_fault(c, section, "email", "email: \"%s\" is not of the form name@domain", a->email[i]);
	if (!has_scheme(a->smtp, "smtp", "smtps"))
		config_fault(c, section, "smtp",
			"smtp: \"%s\" is not of the form smtp://host:port or smtps://host:port; a user goes into smtp_user",
			a->smtp);
	if (a->email[0] && !a->from)
		config_fault(c, section, "email", "email: from is missing: the address that the mail comes from");
	if (a->from && !is_address(a->from))
		config_fault(c, section, "from", "from: \"%s\" is not of the form name@domain", a->from);
	if (!a->smtp_user != !a->smtp_password)
		config_fault(c, section, a->smtp_user ? "smtp_user" : "smtp_password",
			"smtp_user and smtp_password belong together: the password is the path of a file that has it");
	check_readable(c, section, "smtp_password", a->smtp_password, R_OK);
}

static void read_alert(struct config *c, cfg_t *section, struct hub_alert *a)
{
	read_mail(c, section, a);
	a->ca_file = config_path(c, section, "ca_file");
	a->webhook = config_list(section, "webhook");
	a->command = config_path(c, section, "command");
	a->hold = config_duration(c, section, "for", 0, DAY);
	a->repeat = config_duration(c, section, "repeat", 0, 30 * DAY);
	a->expiring = config_duration(c, section, "expiring", 0, 365 * DAY);
	for (size_t i = 0; a->webhook[i]; i++)
		if (!has_scheme(a->webhook[i], "https", "http"))
			config_fault(
				c, section, "webhook", "webhook: \"%s\" is not an http or https URL", a->webhook[i]);
	check_readable(c, section, "ca_file", a->ca_file, R_OK);
	check_readable(c, section, "command", a->command, X_OK);
}

void config_read_checks(struct config *c, cfg_t *root, struct hub_config *h)
{
	unsigned count = cfg_size(root, "endpoint");
	h->endpoints = mem_array(count, sizeof(*h->endpoints));
	for (; h->endpoint_count < count; h->endpoint_count++)
		read_endpoint(c, cfg_getnsec(root, "endpoint", (unsigned)h->endpoint_count), h,
			&h->endpoints[h->endpoint_count]);
	read_alert(c, cfg_getsec(root, "alert"), &h->alert);
	h->page = config_string(c, root, "page");
	if (h->page && !config_is_loopback(h->page))
		config_fault(c, root, "page",
			"page: \"%s\" is not a loopback address with a port, like 127.0.0.1:8403: HAProxy is the door to the world",
			h->page);
}

void config_release_checks(struct hub_config *h)
{
	struct hub_alert *a = &h->alert;
	char *const texts[] = {h->page, a->smtp, a->from, a->smtp_user, a->smtp_password, a->ca_file, a->command};
	for (size_t i = 0; i < COUNT(texts); i++)
		free(texts[i]);
	config_list_free(a->email);
	config_list_free(a->webhook);
	for (size_t i = 0; i < h->endpoint_count; i++) {
		free(h->endpoints[i].name);
		config_list_free(h->endpoints[i].ports);
		config_list_free(h->endpoints[i].at);
	}
	free(h->endpoints);
}
