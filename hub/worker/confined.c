#include "hub/worker/confined.h"
#include "lib/core/confine.h"
#include "lib/core/mem.h"

#include <string.h>

static bool runs_a_program(const cJSON *job)
{
	return json_get(job, "dns") || json_get(job, "dns_leftovers") || strcmp(json_text(job, "type"), "command") == 0;
}

/* NULL when it is none. */
static const char *path(const cJSON *job, const char *key)
{
	const char *text = json_text(job, key);
	return text[0] ? text : NULL;
}

void worker_confine(const cJSON *job)
{
	const struct confine_path own[] = {{CONFINE_READ, path(job, "ca_file")}, {CONFINE_READ, path(job, "anchors")}};
	static const struct confine_path all[] = {{CONFINE_CHANGE, "/"}, {CONFINE_EXECUTE, "/"}};
	bool any = runs_a_program(job);
	const struct confine may = {
		.paths = any ? all : own,
		.path_count = any ? COUNT(all) : COUNT(own),
		.resolves = true,
		.connects = true,
		.listens = any,
	};
	/* The daemon has said what this kernel lacks. */
	confine(&may);
}
