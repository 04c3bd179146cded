#include "hub/cli/show_renewal.h"

#include <stdio.h>
#include <string.h>

static void show_advice(const cJSON *advice)
{
	if (json_text(advice, "moment")[0])
		printf("  the authority suggests %s to %s\n", json_text(advice, "start"), json_text(advice, "end"));
	if (json_text(advice, "explanation")[0])
		printf("  and explains it at %s\n", json_text(advice, "explanation"));
	if (json_text(advice, "error")[0])
		printf("  the authority's advice%s: %s\n",
			json_text(advice, "moment")[0] ? " (the last one holds)" : " is not followed",
			json_text(advice, "error"));
}

static void show_preflight(const cJSON *findings)
{
	const cJSON *finding;
	cJSON_ArrayForEach (finding, findings) {
		if (cJSON_IsTrue(json_get(finding, "ok")))
			continue;
		printf("  preflight: %s%s%s: %s\n", json_text(finding, "name"),
			json_text(finding, "address")[0] ? " at " : "", json_text(finding, "address"),
			json_text(finding, "text"));
	}
}

void show_renewal(const cJSON *renewal)
{
	if (json_text(renewal, "lacks")[0])
		printf("  %s was added to names: one that has it is ordered at once, and not when the renewal is due\n",
			json_text(renewal, "lacks"));
	if (json_text(renewal, "instead")[0])
		printf("  since %s %s\n", json_text(renewal, "instead_since"), json_text(renewal, "instead"));
	if (json_text(renewal, "held")[0])
		printf("  held: %s\n", json_text(renewal, "held"));
	show_advice(json_get(renewal, "advice"));
	show_preflight(json_get(renewal, "preflight"));
}

void show_warnings(const cJSON *certificate)
{
	const cJSON *warning;
	cJSON_ArrayForEach (warning, json_get(certificate, "warnings")) {
		if (cJSON_IsString(warning))
			printf("  warning: %s\n", warning->valuestring);
	}
}
