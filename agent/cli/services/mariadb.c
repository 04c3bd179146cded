#include "agent/cli/services/mariadb.h"
#include "agent/cli/services/find.h"
#include "lib/core/mem.h"
#include "lib/core/owned.h"
#include "lib/core/tool.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { INCLUDES_MAX = 10 };

static const char service_user[] = "mysql", etc[] = "/etc/mysql", data[] = "/var/lib/mysql", usual_port[] = "3306";

void mariadb_release(struct mariadb *m)
{
	char *const texts[] = {
		m->certificate, m->key, m->datadir, m->addresses, m->port, m->extra_port, m->user, m->unknown};
	for (size_t i = 0; i < COUNT(texts); i++)
		free(texts[i]);
	*m = (struct mariadb){0};
}

/* ---- what the server is told ---- */

static void set(char **text, const char *value)
{
	free(*text);
	*text = value ? mem_strdup(value) : NULL;
}

/* The server takes a word that it does not know for "off". */
static bool is_on(const char *value)
{
	return !value || strcasecmp(value, "1") == 0 || strcasecmp(value, "on") == 0 || strcasecmp(value, "true") == 0;
}

static bool take_prefix(char **name, const char *prefix)
{
	size_t len = strlen(prefix);
	if (strncmp(*name, prefix, len) != 0 || (*name)[len] != '-')
		return false;
	*name += len + 1;
	return true;
}

/* Any option about a file of TLS turns TLS on, though an earlier one has turned it off. */
static void take_tls(struct mariadb *m, const char *name, const char *value)
{
	static const char *const others[] = {"ca", "capath", "cipher", "crl", "crlpath"};
	bool known = false;
	m->tls = true;
	if (strcmp(name, "cert") == 0) {
		set(&m->certificate, value);
		return;
	}
	if (strcmp(name, "key") == 0) {
		set(&m->key, value);
		return;
	}
	for (size_t i = 0; i < COUNT(others); i++)
		known = known || strcmp(name, others[i]) == 0;
	if (!known)
		m->unknown = m->unknown ? m->unknown : mem_printf("ssl-%s", name);
}

/* Takes one option, whose name has no dashes before it and no underscores. */
static void take(struct mariadb *m, char *name, const char *value)
{
	(void)take_prefix(&name, "loose");
	bool off = take_prefix(&name, "skip") || take_prefix(&name, "disable");
	if (!off)
		(void)take_prefix(&name, "enable");
	const struct {
		const char *name;
		char **text;
	} texts[] = {{"datadir", &m->datadir}, {"bind-address", &m->addresses}, {"port", &m->port},
		{"extra-port", &m->extra_port}};
	for (size_t i = 0; i < COUNT(texts); i++)
		if (!off && strcmp(name, texts[i].name) == 0)
			set(texts[i].text, value);
	if (strcmp(name, "ssl") == 0)
		m->tls = is_on(value) != off;
	else if (strcmp(name, "networking") == 0)
		m->no_network = is_on(value) == off;
	else if (strcmp(name, "user") == 0 && !m->user)
		set(&m->user, value);
	else if (!off && strncmp(name, "ssl-", 4) == 0)
		take_tls(m, name + 4, value);
}

void mariadb_scan(const char *lines, bool tls, struct mariadb *ret)
{
	auto_free char *copy = mem_strdup(lines);
	char *rest = copy, *line;
	*ret = (struct mariadb){.tls = tls};
	while ((line = strsep(&rest, "\n"))) {
		if (strncmp(line, "--", 2) != 0)
			continue;
		char *value = line + 2, *name = strsep(&value, "=");
		for (char *c = name; *c; c++)
			*c = *c == '_' ? '-' : *c;
		take(ret, name, value);
	}
}

bool mariadb_has_tls(const char *version)
{
	unsigned major, minor;
	const char *at = strstr(version, "Ver ");
	/* NOLINTNEXTLINE(cert-err34-c): what is no number here does not match */
	return at && sscanf(at, "Ver %3u.%3u.", &major, &minor) == 2 && (major > 11 || (major == 11 && minor >= 4));
}

/* ---- whose word it is ---- */

static int check_file(const char *path, const struct proc_user *also, int depth, struct error *err);

static int check_directory(const char *path, const struct proc_user *also, int depth, struct error *err)
{
	glob_t found = {0};
	auto_free char *pattern = mem_printf("%s/*.cnf", path);
	int result = owned_check(path, also, err);
	if (result == 0 && glob(pattern, 0, NULL, &found) != 0)
		found.gl_pathc = 0;
	for (size_t i = 0; result == 0 && i < found.gl_pathc; i++)
		result = check_file(found.gl_pathv[i], also, depth, err);
	globfree(&found);
	return result;
}

