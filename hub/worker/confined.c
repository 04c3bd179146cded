#include "hub/worker/confined.h"
#include "lib/core/confine.h"
#include "lib/core/mem.h"

#include <string.h>

static bool runs_a_program(const cJSON *job)
{
	return json_get(job, "dns") || json_get(job, "dns_leftovers") || strcmp(json_text(job, "type"), "command") == 0;
}

/* Returns NULL when the job has no such path. */
static const char *path(const cJSON *job, const char *key)
{
	const char *text = json_text(job, key);
	return text[0] ? text : NULL;
}

void worker_confine(const cJSON *job)
{
	const struct confine_path anchors[] = {
		{CONFINE_READ, path(job, "ca_file")}, {CONFINE_READ, path(job, "anchors")}};
	const struct confine may = {.paths = anchors, .path_count = COUNT(anchors), .resolves = true, .connects = true};
	/* This narrows what main() has done for every job. The daemon has reported what this kernel lacks. */
	if (!runs_a_program(job))
		confine(&may);
}
