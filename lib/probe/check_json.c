#include "lib/probe/check_json.h"
#include "lib/core/base64.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <string.h>

enum { CHECK_NAME_MAX = 64 * 1024 /* of a certificate: a message is no longer */ };

void check_found_release(struct check_found *f)
{
	check_release(&f->check);
	*f = (struct check_found){0};
}

void check_found_copy(const struct check_found *f, struct check_found *ret)
{
	const struct chain_facts *facts = &f->check.facts;
	*ret = *f;
	ret->check.facts.names = mem_array(facts->name_count, sizeof(*facts->names));
	for (size_t i = 0; i < facts->name_count; i++)
		ret->check.facts.names[i] = mem_strdup(facts->names[i]);
}

/* ---- encoding ---- */

static void add_time(cJSON *o, const char *key, int64_t when)
{
	char text[CLOCK_TEXT_MAX];
	cJSON_AddStringToObject(o, key, clock_text(when, text));
}

static void add_scts(cJSON *o, const struct sct_list *list)
{
	cJSON *all = cJSON_AddArrayToObject(o, "scts");
	for (size_t i = 0; i < list->count; i++) {
		auto_buf struct buf log = BUF_INIT(2 * SCT_LOG_SIZE);
		cJSON *one = cJSON_CreateObject();
		base64_encode(list->items[i].log, SCT_LOG_SIZE, &log);
		cJSON_AddStringToObject(one, "log", buf_text(&log));
		add_time(one, "timestamp", list->items[i].when);
		cJSON_AddItemToArray(all, one);
	}
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
	for (size_t i = 0, count = chain_names_fitting(&c->facts); i < count; i++)
		cJSON_AddItemToArray(names, cJSON_CreateString(c->facts.names[i]));
	cJSON_AddBoolToObject(o, "name_match", c->name_match);
	cJSON_AddNumberToObject(o, "sent", c->sent);
	cJSON_AddBoolToObject(o, "chain_complete", c->chain_complete);
	cJSON_AddBoolToObject(o, "trusted", c->trusted);
	if (c->expects)
		cJSON_AddBoolToObject(o, "match", c->match);
	if (c->knows_scts)
		add_scts(o, &c->scts);
	cJSON_AddNumberToObject(o, "milliseconds", (double)c->milliseconds);
}

cJSON *check_encode(const char *host, const char *endpoint, const struct check *c)
{
	cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "host", host);
	cJSON_AddStringToObject(o, "endpoint", endpoint);
	cJSON_AddStringToObject(o, "verdict", check_verdict_text(c->verdict));
	cJSON_AddStringToObject(o, "reason", c->reason);
	cJSON_AddStringToObject(o, "advice", c->advice);
	cJSON_AddStringToObject(o, "warning", c->warning);
	cJSON_AddBoolToObject(o, "served", c->served);
	if (c->served)
		add_served(o, c);
	return o;
}

/* ---- decoding ---- */

static int take_text(const cJSON *o, const char *key, char *ret, size_t size, struct error *err)
{
	const char *text = json_string(o, key, size - 1, err);
	if (!text)
		return -1;
	snprintf(ret, size, "%s", text);
	return 0;
}
#define TAKE_TEXT(o, key, field, err) take_text(o, key, field, sizeof(field), err)

static int take_time(const cJSON *o, const char *key, int64_t *ret, struct error *err)
{
	const char *text = json_string(o, key, CLOCK_TEXT_MAX - 1, err);
	if (text && !clock_parse(text, ret))
		return error_set(err, ERROR_PERMANENT, "%s: \"%s\" is no time", key, text);
	return text ? 0 : -1;
}

static int take_int(const cJSON *o, const char *key, int *ret, struct error *err)
{
	int64_t value;
	if (json_i64(o, key, &value, err) < 0)
		return -1;
	if (value < INT32_MIN || value > INT32_MAX)
		return error_set(err, ERROR_PERMANENT, "%s: %lld is out of range", key, (long long)value);
	*ret = (int)value;
	return 0;
}

