#include "lib/probe/check_json.h"
#include "lib/core/clock.h"

static void add_time(cJSON *o, const char *key, int64_t when)
{
	char text[CLOCK_TEXT_MAX];
	cJSON_AddStringToObject(o, key, clock_text(when, text));
}

static void add_served(cJSON *o, const struct check *c)
{
	char hex[CHAIN_HEX_MAX];
	cJSON_AddStringToObject(o, "fingerprint", chain_hex(c->facts.fingerprint, hex));
	cJSON_AddStringToObject(o, "subject", c->subject);
	cJSON_AddStringToObject(o, "issuer", c->facts.issuer);
	cJSON_AddStringToObject(o, "key_type", c->facts.key_type);
	cJSON_AddStringToObject(o, "tls", c->tls);
	add_time(o, "not_before", c->facts.not_before);
	add_time(o, "not_after", c->facts.not_after);
	cJSON_AddNumberToObject(o, "days_left", c->days_left);
	cJSON *names = cJSON_AddArrayToObject(o, "names");
	for (size_t i = 0; i < c->facts.name_count; i++)
		cJSON_AddItemToArray(names, cJSON_CreateString(c->facts.names[i]));
	cJSON_AddBoolToObject(o, "name_match", c->name_match);
	cJSON_AddNumberToObject(o, "sent", c->sent);
	cJSON_AddBoolToObject(o, "chain_complete", c->chain_complete);
	cJSON_AddBoolToObject(o, "trusted", c->trusted);
	if (c->expects)
		cJSON_AddBoolToObject(o, "match", c->match);
	cJSON_AddNumberToObject(o, "milliseconds", (double)c->milliseconds);
}

cJSON *check_json(const struct check_row *row)
{
	const struct check *c = &row->check;
	cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "host", row->host->name);
	cJSON_AddStringToObject(o, "endpoint", row->endpoint.text);
	cJSON_AddStringToObject(o, "verdict", check_verdict_text(c->verdict));
	cJSON_AddStringToObject(o, "reason", c->reason);
	cJSON_AddStringToObject(o, "advice", c->advice);
	cJSON_AddStringToObject(o, "warning", c->warning);
	cJSON_AddBoolToObject(o, "served", c->served);
	if (c->served)
		add_served(o, c);
	return o;
}
