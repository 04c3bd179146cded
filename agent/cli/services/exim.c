#include "agent/cli/services/exim.h"
#include "agent/cli/services/find.h"
#include "agent/cli/services/present.h"
#include "agent/cli/services/tokens.h"
#include "lib/core/mem.h"
#include "lib/core/tool.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAMES_MAX = 300 };

struct exim {
	struct found_service *s;
	const char *program;
	char *certificate, *key; /* as they are configured: lists, expanded for each connection */
	char *user, *group;      /* its own */
};

/* Returns what the running configuration says, before it is expanded for a connection, or NULL when the tool failed. */
static char *option(const struct exim *e, const char *name, struct error *err)
{
	auto_buf struct buf out = BUF_INIT(64 * 1024);
	const char *const argv[] = {e->program, "-n", "-bP", name, NULL};
	if (tool_run(argv, &out, err) < 0)
		return NULL;
	return mem_strndup(buf_text(&out), strcspn(buf_text(&out), "\n"));
}

/* ---- ports ---- */

static bool has_port(const struct words *list, uint16_t port)
{
	for (size_t i = 0; i < list->count; i++)
		if (found_port_number(list->list[i].text) == port)
			return true;
	return false;
}

struct port_lists {
	struct words ports, at_once;
	bool advertised;
};

/* Adds a port at an address, which is "" for all of them. */
static void add_port(struct found_service *s, const struct port_lists *l, const char *address, const char *port)
{
	bool tls = has_port(&l->at_once, found_port_number(port));
	auto_free char *text = mem_printf(strchr(address, ':') ? "[%s]:%s" : "%s:%s", address, port);
	if ((tls || l->advertised) && !found_listen(s, text, tls ? "smtps" : "smtp", false))
		found_note(s, "%s is no port that is known here", port);
}

/* An address of local_interfaces may have a port, as "127.0.0.1.25" or "[::1]:25"; else it has those of
 * daemon_smtp_ports. */
static void add_interface(struct found_service *s, const struct port_lists *l, char *item)
{
	char *port = NULL, *end = strchr(item, ']');
	if (item[0] == '[' && end) {
		port = end[1] == ':' ? end + 2 : NULL;
		*end = '\0';
		item++;
	} else {
		int dots = 0;
		char *last = strrchr(item, '.');
		for (const char *c = item; *c; c++)
			dots += *c == '.';
		if (last && (dots == 4 || (dots == 1 && strchr(item, ':')))) {
			*last = '\0';
			port = last + 1;
		}
	}
	if (port)
		add_port(s, l, item, port);
	for (size_t i = 0; !port && i < l->ports.count; i++)
		add_port(s, l, item, l->ports.list[i].text);
}

static int add_ports(const struct exim *e, struct error *err)
{
	struct port_lists l = {0};
	auto_words struct words interfaces = {0};
	auto_free char *ports = option(e, "daemon_smtp_ports", err);
	auto_free char *at_once = ports ? option(e, "tls_on_connect_ports", err) : NULL;
	auto_free char *local = at_once ? option(e, "local_interfaces", err) : NULL;
	auto_free char *advertised = local ? option(e, "tls_advertise_hosts", err) : NULL;
	if (!advertised)
		return -1;
	l.advertised = advertised[0];
	exim_list(ports, &l.ports);
	exim_list(at_once, &l.at_once);
	exim_list(local, &interfaces);
	for (size_t i = 0; i < interfaces.count; i++)
		add_interface(e->s, &l, interfaces.list[i].text);
	words_release(&l.ports);
	words_release(&l.at_once);
	return 0;
}

/* ---- files ---- */

/* Adds the files of two lists, whose items belong together in their order; without a second one the keys are in the
 * files of the first. All of a list are presented side by side, one for each kind of key. */
static void add_files(const struct exim *e, const char *certificates, const char *keys)
{
	auto_words struct words files = {0}, own = {0};
	exim_list(certificates, &files);
	exim_list(keys, &own);
	int group = ++e->s->groups;
	for (size_t i = 0; i < files.count; i++) {
		const char *file = words_at(&files, i);
		const char *key = own.count == 0 ? file : words_at(&own, i);
		bool one = strcmp(file, key) == 0;
		find_copy(e->s, group, "tls_certificate", file, one ? "combined" : "fullchain");
		if (!one)
			find_copy(e->s, group, "tls_privatekey", key, "privkey");
	}
}

