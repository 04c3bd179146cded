#include "agent/cli/services/stunnel.h"
#include "agent/cli/services/find.h"
#include "agent/cli/services/listening.h"
#include "agent/cli/services/tokens.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"
#include "lib/core/tool.h"
#include "lib/probe/endpoint.h"

#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* A configuration of one process, and what the process has at a reload: it reads its files inside of its chroot, as
 * the user that it has become, though at its start it read them as root outside. */
struct tunnel {
	struct found_service *service;
	const struct stunnel_config *config;
	const char *path;
	char *root;        /* where the chroot is; "": it has none */
	bool user, copies; /* it gives up root; it reads copies of its own */
	char *kept;        /* why nothing of it is changed; NULL: it is */
};

/* What is spoken before TLS, by server sections. The others begin with TLS. */
static const struct {
	const char *name, *protocol;
} protocols[] = {{"smtp", "smtp"}, {"imap", "imap"}, {"pop3", "pop3"}, {"pgsql", "postgres"}, {"cifs", NULL},
	{"connect", NULL}, {"capwin", NULL}};

/* Of several reasons the first is told. */
static void keep(struct tunnel *t, char *why)
{
	if (t->kept)
		free(why);
	else
		t->kept = why;
}

/* ---- ports and names ---- */

/* Without a protocol a port that is known for STARTTLS has TLS at once, too. */
static const char *plain_protocol(uint16_t port)
{
	struct endpoint e;
	struct error ignored;
	auto_free char *text = mem_printf("127.0.0.1:%u", port);
	return endpoint_parse(text, &e, &ignored) == 0 && e.protocol != PROBE_TLS ? "tls" : NULL;
}

static uint16_t port_of(const char *accept)
{
	const char *colon = strrchr(accept, ':');
	return found_port_number(colon ? colon + 1 : accept);
}

static void add_ports(const struct tunnel *t, const struct stunnel_section *s)
{
	const char *wanted = s->protocol.text ? s->protocol.text : "";
	for (size_t i = 0; i < s->accept_count; i++) {
		const char *accept = s->accepts[i];
		const char *protocol = plain_protocol(port_of(accept));
		size_t known = 0;
		while (known < COUNT(protocols) && strcasecmp(protocols[known].name, wanted) != 0)
			known++;
		if (known < COUNT(protocols))
			protocol = protocols[known].protocol;
		if (accept[0] == '/')
			continue;
		if (known < COUNT(protocols) && !protocol)
			found_note(t->service,
				"%s: [%s]: what it serves at %s is not looked at, since protocol = %s "
				"comes before TLS there",
				s->file, s->name, accept, wanted);
		else if (!found_listen(t->service, accept, protocol, false))
			found_note(t->service, "%s: [%s]: accept = %s is no port that is known here", s->file, s->name,
				accept);
	}
}

/* sni = SERVICE:PATTERN has the section serve clients of the port of one before it. */
static void add_name(struct tunnel *t, const struct stunnel_section *s)
{
	const char *colon = s->sni.text ? strchr(s->sni.text, ':') : NULL;
	size_t len = colon ? (size_t)(colon - s->sni.text) : 0;
	if (!s->sni.text)
		return;
	for (const struct stunnel_section *at = &t->config->sections[1]; colon && at <= s; at++)
		if (strncmp(at->name, s->sni.text, len) == 0 && at->name[len] == '\0' && !at->client) {
			found_name(t->service, colon + 1);
			return;
		}
	keep(t,
		mem_printf("%s:%d: sni = %s names no server section before it: stunnel refuses that", s->sni.file,
			s->sni.line, s->sni.text));
}

/* ---- what a reload can do ---- */

static char *without_slash(const char *path)
{
	size_t len = strlen(path);
	while (len && path[len - 1] == '/')
		len--;
	return mem_strndup(path, len);
}

/* Returns the user of setuid = USER, by name or number. */
static uid_t user_id(const char *user)
{
	const struct passwd *entry = user ? getpwnam(user) : NULL;
	return entry ? entry->pw_uid : user ? (uid_t)strtoul(user, NULL, 10) : 0;
}