static int take_names(const cJSON *o, struct chain_facts *ret, struct error *err)
{
	const cJSON *element, *names = json_array(o, "names", CHAIN_NAMES_MAX, err);
	if (!names)
		return -1;
	ret->names = mem_array((size_t)cJSON_GetArraySize(names), sizeof(*ret->names));
	cJSON_ArrayForEach (element, names) {
		const char *name = json_element(element, CHECK_NAME_MAX, err);
		if (!name)
			return error_wrap(err, "names");
		ret->names[ret->name_count++] = mem_strdup(name);
	}
	return 0;
}

static int take_scts(const cJSON *o, struct sct_list *ret, struct error *err)
{
	const cJSON *element, *all = json_array(o, "scts", SCT_MAX, err);
	if (!all)
		return -1;
	cJSON_ArrayForEach (element, all) {
		struct sct *sct = &ret->items[ret->count++];
		auto_buf struct buf log = BUF_INIT(SCT_LOG_SIZE);
		const char *text = json_string(element, "log", 2 * SCT_LOG_SIZE, err);
		if (!text || base64_decode(text, &log, err) < 0 || take_time(element, "timestamp", &sct->when, err) < 0)
			return error_wrap(err, "scts");
		if (log.len != SCT_LOG_SIZE)
			return error_set(err, ERROR_PERMANENT, "scts: log: is not the SHA-256 of a key");
		memcpy(sct->log, log.data, SCT_LOG_SIZE);
	}
	return 0;
}

static int take_served(const cJSON *o, struct check *c, struct error *err)
{
	const char *hex = json_string(o, "fingerprint", CHAIN_HEX_MAX - 1, err);
	if (hex && chain_unhex(hex, c->facts.fingerprint) < 0)
		return error_set(err, ERROR_PERMANENT, "fingerprint: is not a SHA-256");
	c->expects = json_get(o, "match") != NULL;
	c->knows_scts = json_get(o, "scts") != NULL; /* nor does what an older program has written have them */
	if (!hex || TAKE_TEXT(o, "subject", c->subject, err) < 0 || TAKE_TEXT(o, "issuer", c->facts.issuer, err) < 0 ||
		TAKE_TEXT(o, "key_type", c->facts.key_type, err) < 0 || TAKE_TEXT(o, "tls", c->tls, err) < 0 ||
		take_time(o, "not_before", &c->facts.not_before, err) < 0 ||
		take_time(o, "not_after", &c->facts.not_after, err) < 0 ||
		take_int(o, "days_left", &c->days_left, err) < 0 || take_names(o, &c->facts, err) < 0 ||
		json_bool(o, "name_match", &c->name_match, err) < 0 || take_int(o, "sent", &c->sent, err) < 0 ||
		json_bool(o, "chain_complete", &c->chain_complete, err) < 0 ||
		json_bool(o, "trusted", &c->trusted, err) < 0 ||
		(c->expects && json_bool(o, "match", &c->match, err) < 0) ||
		(c->knows_scts && take_scts(o, &c->scts, err) < 0))
		return -1;
	return json_i64(o, "milliseconds", &c->milliseconds, err);
}

static int take_all(const cJSON *o, struct check_found *ret, struct error *err)
{
	struct check *c = &ret->check;
	const char *verdict = json_string(o, "verdict", CHECK_REASON_MAX, err);
	if (verdict && !check_verdict_parse(verdict, &c->verdict))
		return error_set(err, ERROR_PERMANENT, "verdict: \"%s\" is not known", verdict);
	if (!verdict || TAKE_TEXT(o, "host", ret->host, err) < 0 || TAKE_TEXT(o, "endpoint", ret->endpoint, err) < 0 ||
		TAKE_TEXT(o, "reason", c->reason, err) < 0 || TAKE_TEXT(o, "advice", c->advice, err) < 0 ||
		TAKE_TEXT(o, "warning", c->warning, err) < 0 || json_bool(o, "served", &c->served, err) < 0)
		return -1;
	return c->served ? take_served(o, c, err) : 0;
}

int check_decode(const cJSON *o, struct check_found *ret, struct error *err)
{
	*ret = (struct check_found){0};
	if (take_all(o, ret, err) == 0)
		return 0;
	check_found_release(ret);
	return -1;
}
