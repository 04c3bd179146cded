#include "agent/cli/doctor_service.h"
#include "agent/cli/doctor_dovecot.h"
#include "agent/common/config.h"
#include "agent/cli/discover/discover.h"
#include "agent/cli/services/listening.h"
#include "agent/cli/services/present.h"
#include "agent/cli/adopt/plan_copy.h"
#include "lib/cli/doctor_system.h"
#include "lib/probe/endpoint.h"
#include "lib/core/mem.h"
#include "lib/core/proc.h"
#include "lib/core/owned.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Calls `see` for each service of each certificate; returns for how many it returned true. */
static size_t each(const struct agent_config *c,
	bool (*see)(const struct agent_certificate *certificate, const struct agent_service *service, void *context),
	void *context)
{
	size_t count = 0;
	for (size_t i = 0; i < c->certificate_count; i++)
		for (size_t k = 0; k < c->certificates[i].service_count; k++)
			count += see(&c->certificates[i], &c->certificates[i].services[k], context);
	return count;
}

/* ---- hooks ---- */

static bool see_hook(const struct agent_certificate *certificate, const struct agent_service *s, void *context)
{
	struct stat st;
	struct proc_user user;
	struct error err;
	(void)certificate;
	if (stat(s->hook, &st) < 0)
		doctor_remedy(doctor_add(context, DOCTOR_WRONG, "service \"%s\": %s: there is no such hook", s->name,
				      s->hook),
			"a service section named for a hook that is there, or hook = \"/path\" (certsync-agent.conf(5), HOOKS)");
	else if (!S_ISREG(st.st_mode) || !(st.st_mode & 0111)) {
		const char *const mend[] = {"chmod", "755", s->hook, NULL};
		doctor_command(
			doctor_add(context, DOCTOR_WRONG, "service \"%s\": %s cannot be executed", s->name, s->hook),
			mend);
	} else if (s->user && proc_user_find(s->user, &user, &err) < 0)
		doctor_add(context, DOCTOR_WRONG, "service \"%s\": there is no user %s, as which its hook is to run",
			s->name, s->user);
	else if (owned_check(s->hook, s->user ? &user : NULL, &err) < 0)
		doctor_add(context, DOCTOR_WRONG, "service \"%s\": its hook is not run: %s", s->name, err.message);
	else
		return true;
	return false;
}

void doctor_service_hooks(struct doctor_findings *f, const void *config)
{
	size_t good = each(config, see_hook, f);
	if (good)
		doctor_add(f, DOCTOR_OK, "%zu hook%s can be run", good, good == 1 ? "" : "s");
}

/* ---- what services present ---- */

struct looking {
	struct doctor_findings *findings;
	const struct agent_config *config;
	const struct found *found;
	const struct listening *listening;
};

static const struct found_service *found_of(const struct found *found, const char *name)
{
	for (size_t i = 0; i < found->count; i++)
		if (strcmp(found->services[i].name, name) == 0)
			return &found->services[i];
	return NULL;
}

static bool is_copied(const struct agent_service *s, const char *path)
{
	for (size_t i = 0; i < s->file_count; i++)
		if (strcmp(s->files[i].path, path) == 0)
			return true;
	return false;
}

/* Returns whether something of the service's configuration names what is installed for this certificate. */
static bool presents(const struct found_service *found, const struct agent_service *s, const char *live)
{
	for (size_t i = 0; i < found->use_count; i++) {
		const struct found_use *use = &found->uses[i];
		if (strncmp(use->path, live, strlen(live)) == 0 || is_copied(s, use->path) || is_copied(s, use->file))
			return true;
	}
	return false;
}

/* Returns how many files the service presents for this certificate's name that nobody renews: they hold a copy, and
 * agent.conf has not been told of them. */
static size_t forgotten_copies(const struct looking *l, const struct agent_certificate *certificate,
	const struct agent_service *s, const struct found_service *found)
{
	size_t count = 0;
	for (size_t i = 0; i < found->use_count; i++) {
		struct error ignored;
		auto_present struct present p = {0};
		const struct found_use *use = &found->uses[i];
		if (use->role != FOUND_COPY || plan_copy_is_done(l->config, use->path) ||
			present_read(use->path, &p, &ignored) < 0 || !present_covers(&p, certificate->name))
			continue;
		doctor_remedy(doctor_add(l->findings, DOCTOR_WARNING,
				      "%s: %s is presented for %s, too, and no section of agent.conf writes it",
				      s->name, use->path, certificate->name),
			"certsync-agent adopt %s --service %s (shows; with --apply: does it)", certificate->name,
			s->name);
		count++;
	}
	return count;
}

static bool see_files(const struct agent_certificate *certificate, const struct agent_service *s, void *context)
{
	const struct looking *l = context;
	const struct found_service *found = found_of(l->found, s->name);
	auto_free char *live = mem_printf("%s/live/%s/", l->config->directory, certificate->name);
	if (!found)
		return false;
	if (presents(found, s, live))
		return forgotten_copies(l, certificate, s, found) == 0;
	if (found->failed) {
		doctor_add(l->findings, DOCTOR_UNKNOWN, "%s: %s", s->name,
			found->note_count ? found->notes[found->note_count - 1] : "its tool failed");
		return false;
	}
	doctor_remedy(
		doctor_add(l->findings, DOCTOR_WARNING, "%s: its configuration names nothing below %s", s->name, live),
		"certsync-agent adopt %s --service %s (shows; with --apply: does it)", certificate->name, s->name);
	return false;
}