/* From this port on anybody can bind one. */
static unsigned first_free_port(void)
{
	struct error ignored;
	auto_buf struct buf text = BUF_INIT(64);
	if (fs_read(AT_FDCWD, "/proc/sys/net/ipv4/ip_unprivileged_port_start", false, &text, &ignored) < 0)
		return 1024;
	return (unsigned)strtoul(buf_text(&text), NULL, 10);
}

/* A reload closes all ports and opens them again. */
static void check_ports(struct tunnel *t)
{
	unsigned first = first_free_port();
	for (size_t i = 1; i < t->config->count; i++) {
		const struct stunnel_section *s = &t->config->sections[i];
		for (size_t k = 0; k < s->accept_count; k++)
			if (s->accepts[k][0] != '/' && port_of(s->accepts[k]) < first)
				keep(t,
					mem_printf("%s has setuid = %s, and a reload opens its ports again, which only "
						   "root can do for accept = %s: take setuid out, or let HAProxy or "
						   "the firewall lead that port to one from %u on",
						t->path, t->config->setuid, s->accepts[k], first));
	}
}

/* Returns whether two files are one (1) or have the same bytes (0), or -1. */
static int compare_files(const char *a, const char *b)
{
	struct stat x, y;
	struct error ignored;
	auto_buf struct buf one = BUF_INIT(FIND_FILE_MAX), two = BUF_INIT(FIND_FILE_MAX);
	if (stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino)
		return 1;
	if (fs_read(AT_FDCWD, a, true, &one, &ignored) < 0 || fs_read(AT_FDCWD, b, true, &two, &ignored) < 0)
		return -1;
	return one.len == two.len && (one.len == 0 || memcmp(one.data, two.data, one.len) == 0) ? 0 : -1;
}

static bool is_number(const char *text)
{
	return text[strspn(text, "0123456789")] == '\0';
}

/* Returns whether the user that it has become can read a file. Only root can tell, so for anybody else it is yes. */
static bool may_read(const struct tunnel *t, const char *path)
{
	struct error ignored;
	auto_buf struct buf out = BUF_INIT(64 * 1024);
	const struct stunnel_config *c = t->config;
	if (!t->user || geteuid() != 0)
		return true;
	/* Without setgid it keeps root's groups. */
	auto_free char *user = mem_printf("--reuid=%s", c->setuid);
	auto_free char *group = mem_printf("--regid=%s", c->setgid ? c->setgid : "0");
	const char *const argv[] = {"setpriv", user, group, "--clear-groups", "test", "-r", path, NULL};
	return tool_run(argv, &out, &ignored) == 0;
}

static char *differing(const struct tunnel *t, const char *inside, const char *outside)
{
	return mem_printf(
		"%s has chroot = %s, so that a start reads %s and a reload %s, and these differ or one is not "
		"there",
		t->path, t->config->chroot, outside, inside);
}

static char *unreadable(const struct tunnel *t, const char *path)
{
	return mem_printf("%s has setuid = %s, and a reload reads %s as that user, who may not", t->path,
		t->config->setuid, path);
}

/* A reload reads the configuration, too. */
static void check_files(struct tunnel *t)
{
	char resolved[PATH_MAX];
	const struct stunnel_config *c = t->config;
	for (size_t i = 0; i < c->file_count; i++) {
		/* The main file is named as it was found at the start, without links. */
		bool real = i == 0 && realpath(c->files[i], resolved);
		auto_free char *inside = mem_printf("%s%s", t->root, real ? resolved : c->files[i]);
		if (compare_files(c->files[i], inside) < 0)
			keep(t, differing(t, inside, c->files[i]));
		else if (!may_read(t, inside))
			keep(t, unreadable(t, inside));
	}
}

