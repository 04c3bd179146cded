#include "agent/cli/discover/discover.h"
#include "agent/cli/discover/endpoints.h"
#include "agent/cli/services/find.h"
#include "agent/cli/services/listening.h"
#include "agent/cli/discover/others.h"
#include "agent/cli/services/present.h"
#include "agent/cli/discover/served.h"
#include "lib/config/put.h"
#include "lib/probe/endpoint.h"
#include "lib/core/mem.h"
#include "lib/wire/message.h"
#include "lib/core/name.h"
#include "lib/core/tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A service is recognized by a program, or by a directory of its configuration. The order is the one in which an agent
 * should test and reload them. */
static const struct kind {
	const char *name, *program, *tool, *other, *directory; /* program: of its listening process */
	int (*find)(struct found_service *s, struct error *err);
	bool own_user; /* opens its ports: that it runs is known only when it has been looked at */
} kinds[] = {
	{"haproxy", "haproxy", "haproxy", NULL, NULL, find_haproxy, false},
	{"nginx", "nginx", "nginx", NULL, NULL, find_nginx, false},
	{"apache2", "apache2", "apache2ctl", NULL, NULL, find_apache, false},
	{"dovecot", "dovecot", "doveconf", NULL, NULL, find_dovecot, false},
	{"postfix", "master", "postconf", NULL, NULL, find_postfix, false},
	{"exim4", "exim4", "exim4", "exim", NULL, find_exim, false},
	{"courier", "couriertcpd", NULL, NULL, "/etc/courier", find_courier, false},
	{"mariadb", "mariadbd", "mariadbd", NULL, NULL, find_mariadb, true},
	{"postgresql", "postgres", NULL, NULL, "/etc/postgresql", find_postgresql, true},
	{"stunnel", "stunnel4", "stunnel4", "stunnel", NULL, find_stunnel, true},
};

static bool is_installed(const struct kind *k)
{
	if (k->directory)
		return access(k->directory, F_OK) == 0;
	return tool_exists(k->tool) || (k->other && tool_exists(k->other));
}

static void look(
	const struct kind *k, struct listening *listening, const struct agent_config *config, struct found_service *s)
{
	struct error err;
	s->name = k->name;
	s->config = config;
	if (k->find(s, &err) < 0) {
		found_note(s, "%s", err.message);
		s->failed = true;
	}
	found_settle(s);
	bool told = !s->user || listening_believe(listening, s->program, s->user);
	if (!told)
		found_note(s, "it runs as user %u, which may be a person's, so nobody is asked what it serves",
			(unsigned)s->user);
	s->running = listening_runs(listening, s->program) ? 1 : told ? 0 : -1;
}

static bool is_wanted(const struct kind *k, const struct listening *listening, const char *only)
{
	return !only || strcmp(k->name, only) == 0 || k->own_user || listening_runs(listening, k->program) ||
		(k->other && listening_runs(listening, k->other));
}

/* Looks at the service `only`, and at each other one that runs or could; with NULL at all. */
static void look_at_all(
	struct listening *listening, const struct agent_config *config, const char *only, struct found *ret)
{
	*ret = (struct found){.services = mem_array(COUNT(kinds), sizeof(*ret->services))};
	for (size_t i = 0; i < COUNT(kinds); i++)
		if (is_installed(&kinds[i]) && is_wanted(&kinds[i], listening, only))
			look(&kinds[i], listening, config, &ret->services[ret->count++]);
}

void discover_services(const struct agent_config *config, const char *only, struct found *ret)
{
	auto_listening struct listening listening;
	listening_read(&listening);
	look_at_all(&listening, config, only, ret);
}

/* ---- endpoints ---- */

/* Returns where the port is reached from here, or NULL when the service runs and does not listen there. */
static char *endpoint_of(const struct listening *l, const struct found_service *s, const struct found_port *p)
{
	char address[LISTENING_ADDRESS_MAX + 2];
	struct endpoint ignored;
	struct error err;
	if (s->running > 0) {
		if (!listening_find(l, s->program, p->address, p->port, address))
			return NULL;
		return found_endpoint(address, p);
	}
	auto_free char *configured = strchr(p->address, ':') ? mem_printf("[%s]", p->address) : mem_strdup(p->address);
	char *text = found_endpoint(p->address[0] ? configured : "127.0.0.1", p);
	if (endpoint_parse(text, &ignored, &err) == 0)
		return text;
	free(text);
	return found_endpoint("127.0.0.1", p);
}

struct endpoints {
	char *list[MESSAGE_PROBES_MAX + 1]; /* ended by NULL */
	size_t count;
};

static void add_endpoint(struct endpoints *e, char *text)
{
	for (size_t i = 0; i < e->count; i++)
		if (strcmp(e->list[i], text) == 0) {
			free(text);
			return;
		}
	if (e->count < MESSAGE_PROBES_MAX)
		e->list[e->count++] = text;
	else
		free(text);
}

/* ---- agent.conf ---- */