/* Looks whether nobody but root, or `also`, can change this option file and what it includes. */
static int check_file(const char *path, const struct proc_user *also, int depth, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(FIND_FILE_MAX);
	if (access(path, F_OK) < 0)
		return 0;
	if (owned_check(path, also, err) < 0 || find_read(path, &text, err) < 0)
		return -1;
	if (depth == INCLUDES_MAX)
		return error_set(err, ERROR_PERMANENT, "%s: more than %d files include each other", path, INCLUDES_MAX);
	char *rest = (char *)(uintptr_t)buf_text(&text), *line;
	int result = 0;
	while (result == 0 && (line = strsep(&rest, "\n"))) {
		line += strspn(line, " \t\r");
		for (size_t len = strlen(line); len && strchr(" \t\r", line[len - 1]); len--)
			line[len - 1] = '\0';
		if (strncmp(line, "!includedir", 11) == 0)
			result = check_directory(line + 11 + strspn(line + 11, " \t"), also, depth + 1, err);
		else if (strncmp(line, "!include", 8) == 0)
			result = check_file(line + 8 + strspn(line + 8, " \t"), also, depth + 1, err);
	}
	return result;
}

static int check_all(const struct proc_user *also, struct error *err)
{
	static const char *const files[] = {"/etc/my.cnf", "/etc/mysql/my.cnf"};
	for (size_t i = 0; i < COUNT(files); i++)
		if (check_file(files[i], also, 0, err) < 0)
			return -1;
	return 0;
}

/* ---- what was found ---- */

static void add_ports(struct found_service *s, const struct mariadb *m)
{
	const char *const ports[] = {m->port, m->extra_port};
	for (size_t i = 0; !m->no_network && i < COUNT(ports); i++) {
		uint16_t port = found_port_number(ports[i] ? ports[i] : "");
		if (port == 0 && i == 0)
			port = found_port_number(usual_port);
		if (port)
			find_addresses(s, m->addresses ? m->addresses : "*", port, "mysql");
	}
}

static bool has_file(const struct mariadb *m)
{
	return (m->certificate && m->certificate[0]) || (m->key && m->key[0]);
}

/* A path that is not absolute begins at the data's directory. One of the two stands for both. */
static void add_files(struct found_service *s, const struct mariadb *m, const struct proc_user *his)
{
	const char *base = m->datadir ? m->datadir : data;
	const char *certificate = m->certificate && m->certificate[0] ? m->certificate : m->key;
	const char *key = m->key && m->key[0] ? m->key : m->certificate;
	if (m->unknown)
		found_note(s,
			"%s is not known here: write it out, and what ssl-cert and ssl-key name is left till then",
			m->unknown);
	else
		find_pair(s, &(struct find_pair){"ssl-cert", certificate, "ssl-key", key, base, his, etc});
}

static int read_options(const struct proc_user *as, struct mariadb *ret, struct error *err)
{
	/* Without a home it would read "~/.my.cnf" in whatever directory this was started in. */
	static const char *const argv[] = {
		"env", "HOME=/nonexistent", "my_print_defaults", "--mysqld", "mariadb", "mariadbd", NULL};
	static const char *const about[] = {"mariadbd", "--no-defaults", "--version", NULL};
	auto_buf struct buf out = BUF_INIT(FIND_FILE_MAX), version = BUF_INIT(4096);
	if (find_run_as(as, argv, &out, err) < 0 || find_run_as(as, about, &version, err) < 0)
		return -1;
	mariadb_scan(buf_text(&out), mariadb_has_tls(buf_text(&version)), ret);
	return 0;
}

/* MariaDB reads its files as its own user, so it needs copies. What option files say that could be that user's own is
 * read as him, and is his word. */
int find_mariadb(struct found_service *s, struct error *err)
{
	auto_mariadb struct mariadb m = {0};
	struct proc_user user;
	struct error ignored;
	s->program = mem_strdup("mariadbd");
	bool roots = check_all(NULL, &ignored) == 0;
	if (!roots && (proc_user_find(service_user, &user, err) < 0 || check_all(&user, err) < 0))
		return -1;
	if (read_options(roots ? NULL : &user, &m, err) < 0)
		return -1;
	const char *name = roots && m.user ? m.user : service_user;
	if (proc_user_find(name, &user, err) < 0)
		return error_wrap(err, "user = %s", name);
	s->user = user.uid;
	if (m.tls && !m.unknown && !has_file(&m)) {
		/* From 11.4 on it makes a certificate of its own then. Nobody else's can be seen at its ports. */
		found_note(s,
			"ssl-cert is not set, so that clients get a certificate of MariaDB's own, if any: point it and "
			"ssl-key at files (certsync-agent.conf(5), HOOKS)");
	} else if (m.tls) {
		add_ports(s, &m);
		add_files(s, &m, roots ? NULL : &user);
	} else if (m.certificate) {
		found_note(s, "ssl-cert is set, and a later line turns TLS off: it is left");
	}
	return 0;
}