static void check_names(struct tunnel *t)
{
	const struct stunnel_config *c = t->config;
	auto_free char *users = mem_printf("%s/etc/passwd", t->root), *groups = mem_printf("%s/etc/group", t->root);
	if ((c->setuid && !is_number(c->setuid) && access(users, F_OK) < 0) ||
		(c->setgid && !is_number(c->setgid) && access(groups, F_OK) < 0))
		keep(t,
			mem_printf("%s has chroot = %s, and a reload looks up its user and group there: copy their "
				   "lines to %s and %s, or set them as numbers",
				t->path, c->chroot, users, groups));
}

static void look_at_process(struct tunnel *t)
{
	const struct stunnel_config *c = t->config;
	t->root = without_slash(c->chroot ? c->chroot : "");
	t->user = user_id(c->setuid) != 0;
	if (t->user)
		t->service->user = user_id(c->setuid);
	t->copies = t->user || t->root[0];
	if (c->count == 1)
		keep(t,
			mem_printf(
				"%s has no [section], so that another program starts it for each connection", t->path));
	else if (!c->pid || c->pid[0] != '/')
		keep(t,
			mem_printf("%s has no line pid = /run/…, so that nobody can tell it to read its files again",
				t->path));
	if (c->chroot && c->chroot[0] != '/')
		keep(t,
			mem_printf("%s has chroot = %s: where that is depends on where stunnel was started", t->path,
				c->chroot));
	else if (t->copies)
		check_files(t);
	if (t->root[0] == '/')
		check_names(t);
	if (t->user)
		check_ports(t);
}

/* ---- certificates ---- */

/* Returns why no other file can take the place of this one, which the caller frees, or NULL. */
static char *strange(const struct stunnel_section *s, const struct stunnel_value *v)
{
	const char *end = strrchr(v->text, '.');
	if (v->text[0] != '/' || s->engine)
		return mem_printf("%s:%d: which file %s is only stunnel knows", v->file, v->line, v->text);
	if (end && (strcasecmp(end, ".p12") == 0 || strcasecmp(end, ".pfx") == 0))
		return mem_printf("%s:%d: %s is PKCS#12: make it PEM", v->file, v->line, v->text);
	return NULL;
}

static void add_line(
	const struct tunnel *t, const struct stunnel_value *v, const char *setting, enum found_role role, int group)
{
	const struct found_use use = {.role = role,
		.file = (char *)(uintptr_t)v->file,
		.start = v->start,
		.end = v->end,
		.line = v->line,
		.setting = (char *)(uintptr_t)setting,
		.path = v->text,
		.instead = (char *)(uintptr_t) "@",
		.content = "combined",
		.group = group};
	found_use(t->service, &use, false);
}

/* Where a chroot has a copy of what is read at the start, both are written. */
static void add_copy(
	const struct tunnel *t, const struct stunnel_value *v, const char *setting, const char *content, int group)
{
	auto_free char *inside = mem_printf("%s%s", t->root, v->text), *why = NULL;
	int same = compare_files(v->text, inside);
	if (same >= 0)
		find_copy(t->service, group, setting, inside, content);
	if (same <= 0)
		find_copy(t->service, group, setting, v->text, content);
	if (same < 0 && t->root[0])
		why = differing(t, inside, v->text);
	else if (!may_read(t, inside))
		why = unreadable(t, inside);
	if (why)
		found_keep(t->service, group, "%s", why);
}

/* Adds what a server section presents, as a group of its own. Returns the group. */
static int add_pair(const struct tunnel *t, const struct stunnel_section *s)
{
	int group = ++t->service->groups;
	const struct stunnel_value *cert = &s->cert, *key = s->key.text ? &s->key : NULL;
	auto_free char *strange_cert = strange(s, cert), *strange_key = key ? strange(s, key) : NULL;
	const char *why = strange_cert ? strange_cert : strange_key ? strange_key : t->kept;
	bool apart = key && strcmp(key->text, cert->text) != 0;
	bool copied = t->copies && !strange_cert && !strange_key;
	if (why)
		found_keep(t->service, group, "%s", why);
	if (strange_cert)
		found_note(t->service, "%s", strange_cert);
	if (copied)
		add_copy(t, cert, "cert", apart ? "fullchain" : "combined", group);
	else
		add_line(t, cert, "cert", cert->text[0] == '/' ? FOUND_CERTIFICATE : FOUND_KEY, group);
	if (key && !copied)
		add_line(t, key, "key", FOUND_KEY, group);
	else if (apart)
		add_copy(t, key, "key", "privkey", group);
	return group;
}

