#include "hub/daemon/acme/order_dns.h"
#include "hub/worker/acme/acme.h"

static const char kind[] = "dns", file[] = "records.json";

enum { ORDER_DNS_MAX = 60 * 1024, ORDER_DNS_COUNT_MAX = 512 };

static int add_leftovers(struct store *store, const char *certificate, cJSON *job, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(ORDER_DNS_MAX);
	struct error damaged;
	int found = store_get(store, kind, certificate, file, &text, err);
	if (found <= 0)
		return found;
	/* A damaged one is of no use: the next that is written replaces it. */
	auto_json cJSON *stored = json_parse(text.data, text.len, &damaged);
	const cJSON *records = stored ? json_array(stored, "records", ORDER_DNS_COUNT_MAX, &damaged) : NULL;
	if (records)
		cJSON_AddItemToObject(job, "dns_leftovers", cJSON_Duplicate(records, true));
	return 0;
}

int order_dns_job(
	struct store *store, const struct hub_certificate *certificate, cJSON *job, struct error *err)
{
	if (certificate->dns_hook) {
		cJSON *dns = cJSON_AddObjectToObject(job, "dns");
		cJSON_AddStringToObject(dns, "hook", certificate->dns_hook);
		if (certificate->dns_config)
			cJSON_AddStringToObject(dns, "config", certificate->dns_config);
		cJSON_AddNumberToObject(dns, "timeout", (double)certificate->dns_timeout);
	}
	return add_leftovers(store, certificate->name, job, err);
}

int order_dns_keep(struct store *store, const char *certificate, const cJSON *message, struct error *err)
{
	const cJSON *records = json_array(message, "records", ORDER_DNS_COUNT_MAX, err);
	auto_buf struct buf text = BUF_INIT(ORDER_DNS_MAX);
	auto_json cJSON *stored = cJSON_CreateObject();
	if (!records)
		return -1;
	if (cJSON_GetArraySize(records) == 0)
		return store_drop(store, kind, certificate, err);
	cJSON_AddItemToObject(stored, "records", cJSON_Duplicate(records, true));
	if (json_print(stored, &text) < 0)
		return error_set(
			err, ERROR_PERMANENT, "dns-01: more than %d bytes of records", ORDER_DNS_MAX);
	return store_put(store, kind, certificate, file, text.data, text.len, err);
}

int order_dns_seconds(const struct hub_certificate *certificate)
{
	return certificate->dns_hook ? ACME_DNS_HOOKS_SECONDS + (int)certificate->dns_timeout : 0;
}
