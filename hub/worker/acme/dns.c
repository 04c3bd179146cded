#include "hub/worker/acme/lookup.h"
#include "hub/worker/acme/dns.h"
#include "hub/worker/acme/propagation.h"
#include "hub/worker/acme/acme.h"
#include "hub/common/jws.h"
#include "lib/core/base64.h"
#include "lib/core/clock.h"
#include "lib/service/hook.h"
#include "lib/core/mem.h"
#include "lib/core/name.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OUTPUT_SHOWN_MAX = 600, ENVIRONMENT_SIZE = 7, TEXT_MAX = 4096 };

struct acme_dns {
	const char *hook; /* NULL: not by dns-01 */
	const char *config;
	int64_t timeout; /* seconds */
	struct propagation_fallback fallback;
	const char *resolvers[LOOKUP_RESOLVERS_MAX + 1];
	struct lookup lookup;
	struct dns_record records[ACME_DNS_RECORDS_MAX]; /* that stand, or may */
	size_t count;
};

/* ---- records ---- */

static void record_release(struct dns_record *r)
{
	free(r->name);
	free(r->value);
	free(r->target);
	free(r->hook);
	free(r->config);
}

static void forget(struct acme_dns *d, size_t at)
{
	record_release(&d->records[at]);
	memmove(&d->records[at], &d->records[at + 1], (d->count - at - 1) * sizeof(d->records[0]));
	d->count--;
}

static bool is_same(const struct dns_record *r, const char *name, const char *value)
{
	return strcmp(r->name, name) == 0 && strcmp(r->value, value) == 0;
}

static char *copy_text(const cJSON *object, const char *key)
{
	const cJSON *value = json_get(object, key);
	return cJSON_IsString(value) ? mem_strdup(value->valuestring) : NULL;
}

static void take_leftover(struct acme_dns *d, const cJSON *object)
{
	struct dns_record r = {
		.name = copy_text(object, "name"),
		.value = copy_text(object, "value"),
		.target = copy_text(object, "target"),
		.hook = copy_text(object, "hook"),
		.config = copy_text(object, "config"),
	};
	if (r.name && r.value && r.target && r.hook && d->count < ACME_DNS_RECORDS_MAX / 2)
		d->records[d->count++] = r;
	else
		record_release(&r);
}

static cJSON *records_json(const struct acme_dns *d)
{
	cJSON *list = cJSON_CreateArray();
	for (size_t i = 0; i < d->count; i++) {
		const struct dns_record *r = &d->records[i];
		cJSON *object = cJSON_CreateObject();
		cJSON_AddStringToObject(object, "name", r->name);
		cJSON_AddStringToObject(object, "value", r->value);
		cJSON_AddStringToObject(object, "target", r->target);
		cJSON_AddStringToObject(object, "hook", r->hook);
		if (r->config)
			cJSON_AddStringToObject(object, "config", r->config);
		cJSON_AddItemToArray(list, object);
	}
	return list;
}

static int tell(struct acme *a, struct error *err)
{
	cJSON *list = records_json(a->dns);
	int result = talk_dns(&a->talk, list, err);
	cJSON_Delete(list);
	return result;
}

/* ---- the job ---- */

static int take_settings(struct acme_dns *d, const cJSON *job, struct error *err)
{
	const cJSON *dns = json_get(job, "dns"), *resolvers = json_get(job, "resolvers"), *element;
	size_t count = 0;
	cJSON_ArrayForEach (element, resolvers) {
		if (cJSON_IsString(element) && count < LOOKUP_RESOLVERS_MAX)
			d->resolvers[count++] = element->valuestring;
	}
	d->lookup.resolvers = d->resolvers;
	if (!dns)
		return 0;
	const cJSON *config = json_get(dns, "config");
	d->config = cJSON_IsString(config) ? config->valuestring : NULL;
	d->hook = json_string(dns, "hook", TEXT_MAX, err);
	if (!d->hook || json_i64(dns, "timeout", &d->timeout, err) < 0 ||
		json_bool(dns, "by_resolvers", &d->fallback.resolvers, err) < 0)
		return -1;
	return json_i64(dns, "wait", &d->fallback.wait, err);
}

