#include "agent/cli/services/find.h"
#include "agent/cli/services/listening.h"
#include "agent/cli/services/present.h"
#include "agent/cli/services/tokens.h"
#include "lib/core/mem.h"
#include "lib/core/name.h"
#include "lib/core/owned.h"
#include "lib/core/tool.h"

#include <arpa/inet.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static const char etc[] = "/etc/courier", program[] = "couriertcpd";

/* Each server's files are read one after the other, as its start script does. */
static const struct server {
	const char *name, *first, *second; /* second: "" none */
	const char *start, *port;          /* of the plain one: what says that it is started, its port */
	const char *offer;                 /* says whether that one offers STARTTLS; "": it does */
	const char *protocol;
} servers[] = {
	{"imapd", "imapd", "imapd-ssl", "IMAPDSTART", "PORT", "IMAPDSTARTTLS", "imap"},
	{"imapd-ssl", "imapd", "imapd-ssl", "IMAPDSSLSTART", "SSLPORT", "", "imaps"},
	{"pop3d", "pop3d", "pop3d-ssl", "POP3DSTART", "PORT", "POP3_STARTTLS", "pop3"},
	{"pop3d-ssl", "pop3d", "pop3d-ssl", "POP3DSSLSTART", "SSLPORT", "", "pop3s"},
	{"esmtpd", "esmtpd", "", "ESMTPDSTART", "PORT", "", "smtp"},
	{"esmtpd-msa", "esmtpd", "esmtpd-msa", "ESMTPDSTART", "PORT", "", "smtp"},
	{"esmtpd-ssl", "esmtpd", "esmtpd-ssl", "ESMTPDSSLSTART", "SSLPORT", "", "smtps"},
};

enum { START, PORT, OFFER, CERTIFICATE, KEY, VALUES };

/* Returns whether only root can change what is read; the directory is included, for what does not exist yet. */
static bool is_roots(const struct server *v)
{
	const char *const names[] = {"", v->first, v->second};
	struct error ignored;
	for (size_t i = 0; i < COUNT(names); i++) {
		auto_free char *path = mem_printf("%s/%s", etc, names[i]);
		if (access(path, F_OK) == 0 && owned_check(path, NULL, &ignored) < 0)
			return false;
	}
	return true;
}

/* These files are shell scripts by which the servers are started. They may belong to the servers' own user, and then
 * they are run as that user. */
static int read_server(const struct server *v, struct buf *out, struct error *err)
{
	static const char script[] = "cd \"$1\" || exit; prefix=/usr exec_prefix=/usr bindir=/usr/bin\n"
				     ". \"./$2\"; [ -z \"$3\" ] || . \"./$3\"\n"
				     "for name in \"$4\" \"$5\" ${6:+\"$6\"}; do eval \"printf '%s\\n' "
				     "\\\"\\${$name-}\\\"\"; done\n"
				     "[ -n \"$6\" ] || echo YES\n"
				     "printf '%s\\n' \"${TLS_CERTFILE-}\" \"${TLS_PRIVATE_KEYFILE-}\"";
	static const char *const as_user[] = {"setpriv", "--reuid=courier", "--regid=courier", "--clear-groups"};
	const char *argv[COUNT(as_user) + 11] = {NULL};
	const char *const words[] = {
		"sh", "-c", script, "sh", etc, v->first, v->second, v->start, v->port, v->offer, NULL};
	bool other = geteuid() == 0 && !is_roots(v);
	if (other)
		memcpy(argv, as_user, sizeof(as_user));
	memcpy(argv + (other ? COUNT(as_user) : 0), words, sizeof(words));
	return tool_run(argv, out, err);
}

static bool is_there(const char *name)
{
	auto_free char *path = mem_printf("%s/%s", etc, name);
	return !name[0] || access(path, F_OK) == 0;
}

static bool is_yes(const char *value)
{
	return strchr("yY1", value[0]) && value[0];
}

/* "0" and "" stand for every address; "ADDRESS.PORT" among the ports has an address of its own. */
static void add_ports(struct found_service *s, const char *list, const char *protocol)
{
	auto_free char *copy = mem_strdup(list);
	char *rest = copy;
	char *item;
	while ((item = strsep(&rest, ", \t"))) {
		char *dot = strrchr(item, '.');
		if (dot)
			*dot = ':';
		if (*item && !found_listen(s, item, protocol, false))
			found_note(s, "%s is no port that is known here", item);
	}
}

static bool is_address(const char *text)
{
	unsigned char bytes[16];
	return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
}

/* Returns whether `name` is below `domain`. */
static bool is_below(const char *name, const char *domain)
{
	size_t len = strlen(name), end = strlen(domain);
	return len > end && name[len - end - 1] == '.' && strcasecmp(name + len - end, domain) == 0;
}

/* Says whether a client that asks for this name, or for one below it, is given what has this suffix. Only the suffix
 * itself is asked for, since a server of Courier's takes few connections at once. */
static void ask_for(struct found_service *s, const char *name, const char *suffix, bool *asked)
{
	if (name_covers(name, suffix))
		found_name(s, suffix);
	*asked = *asked || name_covers(name, suffix) || is_below(name, suffix);
}

