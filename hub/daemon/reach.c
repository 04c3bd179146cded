#include "hub/daemon/reach.h"
#include "lib/core/confine.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"

#include <libgen.h>
#include <stdlib.h>
#include <string.h>

enum { OWN = 2, PORTS = 2 }; /* state, run; http, page */

struct reach {
	struct confine_path *paths; /* the first OWN of them to write in; owned, the paths too */
	size_t count;
	uint16_t ports[PORTS + 1];
};

/* Takes the path over. */
static void add(struct reach *r, enum confine_right right, const char *path)
{
	r->paths = mem_grow(r->paths, r->count + 1, sizeof(*r->paths));
	r->paths[r->count++] = (struct confine_path){right, path};
}

static void add_file(struct reach *r, const char *path)
{
	auto_free char *copy = path ? mem_strdup(path) : NULL;
	if (copy)
		add(r, CONFINE_READ, mem_strdup(dirname(copy)));
}

/* Returns 0 when there is none. */
static uint16_t port_of(const char *address)
{
	const char *colon = address ? strrchr(address, ':') : NULL;
	return colon ? (uint16_t)strtoul(colon + 1, NULL, 10) : 0;
}

struct reach *reach_of(const struct hub_config *config)
{
	struct reach *r = mem_alloc(sizeof(*r));
	add(r, CONFINE_CHANGE, mem_strdup(config->state));
	add(r, CONFINE_CHANGE, mem_strdup(config->run));
	add_file(r, config->path);
	add_file(r, config->anchors);
	add_file(r, config->alert.smtp_password);
	for (char **key = config->host_keys; *key; key++)
		add_file(r, *key);
	for (size_t i = 0; i < config->acme_count; i++)
		add_file(r, config->acmes[i].eab_hmac);
	r->ports[0] = port_of(config->http);
	r->ports[1] = port_of(config->page);
	return r;
}

void reach_free(struct reach *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->count; i++)
		free((char *)(uintptr_t)r->paths[i].path);
	free(r->paths);
	free(r);
}

static bool is_below(const char *path, const char *directory)
{
	size_t len = strlen(directory);
	return strncmp(path, directory, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* A resolver reads these anyway. */
static bool is_read_always(const char *path)
{
	return is_below(path, "/etc") || is_below(path, "/usr") || is_below(path, "/run");
}

static bool covers(const struct reach *now, const char *path)
{
	bool found = is_read_always(path);
	for (size_t i = 0; i < now->count; i++)
		found = found || is_below(path, now->paths[i].path);
	return found;
}

bool reach_covers_files(const struct reach *now, const struct reach *wanted)
{
	for (size_t i = OWN; i < wanted->count; i++)
		if (!covers(now, wanted->paths[i].path))
			return false;
	return true;
}

bool reach_covers_ports(const struct reach *now, const struct reach *wanted)
{
	return wanted->ports[1] == 0 || wanted->ports[1] == now->ports[0] || wanted->ports[1] == now->ports[1];
}

void reach_confine(const struct reach *r)
{
	const struct confine may = {.paths = r->paths, .path_count = r->count, .resolves = true, .ports = r->ports};
	struct confinement got = confine(&may);
	const struct confinement_fault fault = confine_fault(&got);
	if (fault.text)
		log_event(LOG_LEVEL_WARNING, "confine", "reason=\"%s\" remedy=\"%s\"", fault.text, fault.remedy);
}