static bool is_dovecot(const struct agent_certificate *certificate, const struct agent_service *s, void *context)
{
	(void)certificate, (void)context;
	return strcmp(s->name, "dovecot") == 0;
}

void doctor_service_files(struct doctor_findings *f, const void *config)
{
	auto_found struct found found = {0};
	struct looking l = {f, config, &found, NULL};
	discover_services(config, NULL, &found);
	size_t good = each(config, see_files, &l);
	const struct found_service *dovecot = found_of(&found, "dovecot");
	if (dovecot && each(config, is_dovecot, NULL))
		doctor_dovecot(f, dovecot);
	if (good)
		doctor_add(f, DOCTOR_OK, "%zu service%s present%s what is installed below live/", good,
			good == 1 ? "" : "s", good == 1 ? "s" : "");
}

/* ---- who listens ---- */

static void split(const struct endpoint *e, char address[INET6_ADDRSTRLEN], uint16_t *ret_port)
{
	const void *any = &e->address;
	if (e->address.ss_family == AF_INET) {
		const struct sockaddr_in *in = any;
		inet_ntop(AF_INET, &in->sin_addr, address, INET6_ADDRSTRLEN);
		*ret_port = ntohs(in->sin_port);
	} else {
		const struct sockaddr_in6 *in6 = any;
		inet_ntop(AF_INET6, &in6->sin6_addr, address, INET6_ADDRSTRLEN);
		*ret_port = ntohs(in6->sin6_port);
	}
}

static bool listens_at(const struct listening_socket *s, const char *address, uint16_t port)
{
	bool any = strcmp(s->address, "0.0.0.0") == 0 || strcmp(s->address, "::") == 0;
	return s->port == port && (any || strcmp(s->address, address) == 0);
}

static const struct listening_socket *find_listener(const struct listening *l, const char *address, uint16_t port)
{
	for (size_t i = 0; i < l->count; i++)
		if (listens_at(&l->list[i], address, port))
			return &l->list[i];
	return NULL;
}

/* A host that is probed from here and is not this node is not looked at. */
static bool see_port(const struct looking *l, const struct agent_service *s, const char *probe)
{
	struct error ignored;
	struct endpoint e;
	char address[INET6_ADDRSTRLEN] = "";
	uint16_t port;
	if (endpoint_parse(probe, &e, &ignored) < 0)
		return false;
	split(&e, address, &port);
	const struct listening_socket *socket = find_listener(l->listening, address, port);
	if (socket)
		return true;
	if (strncmp(address, "127.", 4) != 0 && strcmp(address, "::1") != 0)
		return false;
	doctor_remedy(
		doctor_add(l->findings, DOCTOR_WARNING, "nobody listens at %s, where %s is probed", probe, s->name),
		"start %s, or correct probe in %s; ss -ltnp shows who listens", s->name, l->config->path);
	return false;
}

static bool is_standby(const struct looking *l, const struct agent_service *s)
{
	const struct found_service *found = found_of(l->found, s->name);
	if (!found || found->running != 0)
		return false;
	doctor_add(l->findings, DOCTOR_OK, "%s is stopped: a standby, which is given its files and is not probed",
		s->name);
	return true;
}

static bool see_ports(const struct agent_certificate *certificate, const struct agent_service *s, void *context)
{
	const struct looking *l = context;
	(void)certificate;
	if (is_standby(l, s))
		return false;
	bool good = s->probe[0] != NULL;
	for (char *const *probe = s->probe; *probe; probe++)
		good = see_port(l, s, *probe) && good;
	return good;
}

void doctor_service_ports(struct doctor_findings *f, const void *config)
{
	auto_found struct found found = {0};
	auto_listening struct listening listening;
	struct looking l = {f, config, &found, &listening};
	discover_services(config, NULL, &found);
	listening_read(&listening);
	size_t good = each(config, see_ports, &l);
	if (good)
		doctor_add(f, DOCTOR_OK, "%zu service%s listen%s where %s probed", good, good == 1 ? "" : "s",
			good == 1 ? "s" : "", good == 1 ? "it is" : "they are");
}

/* ---- AppArmor ---- */

static const struct {
	const char *service, *program;
} confined[] = {{"haproxy", "haproxy"}, {"nginx", "nginx"}, {"apache2", "apache2"}, {"dovecot", "dovecot"},
	{"exim4", "exim4"}, {"mariadb", "mariadbd"}, {"mariadb", "mysqld"}, {"postgresql", "postgres"},
	{"stunnel", "stunnel4"}};

static bool see_profile(const struct agent_certificate *certificate, const struct agent_service *s, void *context)
{
	const struct looking *l = context;
	(void)certificate;
	for (size_t i = 0; i < COUNT(confined); i++) {
		int is = strcmp(confined[i].service, s->name) == 0 ? doctor_apparmor(confined[i].program) : 0;
		if (is < 0)
			doctor_add(l->findings, DOCTOR_UNKNOWN, "whether it confines %s: run doctor as root",
				confined[i].program);
		if (is <= 0)
			continue;
		const char *directory = l->config->directory;
		doctor_remedy(doctor_add(l->findings, DOCTOR_WARNING, "AppArmor confines %s: it must be let read %s",
				      confined[i].program, directory),
			"into its file in /etc/apparmor.d/local/: %s/{live,archive}/** r, then systemctl reload apparmor",
			directory);
		return true;
	}
	return false;
}

void doctor_service_apparmor(struct doctor_findings *f, const void *config)
{
	struct looking l = {f, config, NULL, NULL};
	each(config, see_profile, &l);
}
