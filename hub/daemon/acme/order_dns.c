#include "hub/daemon/acme/order_dns.h"
#include "hub/common/jws.h"
#include "hub/common/worker_jobs.h"
#include "hub/daemon/record.h"
#include "lib/core/base64.h"
#include "lib/core/mem.h"
#include "lib/core/name.h"

#include <string.h>

static const char kind[] = "dns";

enum { ORDER_DNS_MAX = 60 * 1024, ORDER_DNS_COUNT_MAX = 512, DIGEST_TEXT = 43, RECORD_MEMBERS = 5 };

static struct record record_of(const char *certificate)
{
	return (struct record){kind, certificate, "records.json", ORDER_DNS_MAX,
		"DNS records of an order that was broken off may be left: look for _acme-challenge there"};
}

/* Reads what is kept. Returns 1 and the list, which the caller owns, 0 when there is none or it is damaged, or -1. */
static int stored_records(struct store *store, const char *certificate, cJSON **ret, struct error *err)
{
	const struct record record = record_of(certificate);
	struct error damaged;
	auto_json cJSON *stored = NULL;
	int found = record_find(store, &record, &stored, err);
	if (found <= 0)
		return found;
	const cJSON *records = json_array(stored, "records", ORDER_DNS_COUNT_MAX, &damaged);
	if (!records)
		record_damaged(store, &record, &damaged);
	*ret = records ? cJSON_Duplicate(records, true) : NULL;
	return *ret != NULL;
}

int order_dns_job(struct store *store, const struct hub_certificate *certificate, cJSON *job, struct error *err)
{
	if (certificate->dns_hook) {
		cJSON *dns = cJSON_AddObjectToObject(job, "dns");
		cJSON_AddStringToObject(dns, "hook", certificate->dns_hook);
		if (certificate->dns_config)
			cJSON_AddStringToObject(dns, "config", certificate->dns_config);
		cJSON_AddNumberToObject(dns, "timeout", (double)certificate->dns_timeout);
		cJSON_AddBoolToObject(dns, "by_resolvers", certificate->dns_by_resolvers);
		cJSON_AddNumberToObject(dns, "wait", (double)certificate->dns_wait);
	}
	cJSON *records;
	int found = stored_records(store, certificate->name, &records, err);
	if (found > 0)
		cJSON_AddItemToObject(job, "dns_leftovers", records);
	return found < 0 ? -1 : 0;
}

static bool is_kept(const cJSON *stored, const cJSON *record)
{
	const cJSON *element;
	cJSON_ArrayForEach (element, stored) {
		if (cJSON_Compare(element, record, true))
			return true;
	}
	return false;
}

static bool is_of(const cJSON *names, const cJSON *record)
{
	const cJSON *element;
	cJSON_ArrayForEach (element, names) {
		const char *name = element->valuestring;
		auto_free char *owner = mem_printf("_acme-challenge.%s.", name + (strncmp(name, "*.", 2) == 0 ? 2 : 0));
		if (strcmp(owner, json_text(record, "name")) == 0)
			return true;
	}
	return false;
}

static int check_record(const cJSON *names, const cJSON *dns, const cJSON *record, struct error *err)
{
	const char *value = json_text(record, "value");
	if (!is_of(names, record))
		return error_set(err, ERROR_PERMANENT,
			"the worker keeps a record \"%.253s\", which no name of this order needs",
			json_text(record, "name"));
	if (!dns || strcmp(json_text(record, "hook"), json_text(dns, "hook")) != 0 ||
		strcmp(json_text(record, "config"), json_text(dns, "config")) != 0)
		return error_set(err, ERROR_PERMANENT, "the worker keeps a record of another hook than this order's");
	if (strlen(value) != DIGEST_TEXT || !base64url_is(value, DIGEST_TEXT + 1) ||
		!name_is_record(json_text(record, "target")) || cJSON_GetArraySize(record) > RECORD_MEMBERS)
		return error_set(err, ERROR_PERMANENT, "the worker keeps a record that is none of dns-01");
	return 0;
}

int order_dns_keep(struct store *store, const char *certificate, const cJSON *names, const cJSON *dns,
	const cJSON *message, struct error *err)
{
	const cJSON *records = json_array(message, "records", ORDER_DNS_COUNT_MAX, err), *record;
	const struct record kept = record_of(certificate);
	auto_json cJSON *stored = cJSON_CreateObject();
	auto_json cJSON *before = NULL;
	if (!records || stored_records(store, certificate, &before, err) < 0)
		return -1;
	if (cJSON_GetArraySize(records) == 0)
		return store_drop(store, kind, certificate, err);
	cJSON_ArrayForEach (record, records) {
		if (!is_kept(before, record) && check_record(names, dns, record, err) < 0)
			return -1;
	}
	cJSON_AddItemToObject(stored, "records", cJSON_Duplicate(records, true));
	return record_put(store, &kept, stored, err);
}

int order_dns_seconds(const struct hub_certificate *certificate)
{
	return certificate->dns_hook ? ACME_DNS_HOOKS_SECONDS + (int)certificate->dns_timeout : 0;
}