enum { TEXT_MAX = 4 * 1024 * 1024, TOLD_MAX = 8, SEEN_SECONDS = 3 };
enum belongs { BELONGS_HERE, BELONGS_NOWHERE, BELONGS_ELSEWHERE };

static void comment(struct buf *out, const char *text)
{
	buf_addf(out, "\t# %s\n", text);
}

/* Returns whether the use names a certificate that no use before it names. */
static bool is_new(const struct found_service *s, size_t at)
{
	const struct found_use *u = &s->uses[at];
	if (!found_presents(u))
		return false;
	for (size_t i = 0; i < at; i++)
		if (found_presents(&s->uses[i]) && strcmp(s->uses[i].path, u->path) == 0)
			return false;
	return true;
}

/* Tells in comments which certificates' files `s` presents, and says whether this name is among theirs. */
static enum belongs compare(const struct found_service *s, const char *name, struct buf *told)
{
	bool here = false, trusted = false;
	int count = 0;
	for (size_t i = 0; i < s->use_count; i++) {
		const struct found_use *u = &s->uses[i];
		auto_present struct present p = {0};
		struct error err;
		if (!is_new(s, i))
			continue;
		if (present_read(u->path, &p, &err) < 0) {
			auto_free char *line = mem_printf("it is to present %s: %s", u->path, err.message);
			text_clean(line, 0);
			comment(told, line);
			continue;
		}
		here = here || present_covers(&p, name);
		trusted = trusted || !p.self_signed;
		if (++count > TOLD_MAX)
			continue;
		auto_free char *names = present_names(&p);
		auto_free char *line =
			mem_printf("it presents %s, for %s%s", u->path, names, p.self_signed ? ", self-signed" : "");
		text_clean(line, 0);
		comment(told, line);
	}
	if (count > TOLD_MAX)
		buf_addf(told, "\t# and %d more\n", count - TOLD_MAX);
	return here ? BELONGS_HERE : trusted ? BELONGS_ELSEWHERE : BELONGS_NOWHERE;
}

/* What listens here, and what was seen there. */
struct here {
	const struct listening *listening;
	struct served seen;
};

static bool has_port(const struct endpoints *e, const char *endpoint)
{
	const char *colon = strrchr(endpoint, ':');
	size_t len = strspn(colon + 1, "0123456789") + 1;
	for (size_t i = 0; i < e->count; i++) {
		const char *other = strrchr(e->list[i], ':');
		if (strncmp(other, colon, len) == 0 && !(other[len] >= '0' && other[len] <= '9'))
			return true;
	}
	return false;
}

/* A port that serves TLS, though its configuration was not understood to say so: the look with this name, or with none
 * where that is not asked for. */
static bool is_unexplained(const struct served_look *look, const char *service, const char *name)
{
	return !look->explained && strcmp(look->service, service) == 0 && look->name && strcmp(look->name, name) == 0 &&
		others_present(look);
}

/* Returns whether a port of the service that only a handshake has shown is for this name. */
static bool is_seen(const struct here *here, const char *service, const char *name)
{
	for (size_t i = 0; i < here->seen.count; i++)
		if (is_unexplained(&here->seen.list[i], service, name) &&
			present_covers(others_present(&here->seen.list[i]), name))
			return true;
	return false;
}

static void add_unexplained(
	const struct here *here, const struct found_service *s, const char *name, struct endpoints *e, struct buf *out)
{
	for (size_t i = 0; i < here->seen.count; i++) {
		const struct served_look *look = &here->seen.list[i];
		if (!is_unexplained(look, s->name, name) || has_port(e, look->endpoint))
			continue;
		bool covers = present_covers(others_present(look), name);
		auto_free char *names = present_names(others_present(look));
		text_clean(names, 0);
		buf_addf(out,
			"\t\t# %s serves TLS, for %s: a handshake says so, its configuration was not understood\n",
			look->endpoint, names);
		if (covers)
			add_endpoint(e, mem_strdup(look->endpoint));
	}
}

static void put_endpoints(const struct here *here, const struct found_service *s, const char *name, struct buf *out)
{
	const struct listening *l = here->listening;
	struct endpoints e = {.count = 0};
	for (size_t i = 0; i < s->port_count; i++) {
		char *text = endpoint_of(l, s, &s->ports[i]);
		if (text)
			add_endpoint(&e, text);
		else
			buf_addf(out, "\t\t# nobody listens at its port %u\n", s->ports[i].port);
	}
	add_unexplained(here, s, name, &e, out);
	if (!s->running && e.count)
		buf_addf(out, "\t\t# it does not run now: these ports are those of its configuration\n");
	if (e.count)
		config_put_list(out, 2, "probe", e.list);
	else
		buf_addf(out,
			"\t\t# where it serves the certificate is not known: put its ports here, like "
			"{\"127.0.0.1:993\"}\n"
			"\t\tprobe = none\n");
	for (size_t i = 0; i < e.count; i++)
		free(e.list[i]);
}

/* Debian's stock PostgreSQL presents what its packages share. That is not written over, so that nobody could see a
 * certificate of ours at its port. */
