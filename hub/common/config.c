#include "hub/common/config.h"
#include "hub/common/config_checks.h"
#include "hub/common/config_rows.h"
#include "lib/config/types.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>

/* Returns the paths of the public host keys that this machine's sshd has. */
static char **default_host_keys(void)
{
	glob_t found;
	if (glob("/etc/ssh/ssh_host_*_key.pub", 0, NULL, &found) != 0)
		return mem_array(1, sizeof(char *));
	char **list = mem_array(found.gl_pathc + 1, sizeof(*list));
	for (size_t i = 0; i < found.gl_pathc; i++)
		list[i] = mem_strdup(found.gl_pathv[i]);
	globfree(&found);
	return list;
}

/* Fills in the defaults that depend on this machine. */
static void find_defaults(struct config *c, struct hub_config *h)
{
	if (!h->hooks)
		h->hooks = mem_printf("%s/hooks", fs_program_directory());
	if (config_has(config_root(c), "host_keys"))
		return;
	config_list_free(h->host_keys);
	h->host_keys = default_host_keys();
	for (char **path = h->host_keys; *path; path++)
		config_check_host_key(c, config_root(c), "host_keys", *path);
}

/* Returns the title of another section that a key gives, or NULL when the key is not given. */
static const char *named(const struct config_section *s, const char *key)
{
	const struct config_entry *e = config_entry_last(s, key);
	return e ? e->values[0] : NULL;
}

static const struct hub_acme *find_acme(const struct hub_config *h, const char *name)
{
	for (size_t i = 0; i < h->acme_count; i++)
		if (strcmp(h->acmes[i].name, name) == 0)
			return &h->acmes[i];
	return NULL;
}

/* Finds the authorities of a certificate, in their order. */
static void find_authorities(struct config *c, const struct config_section *s, const struct hub_config *h,
	struct hub_certificate *certificate)
{
	size_t count;
	auto_free char **names = config_values(s, "acme", &count);
	if (count > HUB_AUTHORITIES_MAX)
		config_fault(c, s, "acme", "acme: %zu authorities, and %d are enough", count, HUB_AUTHORITIES_MAX);
	for (size_t i = 0; i < count && i < HUB_AUTHORITIES_MAX; i++) {
		const struct hub_acme *acme = find_acme(h, names[i]);
		if (!acme)
			config_fault(c, s, "acme", "acme: there is no section acme \"%s\"", names[i]);
		for (size_t k = 0; acme && k < certificate->acme_count; k++)
			if (certificate->acmes[k] == acme)
				config_fault(c, s, "acme", "acme: %s is listed twice", names[i]);
		if (acme)
			certificate->acmes[certificate->acme_count++] = acme;
	}
	certificate->acme = certificate->acmes[0];
}

static void finish_certificate(struct config *c, const struct config_section *s, const struct hub_config *h,
	struct hub_certificate *certificate)
{
	find_authorities(c, s, h, certificate);
	if (!certificate->names[0]) {
		config_list_free(certificate->names);
		certificate->names = mem_array(2, sizeof(*certificate->names));
		certificate->names[0] = mem_strdup(certificate->name);
		config_check_dns_name(c, s, "names", certificate->name);
	}
	char *hook = certificate->dns_hook;
	if (hook && !strchr(hook, '/')) { /* a name in the directory of hooks */
		certificate->dns_hook = mem_printf("%s/%s", h->hooks, hook);
		free(hook);
	}
	config_judge_certificate(c, s, h, certificate);
}

static int grant_compare(const void *left, const void *right)
{
	const struct hub_certificate *const *a = left, *const *b = right;
	return *a < *b ? -1 : *a > *b;
}

static void finish_agent(
	struct config *c, const struct config_section *s, const struct hub_config *h, struct hub_agent *agent)
{
	size_t count, used = 0;
	auto_free char **names = config_values(s, "certificates", &count);
	agent->certificates = mem_array(count + 1, sizeof(*agent->certificates));
	for (size_t i = 0; i < count; i++) {
		agent->certificates[used] = hub_config_certificate(h, names[i]);
		if (agent->certificates[used])
			used++;
		else
			config_fault(
				c, s, "certificates", "certificates: there is no section certificate \"%s\"", names[i]);
	}
	qsort(agent->certificates, used, sizeof(*agent->certificates), grant_compare);
	for (size_t i = 1; i < used; i++)
		if (agent->certificates[i] == agent->certificates[i - 1])
			config_fault(
				c, s, "certificates", "certificates: %s is listed twice", agent->certificates[i]->name);
}

