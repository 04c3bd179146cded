#include "hub/renewal_show.h"

#include <stdio.h>
#include <string.h>

static const char *text_of(const cJSON *o, const char *key)
{
	const cJSON *value = json_get(o, key);
	return cJSON_IsString(value) ? value->valuestring : "";
}

static void show_advice(const cJSON *advice)
{
	if (text_of(advice, "moment")[0])
		printf("  the authority suggests %s to %s\n", text_of(advice, "start"),
			text_of(advice, "end"));
	if (text_of(advice, "explanation")[0])
		printf("  and explains it at %s\n", text_of(advice, "explanation"));
	if (text_of(advice, "error")[0])
		printf("  the authority's advice%s: %s\n",
			text_of(advice, "moment")[0] ? " (the last one holds)" : " is not followed",
			text_of(advice, "error"));
}

static void show_preflight(const cJSON *findings)
{
	const cJSON *finding;
	cJSON_ArrayForEach(finding, findings)
	{
		if (cJSON_IsTrue(json_get(finding, "ok")))
			continue;
		printf("  preflight: %s%s%s: %s\n", text_of(finding, "name"),
			text_of(finding, "address")[0] ? " at " : "", text_of(finding, "address"),
			text_of(finding, "text"));
	}
}

void show_renewal(const cJSON *renewal)
{
	if (text_of(renewal, "held")[0])
		printf("  held: %s\n", text_of(renewal, "held"));
	show_advice(json_get(renewal, "advice"));
	show_preflight(json_get(renewal, "preflight"));
}

void show_warnings(const cJSON *certificate)
{
	const cJSON *warning;
	cJSON_ArrayForEach(warning, json_get(certificate, "warnings"))
	{
		if (cJSON_IsString(warning))
			printf("  warning: %s\n", warning->valuestring);
	}
}