static bool is_stock(const struct found_service *s)
{
	size_t shared = 0, presented = 0;
	for (size_t i = 0; i < s->use_count; i++) {
		presented += found_presents(&s->uses[i]);
		shared +=
			found_presents(&s->uses[i]) && s->uses[i].role == FOUND_COPY && find_is_shared(s->uses[i].path);
	}
	return presented && shared == presented;
}

static void put_service(const struct here *here, const struct found_service *s, const char *name, struct buf *out)
{
	auto_buf struct buf told = BUF_INIT(64 * 1024);
	enum belongs belongs = compare(s, name, &told);
	bool seen = is_seen(here, s->name, name);
	belongs = seen ? BELONGS_HERE : belongs;
	buf_addf(out, "\n");
	for (size_t i = 0; i < s->note_count; i++)
		buf_addf(out, "\t# %s: %s\n", s->name, s->notes[i]);
	bool stock = belongs == BELONGS_NOWHERE && is_stock(s);
	if (s->failed || belongs == BELONGS_ELSEWHERE || stock || (belongs == BELONGS_NOWHERE && s->port_count == 0)) {
		const char *why = s->failed            ? "what it serves cannot be told"
			: belongs == BELONGS_ELSEWHERE ? "it presents certificates for other names"
			: stock ? "it presents what Debian's packages share: give it files of its own "
				  "(certsync-agent.conf(5), HOOKS)"
				: "it offers no TLS";
		auto_free char *text = mem_printf("service \"%s\" is here, and left out: %s", s->name, why);
		comment(out, text);
		buf_add(out, told.data, told.len);
		return;
	}
	buf_add(out, told.data, told.len);
	config_put_section(out, 1, "service", s->name);
	put_endpoints(here, s, name, out);
	config_put_end(out, 1);
}

static int check_names(const char *const *hubs, const char *const *certificates, struct error *err)
{
	if (!hubs[0] || !certificates[0])
		return error_set(err, ERROR_USAGE, "agent.conf needs a hub and a certificate");
	for (size_t i = 0; certificates[i]; i++)
		if (!name_is_certificate(certificates[i]))
			return error_set(err, ERROR_USAGE, "\"%s\" is not the name of a certificate", certificates[i]);
	return 0;
}

static void put_others(const struct found *known, const struct listening *l, const char *const *names, struct buf *out)
{
	auto_others struct others others;
	others_look(known, l, names, &others);
	for (size_t i = 0; i < others.served.count; i++) {
		const struct served_look *look = &others.served.list[i];
		auto_free char *line = !look->name && others_present(look) ? others_line(look) : NULL;
		if (line)
			buf_addf(out, "# %s\n", line);
	}
	for (const char *at = buf_text(&others.unasked), *end; (end = strchr(at, '\n')); at = end + 1)
		buf_addf(out, "# %.*s\n", (int)(end - at), at);
	if (others.left_out)
		buf_addf(out, "# %zu more programs listen, and were not looked at\n", others.left_out);
}

static void put_certificate(
	const struct here *here, const struct found *found, const char *name, const char *const *allow, struct buf *out)
{
	const char *const own[] = {name, NULL};
	const char *const *list = allow && allow[0] ? allow : own;
	buf_addf(out, "\n");
	config_put_section(out, 0, "certificate", name);
	config_put_list(out, 1, "allow", (char *const *)(uintptr_t)list);
	for (size_t i = 0; i < found->count; i++)
		put_service(here, &found->services[i], name, out);
	if (found->count == 0)
		comment(out, "no service that is known here is installed: add a section for each that uses it");
	config_put_end(out, 0);
}

int discover_config(const char *const *hubs, const char *const *certificates, const char *const *allow, struct buf *out,
	struct error *err)
{
	auto_found struct found found = {0};
	auto_listening struct listening listening;
	auto_buf struct buf text = BUF_INIT(TEXT_MAX);
	if (check_names(hubs, certificates, err) < 0)
		return -1;
	listening_read(&listening);
	look_at_all(&listening, NULL, NULL, &found);
	buf_addf(&text,
		"# certsync-agent.conf(5), made from what was found on this node: look at it.\n"
		"# certsync-agent adopt shows how each service would use the files below live/.\n");
	config_put_list(&text, 0, "hub", (char *const *)(uintptr_t)hubs);
	struct here here = {.listening = &listening};
	struct error ignored;
	/* What cannot be looked at is not seen. */
	if (served_find(&found, &listening, certificates, SEEN_SECONDS, &here.seen, &ignored) == 0)
		served_look_at(&here.seen, SEEN_SECONDS, &ignored);
	put_others(&found, &listening, certificates, &text);
	for (size_t i = 0; certificates[i]; i++)
		put_certificate(&here, &found, certificates[i], allow, &text);
	served_release(&here.seen);
	/* Half of the room must be left over, since what did not fit was left out. */
	if (text.len > text.max / 2 || buf_add(out, text.data, text.len) < 0)
		return error_set(err, ERROR_PERMANENT, "agent.conf would be too long");
	return 0;
}