/* An endpoint expects the certificate that it names, else that of its own name, else one that has to have this name. */
static void finish_endpoint(
	struct config *c, const struct config_section *s, const struct hub_config *h, struct hub_endpoint *endpoint)
{
	const char *name = named(s, "certificate");
	const struct hub_certificate *found = hub_config_certificate(h, name ? name : endpoint->name);
	if (name && !found)
		config_fault(c, s, "certificate", "certificate: there is no section certificate \"%s\"", name);
	for (size_t i = 0; !found && !name && i < h->certificate_count; i++)
		for (char **covered = h->certificates[i].names; *covered && !found; covered++)
			if (name_covers(*covered, endpoint->name))
				found = &h->certificates[i];
	endpoint->certificate = found;
}

/* A canary that gets no certificate would hold the others for proceed_after. */
static void check_canaries(struct config *c, const struct config_section *s, const struct hub_config *h)
{
	const struct hub_certificate *certificate = s->object;
	for (char **name = certificate->canary; *name; name++) {
		const struct hub_agent *agent = hub_config_agent(h, *name);
		if (!agent || !hub_agent_has(agent, certificate->name))
			config_fault(c, s, "canary", "canary: no agent \"%s\" is assigned this certificate", *name);
	}
}

/* Judges what only holds for all agents together. */
static void check_agents(struct config *c, const struct config_section *root, const struct hub_config *h)
{
	const char *local = NULL;
	size_t remote = 0;
	for (struct config_section *s = NULL; (s = config_section_next(root, "agent", s));) {
		const struct hub_agent *agent = s->object;
		remote += !agent->local;
		if (!agent->local)
			continue;
		if (local)
			config_fault(c, s, "local",
				"agent \"%s\" is local, and so is \"%s\": only one agent can run on the hub's own node",
				agent->name, local);
		local = agent->name;
	}
	if (remote && h->gate_user[0])
		config_check_user(c, root, "gate_user", h->gate_user);
	if (local && h->local_user[0])
		config_check_user(c, root, "local_user", h->local_user);
}

/* Finishes each section after those that it names. */
static void finish(struct config *c, struct hub_config *h)
{
	struct config_section *const root = config_root(c), *s;
	find_defaults(c, h);
	for (s = NULL; (s = config_section_next(root, "acme", s));)
		config_judge_acme(c, s, s->object);
	for (s = NULL; (s = config_section_next(root, "certificate", s));)
		finish_certificate(c, s, h, s->object);
	for (s = NULL; (s = config_section_next(root, "agent", s));)
		finish_agent(c, s, h, s->object);
	for (s = NULL; (s = config_section_next(root, "certificate", s));)
		check_canaries(c, s, h);
	for (s = NULL; (s = config_section_next(root, "endpoint", s));)
		finish_endpoint(c, s, h, s->object);
	check_agents(c, root, h);
	config_judge_alert(c, config_section_next(root, "alert", NULL), &h->alert);
}

struct hub_config *hub_config_load(const char *path, struct buf *faults)
{
	struct hub_config *h = mem_alloc(sizeof(*h));
	h->path = mem_strdup(path);
	struct config *c = config_read(path, &hub_config_table, h, faults);
	if (c)
		finish(c, h);
	if (c && config_end(c, faults) == 0)
		return h;
	hub_config_free(h);
	return NULL;
}

void hub_config_free(struct hub_config *h)
{
	if (!h)
		return;
	config_release(&hub_config_table, h);
	free(h->path);
	free(h);
}

void hub_config_print(const struct hub_config *c, struct buf *out)
{
	config_print(&hub_config_table, c, out);
}

/* Compares structs that begin with their name. */
static int name_compare(const void *left, const void *right)
{
	const char *const *a = left, *const *b = right;
	return strcmp(*a, *b);
}

const struct hub_certificate *hub_config_certificate(const struct hub_config *c, const char *name)
{
	return bsearch(&name, c->certificates, c->certificate_count, sizeof(*c->certificates), name_compare);
}

const struct hub_agent *hub_config_agent(const struct hub_config *c, const char *name)
{
	return bsearch(&name, c->agents, c->agent_count, sizeof(*c->agents), name_compare);
}

bool hub_agent_has(const struct hub_agent *a, const char *certificate)
{
	for (size_t i = 0; a->certificates[i]; i++)
		if (strcmp(a->certificates[i]->name, certificate) == 0)
			return true;
	return false;
}