int acme_dns_open(struct acme *a, struct error *err)
{
	const cJSON *record;
	a->dns = mem_alloc(sizeof(*a->dns));
	cJSON_ArrayForEach (record, json_get(a->job.message, "dns_leftovers")) {
		take_leftover(a->dns, record);
	}
	return take_settings(a->dns, a->job.message, err);
}

void acme_dns_close(struct acme *a)
{
	if (!a->dns)
		return;
	while (a->dns->count)
		forget(a->dns, a->dns->count - 1);
	free(a->dns);
	a->dns = NULL;
}

bool acme_dns_is_on(const struct acme *a)
{
	return a->dns && a->dns->hook;
}

/* ---- the hook ---- */

/* Returns the end of what the hook printed, on one line. */
static const char *last_words(char *output)
{
	text_clean(output, 0);
	size_t len = strlen(output);
	while (len && output[len - 1] == ' ')
		output[--len] = '\0';
	if (len <= OUTPUT_SHOWN_MAX)
		return len ? output : "it printed nothing";
	/* The cut must not go through a character. */
	char *from = output + len - OUTPUT_SHOWN_MAX;
	while ((*from & 0xc0) == 0x80)
		from++;
	return from;
}

static int call(struct acme *a, const struct dns_record *r, const char *verb, int64_t seconds, struct error *err)
{
	auto_free struct hook_result *result = mem_alloc(sizeof(*result));
	auto_free char *certificate = mem_printf("CERTSYNC_CERTIFICATE=%s", a->job.certificate);
	auto_free char *name = mem_printf("CERTSYNC_DNS_NAME=%s", r->name);
	auto_free char *value = mem_printf("CERTSYNC_DNS_VALUE=%s", r->value);
	auto_free char *target = mem_printf("CERTSYNC_DNS_TARGET=%s", r->target);
	auto_free char *config = mem_printf("CERTSYNC_DNS_CONFIG=%s", r->config ? r->config : "");
	const char *const argv[] = {r->hook, verb, r->name, r->value, NULL};
	const char *const envp[] = {PROC_PATH, certificate, name, value, target, r->config ? config : NULL, NULL};
	const struct hook_call hook = {.argv = argv, .envp = envp, .timeout = seconds, .stop_fd = a->talk.in.fd};
	if (hook_run(&hook, result, err) == 0) {
		if (result->exit_code == 0)
			return 0;
		error_set(err, ERROR_RETRY, "exited %d", result->exit_code);
	}
	struct error how = *err;
	return error_set(err, how.kind, "dns-01: %s %s %s: %s: %s", r->hook, verb, r->name, how.message,
		result->end == HOOK_NOT_STARTED ? "is it there and executable?" : last_words(result->output));
}

/* Returns how long one call of the hook may take. */
static int64_t seconds_until(int64_t deadline_ms, const struct acme_dns *d)
{
	int64_t left = (deadline_ms - clock_monotonic_ms()) / 1000;
	int64_t most = d->hook && d->timeout < ACME_DNS_HOOK_SECONDS ? d->timeout : ACME_DNS_HOOK_SECONDS;
	return left < most ? left : most;
}

/* Removes the records that are wanted, or those that are not. */
static void clean(struct acme *a, bool wanted)
{
	struct acme_dns *d = a->dns;
	struct error err;
	int64_t deadline = clock_monotonic_ms() + ACME_DNS_CLEAN_SECONDS * 1000;
	size_t before = d->count;
	for (size_t i = 0; i < d->count;) {
		int64_t seconds = seconds_until(deadline, d);
		if (d->records[i].wanted != wanted || seconds <= 0) {
			i++;
			continue;
		}
		talk_progress(&a->talk, "dns cleanup %s", d->records[i].name);
		if (call(a, &d->records[i], "cleanup", seconds, &err) == 0) {
			forget(d, i);
			continue;
		}
		talk_progress(&a->talk, "%s", err.message);
		i++;
	}
	if (d->count != before)
		tell(a, &err); /* a daemon that has gone is noticed where it matters */
}

