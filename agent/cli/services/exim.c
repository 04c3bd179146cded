#include "agent/cli/services/find.h"
#include "lib/core/mem.h"
#include "lib/core/tool.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Returns what the running configuration says, before it is expanded for a connection, or NULL when the tool failed. */
static char *option(const char *exim, const char *name, struct error *err)
{
	auto_buf struct buf out = BUF_INIT(64 * 1024);
	const char *const argv[] = {exim, "-n", "-bP", name, NULL};
	if (tool_run(argv, &out, err) < 0)
		return NULL;
	return mem_strndup(buf_text(&out), strcspn(buf_text(&out), "\n"));
}

/* Returns whether `list`, with colons between, has this port. */
static bool has_port(const char *list, const char *port)
{
	auto_free char *copy = mem_strdup(list);
	char *rest = copy;
	const char *item;
	while ((item = strsep(&rest, " \t:")))
		if (strcmp(item, port) == 0)
			return true;
	return false;
}

static int add_ports(struct found_service *s, const char *exim, struct error *err)
{
	auto_free char *ports = option(exim, "daemon_smtp_ports", err);
	auto_free char *at_once = ports ? option(exim, "tls_on_connect_ports", err) : NULL;
	auto_free char *advertised = at_once ? option(exim, "tls_advertise_hosts", err) : NULL;
	if (!advertised)
		return -1;
	char *rest = ports;
	const char *port;
	while ((port = strsep(&rest, " \t:"))) {
		bool tls = has_port(at_once, port);
		if (*port && (tls || advertised[0]) && !found_listen(s, port, tls ? "smtps" : "smtp", false))
			found_note(s, "daemon_smtp_ports: %s is no port that is known here", port);
	}
	return 0;
}

static bool is_file(struct found_service *s, const char *name, const char *value)
{
	if (value[0] == '/' && !strpbrk(value, "$:"))
		return true;
	if (value[0])
		found_note(s, "%s = %s: which file that is is decided for each connection", name, value);
	return false;
}

/* Exim reads its files as its own user, so it needs copies. */
int find_exim(struct found_service *s, struct error *err)
{
	const char *exim = tool_exists("exim4") ? "exim4" : "exim";
	s->program = mem_strdup(exim);
	auto_free char *certificate = option(exim, "tls_certificate", err);
	auto_free char *key = certificate ? option(exim, "tls_privatekey", err) : NULL;
	if (!key || add_ports(s, exim, err) < 0)
		return -1;
	if (!certificate[0])
		found_note(s, "tls_certificate is not set: Exim makes a certificate of its own at each start");
	bool one = !key[0] || strcmp(key, certificate) == 0;
	if (!is_file(s, "tls_certificate", certificate) || (!one && !is_file(s, "tls_privatekey", key)))
		return 0;
	int group = ++s->groups;
	find_copy(s, group, "tls_certificate", certificate, one ? "combined" : "fullchain");
	if (!one)
		find_copy(s, group, "tls_privatekey", key, "privkey");
	return 0;
}