/* Returns whether clients are given FILE.SUFFIX before FILE: at an address of this host, or when they ask for a name of
 * either certificate or of agent.conf. What somebody has put aside as FILE.bak is none of these. */
static bool is_asked_for(struct found_service *s, const char *suffix, const char *file, const char *path)
{
	struct error ignored;
	const char *const files[] = {path, file};
	bool asked = is_address(suffix);
	for (size_t i = 0; strchr(suffix, '.') && i < COUNT(files); i++) {
		auto_present struct present p = {0};
		bool known = present_read(files[i], &p, &ignored) == 0;
		for (size_t k = 0; known && k < p.name_count; k++)
			ask_for(s, p.names[k], suffix, &asked);
	}
	for (size_t i = 0; s->config && strchr(suffix, '.') && i < s->config->certificate_count; i++)
		ask_for(s, s->config->certificates[i].name, suffix, &asked);
	return asked;
}

/* Adds a certificate and its key, which is in the same file where it has none of its own. */
static void add_pair(struct found_service *s, const char *certificate, const char *key)
{
	int group = ++s->groups;
	bool one = !key[0] || strcmp(key, certificate) == 0;
	find_copy(s, group, "TLS_CERTFILE", certificate, one ? "combined" : "fullchain");
	if (!one)
		find_copy(s, group, "TLS_PRIVATE_KEYFILE", key, "privkey");
}

/* Adds what is read before the configured file: FILE.NAME, FILE.DOMAIN and FILE.ADDRESS, and KEYFILE with the same end
 * where it is there. Only for an address the configured key stands in for a missing one. */
static void add_before(struct found_service *s, const char *certificate, const char *key)
{
	glob_t found = {0};
	bool one = !key[0] || strcmp(key, certificate) == 0;
	auto_free char *pattern = mem_printf("%s.*", certificate);
	if (glob(pattern, 0, NULL, &found) != 0)
		found.gl_pathc = 0;
	for (size_t i = 0; i < found.gl_pathc; i++) {
		const char *path = found.gl_pathv[i], *suffix = path + strlen(certificate) + 1;
		auto_free char *own = mem_printf("%s.%s", key, suffix);
		if (!is_asked_for(s, suffix, certificate, path))
			continue;
		if (one || (!is_address(suffix) && access(own, F_OK) < 0))
			add_pair(s, path, "");
		else
			add_pair(s, path, access(own, F_OK) == 0 ? own : key);
	}
	globfree(&found);
}

/* Returns whether a server listens at one of these ports: it may have been started by its unit, which asks no file. */
static bool is_listening(const struct listening *l, const char *list)
{
	auto_free char *copy = mem_strdup(list);
	char *rest = copy, address[LISTENING_ADDRESS_MAX + 2];
	const char *item;
	bool listens = false;
	while ((item = strsep(&rest, ", \t"))) {
		const char *dot = strrchr(item, '.');
		uint16_t port = found_port_number(dot ? dot + 1 : item);
		listens = listens || (port && listening_find(l, program, "", port, address));
	}
	return listens;
}

static void add_server(
	struct found_service *s, const struct listening *l, const struct server *v, char *const values[VALUES])
{
	bool listens = is_listening(l, values[PORT]), started = listens || is_yes(values[START]);
	const char *certificate = values[CERTIFICATE];
	if (!started || !is_yes(values[OFFER]) || !certificate[0])
		return;
	if (certificate[0] != '/' || access(certificate, F_OK) < 0) {
		/* Of one that does not run there is nothing to say. */
		if (listens)
			found_note(s, "%s: TLS_CERTFILE = %s is %s, so that it offers no TLS", v->name, certificate,
				certificate[0] == '/' ? "not there" : "no absolute path");
		return;
	}
	add_ports(s, values[PORT], v->protocol);
	add_pair(s, certificate, values[KEY]);
	add_before(s, certificate, values[KEY]);
}

static void read_values(char *values[VALUES], const char *text)
{
	for (size_t i = 0; i < VALUES; i++) {
		size_t len = strcspn(text, "\n");
		values[i] = mem_strndup(text, len);
		text += len + (text[len] == '\n');
	}
}

/* couriertls reads its file as user courier, so it needs copies. */
int find_courier(struct found_service *s, struct error *err)
{
	auto_listening struct listening listening;
	listening_read(&listening);
	s->program = mem_strdup(program);
	for (size_t i = 0; i < COUNT(servers); i++) {
		auto_buf struct buf out = BUF_INIT(64 * 1024);
		char *values[VALUES];
		if (!is_there(servers[i].name) || !is_there(servers[i].first) || !is_there(servers[i].second))
			continue;
		if (read_server(&servers[i], &out, err) < 0)
			return error_wrap(err, "%s/%s", etc, servers[i].name);
		read_values(values, buf_text(&out));
		add_server(s, &listening, &servers[i], values);
		for (size_t k = 0; k < VALUES; k++)
			free(values[k]);
	}
	return 0;
}