/* ---- clients ---- */

/* Returns whether a client section has this setting from where a server section has it. */
static bool is_shared(const struct tunnel *t, const struct stunnel_value *client, const struct stunnel_value *server)
{
	if (!client->text || !server->text)
		return false;
	if (t->copies)
		return strcmp(client->text, server->text) == 0;
	return client->start == server->start && strcmp(client->file, server->file) == 0;
}

/* What a client section shows its server stays as it is, though it may be what server sections present. */
static void keep_client(const struct tunnel *t, const struct stunnel_section *c, const int *groups)
{
	int own = ++t->service->groups;
	bool cert = c->cert.inherited, key = c->key.text && c->key.inherited;
	auto_free char *text = mem_printf("%s%s%s%s", cert ? "\ncert = " : "", cert ? c->cert.text : "",
		key ? "\nkey = " : "", key ? c->key.text : "");
	for (size_t i = 1; c->cert.text && i < t->config->count; i++) {
		const struct stunnel_section *s = &t->config->sections[i];
		if (!groups[i] || (!is_shared(t, &c->cert, &s->cert) && !is_shared(t, &c->key, &s->key)))
			continue;
		if (t->copies)
			found_keep(
				t->service, groups[i], "[%s] of %s shows it to a server as a client", c->name, t->path);
		else
			found_pin(t->service,
				&(struct found_pin){.group = own,
					.on = groups[i],
					.file = (char *)(uintptr_t)c->file,
					.at = c->end,
					.text = text});
	}
}

/* ---- all of it ---- */

static void add_all(struct tunnel *t)
{
	const struct stunnel_section *all = t->config->sections;
	auto_free int *groups = mem_array(t->config->count, sizeof(*groups));
	look_at_process(t);
	for (size_t i = 1; i < t->config->count; i++)
		if (!all[i].client && all[i].cert.text) {
			add_ports(t, &all[i]);
			add_name(t, &all[i]);
		}
	if (t->config->count == 1 && !all->client && all->cert.text)
		found_note(t->service, "%s", t->kept);
	for (size_t i = 1; i < t->config->count; i++)
		if (!all[i].client && all[i].cert.text)
			groups[i] = add_pair(t, &all[i]);
	for (size_t i = 1; i < t->config->count; i++)
		if (all[i].client)
			keep_client(t, &all[i], groups);
}

int stunnel_scan(struct found_service *service, const char *path, struct error *err)
{
	auto_stunnel struct stunnel_config config = {0};
	struct tunnel t = {.service = service, .config = &config, .path = path};
	if (stunnel_read(path, &config, err) < 0)
		return -1;
	for (size_t i = 0; i < config.directory_count; i++)
		found_whole(service, config.directories[i]);
	add_all(&t);
	free(t.root);
	free(t.kept);
	return 0;
}

/* Each of these files is one process, started by the name that it has here. */
int find_stunnel(struct found_service *s, struct error *err)
{
	auto_listening struct listening listening;
	glob_t found = {0};
	(void)err;
	listening_read(&listening);
	bool other = listening_runs(&listening, "stunnel") && !listening_runs(&listening, "stunnel4");
	s->program = mem_strdup(other || !tool_exists("stunnel4") ? "stunnel" : "stunnel4");
	if (glob("/etc/stunnel/*.conf", 0, NULL, &found) != 0)
		found.gl_pathc = 0;
	for (size_t i = 0; i < found.gl_pathc; i++) {
		struct error why;
		if (stunnel_scan(s, found.gl_pathv[i], &why) < 0)
			found_note(s, "%s: nothing of %s is changed", why.message, found.gl_pathv[i]);
	}
	globfree(&found);
	return 0;
}
