#include "hub/worker/acme/flow.h"
#include "hub/common/ari.h"
#include "hub/common/jws.h"
#include "lib/core/base64.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
	STEPS_MAX = 16, /* pending, ready, processing, valid: an order that goes round in circles is stopped */
	STATUS_MAX = 32,
	CSR_MAX = 48 * 1024,
};

/* The server would refuse an unknown profile with less of a reason, or pass over it. */
static int check_profile(const struct acme *a, struct error *err)
{
	auto_buf struct buf offered = BUF_INIT(512);
	const cJSON *profile;
	if (!a->job.profile || json_get(a->client.profiles, a->job.profile))
		return 0;
	cJSON_ArrayForEach (profile, a->client.profiles) {
		if (buf_addf(&offered, "%s%s", offered.len ? ", " : "", profile->string) < 0)
			break;
	}
	return error_set(err, ERROR_PERMANENT,
		"profile \"%s\": %s does not offer it, %s%s: correct profile in the certificate section",
		a->job.profile, a->job.directory, offered.len ? "only " : "nor any other", buf_text(&offered));
}

static int order_payload(const struct acme *a, struct buf *out)
{
	auto_json cJSON *payload = cJSON_CreateObject();
	cJSON *list = cJSON_AddArrayToObject(payload, "identifiers");
	for (size_t i = 0; i < a->job.name_count; i++) {
		cJSON *identifier = cJSON_CreateObject();
		cJSON_AddStringToObject(identifier, "type", "dns");
		cJSON_AddStringToObject(identifier, "value", a->job.names[i]);
		cJSON_AddItemToArray(list, identifier);
	}
	if (a->job.profile)
		cJSON_AddStringToObject(payload, "profile", a->job.profile);
	if (a->pair->replaces)
		cJSON_AddStringToObject(payload, "replaces", a->pair->replaces);
	return json_print(payload, out);
}

static int ask_for_order(struct acme *a, struct error *err)
{
	auto_buf struct buf payload = BUF_INIT(JWS_MAX / 2);
	if (order_payload(a, &payload) < 0)
		return error_set(err, ERROR_PERMANENT, "the names are too long for one order");
	return acme_take_order(a, acme_post_json(&a->client, a->client.new_order, buf_text(&payload), err));
}

/* What the order replaces is advice to the server (RFC 9773 section 5), which may refuse it for many reasons: another
 * order did it already, the certificate is another account's (403 of Pebble), it shares no name with it (500). Such a
 * server takes the order without it. A server that has too much to do is not asked again at once. */
static bool may_be_about_replaces(const struct acme *a)
{
	long status = a->client.answer.status;
	return a->pair->replaces && status >= 400 && status != 429 && status != 503 &&
		strcmp(a->client.problem, "rateLimited") != 0;
}

static int ask_for_order_replacing(struct acme *a, struct error *err)
{
	int result = ask_for_order(a, err);
	if (result == 0 || !may_be_about_replaces(a))
		return result;
	struct error refusal = *err;
	const char *replaces = a->pair->replaces;
	a->pair->replaces = NULL;
	result = ask_for_order(a, err);
	if (result == 0)
		talk_warning(&a->talk, refusal.message);
	else
		a->pair->replaces = replaces; /* it was refused for something else */
	return result;
}

static bool is_asked_for(const struct acme *a, const cJSON *identifier)
{
	bool found = false;
	for (size_t i = 0; strcmp(json_text(identifier, "type"), "dns") == 0 && i < a->job.name_count; i++)
		found = found || strcasecmp(json_text(identifier, "value"), a->job.names[i]) == 0;
	return found;
}

/* The order must have just what was asked for: nothing less, and nothing else. */
static int check_identifiers(struct acme *a, struct error *err)
{
	const cJSON *list = json_array(a->order, "identifiers", 2 * ACME_NAMES_MAX, err), *element;
	if (!list)
		return -1;
	cJSON_ArrayForEach (element, list) {
		if (is_asked_for(a, element))
			continue;
		a->gone = true;
		return error_set(err, ERROR_UNTRUSTED,
			"order-foreign: the server's order has \"%.253s\", which was not asked for",
			json_text(element, "value"));
	}
	for (size_t i = 0; i < a->job.name_count; i++) {
		bool found = false;
		cJSON_ArrayForEach (element, list) {
			const cJSON *value = json_get(element, "value");
			found = found ||
				(cJSON_IsString(value) && strcasecmp(value->valuestring, a->job.names[i]) == 0);
		}
		if (found)
			continue;
		a->gone = true;
		return error_set(
			err, ERROR_UNTRUSTED, "the server's order lacks %s, which was asked for", a->job.names[i]);
	}
	return 0;
}

/* The key comes first: an order must never exist at the server without the key to end it with. */
static int order_new(struct acme *a, struct error *err)
{
	a->resumed = a->gone = a->overdue = false;
	a->problem[0] = '\0';
	a->order_url[0] = '\0';
	talk_progress(&a->talk, "order");
	if (check_profile(a, err) < 0 || talk_new_key(&a->talk, a->pair_number, &a->pair->key, err) < 0)
		return -1;
	const char *url = ask_for_order_replacing(a, err) == 0 ? acme_location(&a->client, err) : NULL;
	if (!url)
		return -1;
	snprintf(a->order_url, sizeof(a->order_url), "%s", url);
	return talk_order(&a->talk, a->pair_number, a->order_url, err);
}

