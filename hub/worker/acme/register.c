#include "hub/worker/acme/flow.h"
#include "hub/common/jws.h"
#include "lib/core/base64.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <string.h>

enum { STATUS_MAX = 32, HMAC_FILE_MAX = 4096 };

static int may_register(const struct acme *a, struct error *err)
{
	const struct acme_client *c = &a->client;
	if (c->wants_external_account && !a->job.eab_kid)
		return error_set(err, ERROR_PERMANENT,
			"%s: takes only accounts bound to one that you have there: set eab_kid and eab_hmac in the "
			"acme section to what the authority gave you",
			a->job.directory);
	if (c->terms[0] && !a->job.agree_tos)
		return error_set(err, ERROR_PERMANENT,
			"the authority's terms of service are at %s: read them, then set "
			"agree_tos = true in the acme section",
			c->terms);
	return 0;
}

/* Reads the key as the file has it: one line of base64url, which RFC 8555 knows, or of base64, which some authorities
 * hand out. */
static int read_hmac(const struct acme *a, struct buf *out, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(HMAC_FILE_MAX);
	if (buf_add(&text, a->job.eab_hmac.data, a->job.eab_hmac.len) == 0 && buf_add(&text, "", 1) == 0) {
		char *line = (char *)text.data;
		size_t len = strlen(line);
		while (len > 0 && strchr(" \t\r\n", line[len - 1]))
			line[--len] = '\0';
		for (size_t i = 0; i < len; i++)
			line[i] = line[i] == '+' ? '-' : line[i] == '/' ? '_' : line[i];
		if (base64url_decode(line, out) == 0 && out->len > 0)
			return 0;
	}
	return error_set(err, ERROR_PERMANENT,
		"eab_hmac: the file does not hold a key in base64url or base64, one line as the authority gave it");
}

/* Adds the authority's own account, to which this one is bound. */
static int add_binding(const struct acme *a, cJSON *payload, struct error *err)
{
	auto_buf struct buf hmac = BUF_INIT(HMAC_FILE_MAX), binding = BUF_INIT(JWS_MAX / 2);
	if (!a->job.eab_kid)
		return 0;
	if (read_hmac(a, &hmac, err) < 0 ||
		jws_bind(a->client.key, a->job.eab_kid, &hmac, a->client.new_account, &binding, err) < 0)
		return -1;
	cJSON_AddRawToObject(payload, "externalAccountBinding", buf_text(&binding));
	return 0;
}

static int account_payload(const struct acme *a, struct buf *out, struct error *err)
{
	auto_json cJSON *payload = cJSON_CreateObject();
	if (add_binding(a, payload, err) < 0)
		return -1;
	if (a->job.agree_tos)
		cJSON_AddBoolToObject(payload, "termsOfServiceAgreed", true);
	if (a->job.contact_count)
		cJSON_AddItemToObject(
			payload, "contact", cJSON_CreateStringArray(a->job.contact, (int)a->job.contact_count));
	return json_print(payload, out) == 0 ? 0 : error_set(err, ERROR_PERMANENT, "the contacts are too long");
}

int acme_register(struct acme *a, struct error *err)
{
	auto_buf struct buf payload = BUF_INIT(JWS_MAX / 2);
	a->client.kid[0] = '\0';
	if (may_register(a, err) < 0 || account_payload(a, &payload, err) < 0)
		return -1;
	auto_json cJSON *account = acme_post_json(&a->client, a->client.new_account, buf_text(&payload), err);
	const char *url = account ? acme_location(&a->client, err) : NULL;
	const char *status = url ? json_string(account, "status", STATUS_MAX, err) : NULL;
	if (!status)
		return -1;
	if (strcmp(status, "valid") != 0)
		return error_set(err, ERROR_PERMANENT, "the account %s is %s: move its records away to make another",
			url, status);
	snprintf(a->client.kid, sizeof(a->client.kid), "%s", url);
	return talk_account(&a->talk, a->client.kid, err);
}

int acme_account(struct acme *a, struct error *err)
{
	talk_progress(&a->talk, "account");
	if (!a->job.account_key && talk_account_key(&a->talk, &a->job.account_key, err) < 0)
		return -1;
	a->client.talk = &a->talk;
	a->client.key = a->job.account_key;
	a->client.key_name = "account";
	if (!a->job.account_url || !url_is_good(a->job.account_url))
		return acme_register(a, err);
	snprintf(a->client.kid, sizeof(a->client.kid), "%s", a->job.account_url);
	return 0;
}