void acme_dns_clean(struct acme *a)
{
	if (!a->dns)
		return;
	clean(a, true);
	clean(a, false);
}

/* ---- what an order needs ---- */

static void digest(const char *authorization, struct buf *out)
{
	uint8_t sha256[SHA256_DIGEST_LENGTH];
	SHA256((const uint8_t *)authorization, strlen(authorization), sha256);
	base64url_encode(sha256, sizeof(sha256), out);
}

int acme_dns_add(struct acme *a, const char *identifier, const char *authorization, struct error *err)
{
	struct acme_dns *d = a->dns;
	auto_free char *name = mem_printf("_acme-challenge.%s.", identifier);
	auto_buf struct buf value = BUF_INIT(64);
	char target[LOOKUP_NAME_MAX];
	digest(authorization, &value);
	for (size_t i = 0; i < d->count; i++) {
		/* The run before has left the record over, for an order that is resumed. */
		if (is_same(&d->records[i], name, buf_text(&value))) {
			d->records[i].wanted = true;
			return 0;
		}
	}
	if (d->count == ACME_DNS_RECORDS_MAX)
		return error_set(err, ERROR_PERMANENT, "dns-01: more than %d records", ACME_DNS_RECORDS_MAX);
	if (lookup_target(&d->lookup, name, target, err) < 0)
		return error_wrap(err, "dns-01");
	if (!name_is_record(target))
		return error_set(err, ERROR_PERMANENT,
			"dns-01: the CNAMEs of %s lead to \"%.253s\", which no hook is told: its letters "
			"are not those of a host name",
			name, target);
	d->records[d->count++] = (struct dns_record){
		.name = steal(name),
		.value = mem_strdup(buf_text(&value)),
		.target = mem_strdup(target),
		.hook = mem_strdup(d->hook),
		.config = d->config ? mem_strdup(d->config) : NULL,
		.wanted = true,
	};
	return 0;
}

static int write_all(struct acme *a, struct error *err)
{
	const struct acme_dns *d = a->dns;
	int64_t deadline = clock_monotonic_ms() + (ACME_DNS_HOOKS_SECONDS - 2 * ACME_DNS_CLEAN_SECONDS) * 1000;
	for (size_t i = 0; i < d->count; i++) {
		int64_t seconds = seconds_until(deadline, d);
		if (!d->records[i].wanted)
			continue;
		if (seconds <= 0)
			return error_set(
				err, ERROR_RETRY, "dns-01: %s takes too long for %zu records", d->hook, d->count);
		talk_progress(&a->talk, "dns present %s", d->records[i].name);
		if (call(a, &d->records[i], "present", seconds, err) < 0)
			return -1;
	}
	return 0;
}

static int present(struct acme *a, struct error *err)
{
	/* Records are kept before they are written, so that a crash leaves nothing that nobody knows of. */
	if (tell(a, err) < 0)
		return -1;
	clean(a, false);
	if (write_all(a, err) < 0)
		return -1;
	const struct propagation p = {.lookup = &a->dns->lookup,
		.records = a->dns->records,
		.count = a->dns->count,
		.timeout = a->dns->timeout,
		.fallback = a->dns->fallback};
	return propagation_wait(a, &p, err);
}

int acme_dns_present(struct acme *a, struct error *err)
{
	int64_t began = clock_monotonic_ms();
	bool any = false;
	for (size_t i = 0; i < a->dns->count; i++)
		any = any || a->dns->records[i].wanted;
	int result = any ? present(a, err) : 0;
	/* The time of the server's own steps begins after this. */
	a->deadline += clock_monotonic_ms() - began;
	return result;
}
