#include "hub/acme_flow.h"
#include "hub/jws.h"
#include "lib/mem.h"
#include "lib/name.h"

#include <stdio.h>
#include <string.h>

enum { AUTHORIZATIONS_MAX = 2 * ACME_NAMES_MAX, TOKEN_MAX = 256, STATUS_MAX = 32 };

static const char *name_of(const cJSON *authorization)
{
	const cJSON *value = json_get(json_get(authorization, "identifier"), "value");
	return cJSON_IsString(value) && name_is_dns(value->valuestring, false) ? value->valuestring : "?";
}

static const cJSON *http01_of(const cJSON *authorization, struct error *err)
{
	auto_buf struct buf offered = BUF_INIT(512);
	const cJSON *list = json_array(authorization, "challenges", 32, err), *challenge;
	if (!list)
		return NULL;
	cJSON_ArrayForEach(challenge, list)
	{
		const char *type = json_string(challenge, "type", STATUS_MAX, err);
		if (type && strcmp(type, "http-01") == 0)
			return challenge;
		buf_addf(&offered, "%s%s", offered.len ? ", " : "", type ? type : "?");
	}
	error_set(err, ERROR_PERMANENT, "the server does not offer http-01 for %s, only %s",
		name_of(authorization), offered.len ? buf_text(&offered) : "nothing");
	return NULL;
}

/* Has the daemon serve the answer. */
static int serve(struct acme *a, const cJSON *challenge, struct error *err)
{
	char thumbprint[JWS_THUMBPRINT_MAX];
	const char *token = json_string(challenge, "token", TOKEN_MAX, err);
	if (!token || jws_thumbprint(a->client.key, thumbprint, err) < 0)
		return -1;
	if (!base64url_is(token, TOKEN_MAX))
		return error_set(err, ERROR_PERMANENT, "the server's token \"%s\" is not base64url", token);
	auto_free char *authorization = mem_printf("%s.%s", token, thumbprint);
	return talk_challenge(&a->talk, token, authorization, err);
}

static int answer(struct acme *a, const cJSON *authorization, struct error *err)
{
	const cJSON *challenge = http01_of(authorization, err);
	const char *url = challenge ? acme_url(challenge, "url", err) : NULL;
	const char *status = url ? json_string(challenge, "status", STATUS_MAX, err) : NULL;
	if (!status)
		return -1;
	talk_progress(&a->talk, "challenge %s", name_of(authorization));
	if (serve(a, challenge, err) < 0)
		return -1;
	/* In an order that is resumed the server may have been told already. */
	if (strcmp(status, "pending") != 0)
		return 0;
	auto_json cJSON *accepted = acme_post_json(&a->client, url, "{}", err);
	return accepted ? 0 : -1;
}

/* Why it came to nothing: the problem that a challenge carries. */
static int fail(struct acme *a, const cJSON *authorization, const char *status, struct error *err)
{
	const cJSON *challenge, *problem = NULL;
	cJSON_ArrayForEach(challenge, json_get(authorization, "challenges"))
	{
		problem = problem ? problem : json_get(challenge, "error");
	}
	a->gone = true;
	if (problem) {
		auto_free char *where = mem_printf("challenge %s", name_of(authorization));
		return acme_problem(problem, where, NULL, err);
	}
	return error_set(err, ERROR_RETRY, "the authorization of %s is %s", name_of(authorization), status);
}

/* 1 valid, 0 still pending, -1. */
static int judge(struct acme *a, const cJSON *authorization, struct error *err)
{
	const char *status = json_string(authorization, "status", STATUS_MAX, err);
	if (!status)
		return -1;
	if (strcmp(status, "valid") == 0)
		return 1;
	return strcmp(status, "pending") == 0 ? 0 : fail(a, authorization, status, err);
}

static int begin(struct acme *a, const char *url, struct error *err)
{
	auto_json cJSON *authorization = acme_post_json(&a->client, url, NULL, err);
	int state = authorization ? judge(a, authorization, err) : -1;
	return state == 0 ? answer(a, authorization, err) : state;
}

static int finish(struct acme *a, const char *url, struct error *err)
{
	for (unsigned tries = 0;; tries++) {
		auto_json cJSON *authorization = acme_post_json(&a->client, url, NULL, err);
		int state = authorization ? judge(a, authorization, err) : -1;
		if (state != 0)
			return state;
		auto_free char *what = mem_printf("validation of %s", name_of(authorization));
		if (acme_wait(a, tries, what, err) < 0)
			return -1;
	}
}

int acme_authorize(struct acme *a, struct error *err)
{
	const char *urls[AUTHORIZATIONS_MAX];
	size_t count = 0;
	const cJSON *list = json_array(a->order, "authorizations", AUTHORIZATIONS_MAX, err), *element;
	if (!list)
		return -1;
	cJSON_ArrayForEach(element, list)
	{
		urls[count] = json_element(element, URL_MAX - 1, err);
		if (!urls[count])
			return error_wrap(err, "authorizations");
		int started = begin(a, urls[count], err);
		if (started < 0)
			return -1;
		count += started == 0; /* valid already: nothing to wait for */
	}
	for (size_t i = 0; i < count; i++)
		if (finish(a, urls[i], err) < 0)
			return -1;
	return 0;
}