/* Has Exim expand both for a client that asks for this name, as its own user and with no privilege: what is expanded may
 * look into files of that user's. Returns false when that cannot be told. */
static bool expand(const struct exim *e, const char *name, char **ret_certificate, char **ret_key)
{
	struct error ignored;
	auto_buf struct buf out = BUF_INIT(64 * 1024);
	auto_free char *certificate = exim_with_name(e->certificate, name);
	auto_free char *key = exim_with_name(e->key, name);
	auto_free char *uid = mem_printf("--reuid=%s", e->user);
	auto_free char *gid = mem_printf("--regid=%s", e->group);
	const char *const argv[] = {
		"setpriv", uid, gid, "--clear-groups", "--no-new-privs", e->program, "-be", certificate, key, NULL};
	if (tool_run(geteuid() == 0 ? argv : argv + 5, &out, &ignored) < 0)
		return false;
	const char *text = buf_text(&out);
	size_t len = strcspn(text, "\n");
	const char *second = text + len + (text[len] == '\n');
	*ret_certificate = mem_strndup(text, len);
	*ret_key = mem_strndup(second, strcspn(second, "\n"));
	return (*ret_certificate)[0] == '/' && ((*ret_key)[0] == '/' || !(*ret_key)[0]);
}

/* Adds what a client that asks for this name is given. The names of that certificate are asked for, too. */
static bool add_name(const struct exim *e, const char *name)
{
	auto_free char *certificate = NULL, *key = NULL;
	auto_present struct present p = {0};
	struct error ignored;
	if (!expand(e, name, &certificate, &key))
		return false;
	add_files(e, certificate, key);
	if (present_read(certificate, &p, &ignored) == 0)
		for (size_t i = 0; i < p.name_count; i++)
			found_name(e->s, p.names[i]);
	return true;
}

/* Adds what each name is given that Exim could be known by: those in its configuration, those of the certificates that
 * are found so, and those of agent.conf. */
static bool add_names(const struct exim *e)
{
	exim_names(e->s, e->certificate);
	exim_names(e->s, e->key);
	for (size_t i = 0; e->s->config && i < e->s->config->certificate_count; i++)
		found_name(e->s, e->s->config->certificates[i].name);
	bool known = add_name(e, "");
	for (size_t i = 0; known && i < e->s->name_count && i < NAMES_MAX; i++)
		known = add_name(e, e->s->names[i]);
	if (known && e->s->name_count > NAMES_MAX)
		found_note(e->s, "tls_certificate: what is given for more than %d names was not looked at", NAMES_MAX);
	return known;
}

static void add_certificates(const struct exim *e)
{
	bool fixed = !strchr(e->certificate, '$') && !strchr(e->key, '$');
	if (!e->certificate[0])
		found_note(e->s, "tls_certificate is not set: Exim makes a certificate of its own at each start");
	else if (fixed)
		add_files(e, e->certificate, e->key);
	else if (!exim_is_by_name(e->certificate) || !exim_is_by_name(e->key) || !add_names(e))
		found_note(e->s,
			"tls_certificate = %s: which file that is is decided for each connection: it is left, and what "
			"service \"exim4\" in agent.conf has as `file` is written",
			e->certificate);
}

/* Exim reads its files as its own user, so it needs copies. */
int find_exim(struct found_service *s, struct error *err)
{
	struct exim e = {.s = s, .program = tool_exists("exim4") ? "exim4" : "exim"};
	s->program = mem_strdup(e.program);
	auto_free char *certificate = e.certificate = option(&e, "tls_certificate", err);
	auto_free char *key = e.key = certificate ? option(&e, "tls_privatekey", err) : NULL;
	auto_free char *user = e.user = key ? option(&e, "exim_user", err) : NULL;
	auto_free char *group = e.group = user ? option(&e, "exim_group", err) : NULL;
	if (!group || add_ports(&e, err) < 0)
		return -1;
	add_certificates(&e);
	return 0;
}
