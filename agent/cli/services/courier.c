#include "agent/cli/services/find.h"
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

static const char etc[] = "/etc/courier";

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
	static const char script[] = "set -e; cd \"$1\"; . \"./$2\"; [ -z \"$3\" ] || . \"./$3\"\n"
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

/* Returns whether clients that ask for a name of this certificate are given FILE.SUFFIX before FILE: for that name, for
 * a domain above it, or at an address of this host. What somebody has put aside as FILE.bak is none of these. */
static bool is_asked_for(const char *suffix, const char *path)
{
	auto_present struct present p = {0};
	struct error ignored;
	if (present_read(path, &p, &ignored) < 0)
		return false;
	bool asked = is_address(suffix);
	for (size_t i = 0; !asked && strchr(suffix, '.') && i < p.name_count; i++)
		asked = name_covers(p.names[i], suffix) || is_below(p.names[i], suffix);
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
		if (!is_asked_for(suffix, path))
			continue;
		if (one || (!is_address(suffix) && access(own, F_OK) < 0))
			add_pair(s, path, "");
		else
			add_pair(s, path, access(own, F_OK) == 0 ? own : key);
	}
	globfree(&found);
}

static void add_server(struct found_service *s, const struct server *v, const char *text)
{
	char *values[VALUES] = {NULL};
	for (size_t i = 0; i < VALUES; i++) {
		size_t len = strcspn(text, "\n");
		values[i] = mem_strndup(text, len);
		text += len + (text[len] == '\n');
	}
	bool tls = values[CERTIFICATE][0] && access(values[CERTIFICATE], F_OK) == 0;
	if (is_yes(values[START]) && is_yes(values[OFFER]) && tls) {
		add_ports(s, values[PORT], v->protocol);
		add_pair(s, values[CERTIFICATE], values[KEY]);
		add_before(s, values[CERTIFICATE], values[KEY]);
	}
	for (size_t i = 0; i < VALUES; i++)
		free(values[i]);
}

/* couriertls reads its file as user courier, so it needs copies. */
int find_courier(struct found_service *s, struct error *err)
{
	s->program = mem_strdup("couriertcpd");
	for (size_t i = 0; i < COUNT(servers); i++) {
		auto_buf struct buf out = BUF_INIT(64 * 1024);
		if (!is_there(servers[i].name) || !is_there(servers[i].first) || !is_there(servers[i].second))
			continue;
		if (read_server(&servers[i], &out, err) < 0)
			return error_wrap(err, "%s/%s", etc, servers[i].name);
		add_server(s, &servers[i], buf_text(&out));
	}
	return 0;
}