/* An order may have been left until it could not be ended any more, by the server's own clock where it has one. */
static int check_expiry(struct acme *a, struct error *err)
{
	const cJSON *status = json_get(a->order, "status"), *expires = json_get(a->order, "expires");
	int64_t now = a->client.answer.date ? a->client.answer.date : clock_wall(), end;
	if (!cJSON_IsString(expires) || !cJSON_IsString(status) || !ari_date(expires->valuestring, &end) || end > now ||
		(strcmp(status->valuestring, "pending") != 0 && strcmp(status->valuestring, "ready") != 0))
		return 0;
	a->gone = true;
	return error_set(err, ERROR_RETRY, "the stored order expired %s", expires->valuestring);
}

static int order_resume(struct acme *a, struct error *err)
{
	a->resumed = true;
	snprintf(a->order_url, sizeof(a->order_url), "%s", a->pair->order_url);
	talk_progress(&a->talk, "order (resumed)");
	return acme_refresh(a, err) < 0 ? -1 : check_expiry(a, err);
}

/* If the server has forgotten the account (a test server that was started anew), the same key makes it again, and what
 * it had ordered is forgotten too. */
static int order_begin(struct acme *a, struct error *err)
{
	bool stored = a->pair->order_url && a->pair->key;
	int result = stored ? order_resume(a, err) : order_new(a, err);
	if (result == 0 || strcmp(a->client.problem, "accountDoesNotExist") != 0 || !a->job.account_url)
		return result;
	if (acme_register(a, err) < 0)
		return -1;
	if (!stored)
		return order_new(a, err);
	a->gone = true;
	return error_set(err, ERROR_RETRY, "the server has forgotten the account and its order");
}

/* Asks until the order has left `status`. */
static int leave_status(struct acme *a, const char *status, struct error *err)
{
	auto_free char *what = mem_printf("order %s", status);
	for (unsigned tries = 0;; tries++) {
		const char *now = json_string(a->order, "status", STATUS_MAX, err);
		if (!now || strcmp(now, status) != 0)
			return now ? 0 : -1;
		if (acme_wait(a, tries, what, err) < 0 || acme_refresh(a, err) < 0)
			return -1;
	}
}

static int on_pending(struct acme *a, struct error *err)
{
	if (acme_authorize(a, err) < 0)
		return -1;
	return leave_status(a, "pending", err);
}

static int finalize(struct acme *a, struct error *err)
{
	auto_buf struct buf der = BUF_INIT(CSR_MAX), payload = BUF_INIT(CSR_MAX);
	const char *url = acme_url(a->order, "finalize", err);
	if (!url)
		return -1;
	talk_progress(&a->talk, "finalize");
	if (talk_csr(&a->talk, a->pair_number, &der, err) < 0)
		return -1;
	if (buf_addf(&payload, "{\"csr\":\"") < 0 || base64url_encode(der.data, der.len, &payload) < 0 ||
		buf_addf(&payload, "\"}") < 0)
		return error_set(err, ERROR_PERMANENT, "the signing request is too long");
	if (acme_take_order(a, acme_post_json(&a->client, url, buf_text(&payload), err)) == 0)
		return 0;
	if (strcmp(a->client.problem, "orderNotReady") == 0)
		return acme_refresh(a, err);
	/* The same request would be refused again, with this order and this key. */
	a->gone = a->client.problem[0] && err->kind == ERROR_PERMANENT;
	return -1;
}

static int on_invalid(struct acme *a, struct error *err)
{
	a->gone = true;
	return acme_problem(json_get(a->order, "error"), "the order became invalid", a->problem, err);
}

/* Goes step by step through RFC 8555 section 7.1.6; a resumed order begins wherever it is. */
static int order_follow(struct acme *a, struct error *err)
{
	for (int i = 0; i < STEPS_MAX; i++) {
		const char *status = json_string(a->order, "status", STATUS_MAX, err);
		int result;
		if (!status || (i == 0 && check_identifiers(a, err) < 0))
			return error_wrap(err, "%s", a->order_url);
		if (strcmp(status, "valid") == 0)
			return acme_download(a, err);
		if (strcmp(status, "pending") == 0)
			result = on_pending(a, err);
		else if (strcmp(status, "ready") == 0)
			result = finalize(a, err);
		else if (strcmp(status, "processing") == 0)
			result = leave_status(a, "processing", err);
		else if (strcmp(status, "invalid") == 0)
			result = on_invalid(a, err);
		else
			result = error_set(err, ERROR_RETRY, "%s: unknown status \"%s\"", a->order_url, status);
		if (result < 0)
			return -1;
	}
	return error_set(err, ERROR_RETRY, "%s: the order changes its state without an end", a->order_url);
}

/* Tells the daemon of an order that is gone; its reason stays the error. */
static int order_attempt(struct acme *a, int (*begin)(struct acme *a, struct error *err), struct error *err)
{
	struct error lost;
	if (begin(a, err) == 0 && order_follow(a, err) == 0)
		return 0;
	if (a->gone && talk_gone(&a->talk, a->pair_number, err->message, &lost) < 0)
		*err = lost;
	return -1;
}

int acme_order(struct acme *a, struct error *err)
{
	if (order_attempt(a, order_begin, err) == 0)
		return 0;
	/* A stored order that came to nothing while nobody looked is no failure yet. */
	return a->resumed && a->gone ? order_attempt(a, order_new, err) : -1;
}
