#include "hub/worker/acme/dns.h"
#include "hub/worker/acme/flow.h"
#include "hub/common/jws.h"
#include "lib/core/mem.h"
#include "lib/core/name.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AUTHORIZATIONS_MAX = 2 * ACME_NAMES_MAX, TOKEN_MAX = 256, STATUS_MAX = 32 };

static const char *name_of(const cJSON *authorization)
{
	const cJSON *value = json_get(json_get(authorization, "identifier"), "value");
	return cJSON_IsString(value) && name_is_dns(value->valuestring, false) ? value->valuestring : "?";
}

/* An authorization that is not valid yet. */
struct pending {
	char *url;       /* owned */
	char *challenge; /* owned: the URL that the server is to be told of; NULL: it has been told */
};

static const cJSON *find_challenge(const cJSON *authorization, const char *wanted, struct error *err)
{
	auto_buf struct buf offered = BUF_INIT(512);
	const cJSON *list = json_array(authorization, "challenges", 32, err), *challenge;
	if (!list)
		return NULL;
	cJSON_ArrayForEach(challenge, list)
	{
		const char *type = json_string(challenge, "type", STATUS_MAX, err);
		if (type && strcmp(type, wanted) == 0)
			return challenge;
		buf_addf(&offered, "%s%s", offered.len ? ", " : "", type ? type : "?");
	}
	error_set(err, ERROR_PERMANENT, "the server does not offer %s for %s, only %s", wanted,
		name_of(authorization), offered.len ? buf_text(&offered) : "nothing");
	return NULL;
}

/* Has the daemon serve the answer, or keeps it for the DNS. */
static int prepare(struct acme *a, const cJSON *authorization, const cJSON *challenge, struct error *err)
{
	char thumbprint[JWS_THUMBPRINT_MAX];
	const char *token = json_string(challenge, "token", TOKEN_MAX, err);
	if (!token || jws_thumbprint(a->client.key, thumbprint, err) < 0)
		return -1;
	if (!base64url_is(token, TOKEN_MAX))
		return error_set(err, ERROR_PERMANENT, "the server's token \"%s\" is not base64url", token);
	auto_free char *answer = mem_printf("%s.%s", token, thumbprint);
	if (!acme_dns_is_on(a))
		return talk_challenge(&a->talk, token, answer, err);
	const char *name = name_of(authorization);
	if (name[0] == '?')
		return error_set(err, ERROR_PERMANENT, "the server's authorization is not for a name");
	return acme_dns_add(a, name, answer, err);
}

static int begin_pending(struct acme *a, const cJSON *authorization, struct pending *p, struct error *err)
{
	const char *type = acme_dns_is_on(a) ? "dns-01" : "http-01";
	const cJSON *challenge = find_challenge(authorization, type, err);
	const char *url = challenge ? acme_url(challenge, "url", err) : NULL;
	const char *status = url ? json_string(challenge, "status", STATUS_MAX, err) : NULL;
	if (!status)
		return -1;
	talk_progress(&a->talk, "challenge %s", name_of(authorization));
	if (prepare(a, authorization, challenge, err) < 0)
		return -1;
	/* In an order that is resumed the server may have been told already. */
	if (strcmp(status, "pending") == 0)
		p->challenge = mem_strdup(url);
	return 0;
}

static int tell_server(struct acme *a, const struct pending *p, struct error *err)
{
	if (!p->challenge)
		return 0;
	auto_json cJSON *accepted = acme_post_json(&a->client, p->challenge, "{}", err);
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
	if (strcmp(status, "invalid") == 0)
		talk_invalid(&a->talk, name_of(authorization));
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

static int begin(struct acme *a, struct pending *p, struct error *err)
{
	auto_json cJSON *authorization = acme_post_json(&a->client, p->url, NULL, err);
	int state = authorization ? judge(a, authorization, err) : -1;
	return state == 0 ? begin_pending(a, authorization, p, err) : state;
}

/* Whether any of them has failed, and why. */
static int look_at_each(struct acme *a, const struct pending *pending, size_t count, struct error *err)
{
	for (size_t i = 0; i < count; i++) {
		auto_json cJSON *authorization = acme_post_json(&a->client, pending[i].url, NULL, err);
		if (!authorization || judge(a, authorization, err) < 0)
			return -1;
	}
	return 0;
}

/* The order tells of all its authorizations at once: asking each of them would be a request a name and round. They are
 * asked when it says no, and now and then, should a server leave the order as it was when one has failed. */
static int finish(struct acme *a, const struct pending *pending, size_t count, struct error *err)
{
	auto_free char *what = mem_printf("validation of %zu name%s", count, count == 1 ? "" : "s");
	for (unsigned tries = 0;; tries++) {
		if (acme_wait(a, tries, what, err) < 0 || acme_refresh(a, err) < 0)
			return -1;
		const char *status = json_string(a->order, "status", STATUS_MAX, err);
		bool waits = status && strcmp(status, "pending") == 0;
		if (!status)
			return -1;
		if ((strcmp(status, "invalid") == 0 || (waits && tries % 4 == 3)) &&
			look_at_each(a, pending, count, err) < 0)
			return -1;
		if (!waits)
			return 0;
	}
}

static int begin_all(struct acme *a, struct pending *pending, size_t *ret_count, struct error *err)
{
	const cJSON *list = json_array(a->order, "authorizations", AUTHORIZATIONS_MAX, err), *element;
	if (!list)
		return -1;
	cJSON_ArrayForEach(element, list)
	{
		struct pending *p = &pending[*ret_count];
		const char *url = json_element(element, URL_MAX - 1, err);
		if (!url)
			return error_wrap(err, "authorizations");
		free(p->url);
		p->url = mem_strdup(url);
		int started = begin(a, p, err);
		if (started < 0)
			return -1;
		*ret_count += started == 0; /* valid already: nothing to wait for */
	}
	return 0;
}

static int authorize(struct acme *a, struct pending *pending, size_t *ret_count, struct error *err)
{
	if (begin_all(a, pending, ret_count, err) < 0 || acme_dns_present(a, err) < 0)
		return -1;
	for (size_t i = 0; i < *ret_count; i++)
		if (tell_server(a, &pending[i], err) < 0)
			return -1;
	return *ret_count ? finish(a, pending, *ret_count, err) : acme_refresh(a, err);
}

int acme_authorize(struct acme *a, struct error *err)
{
	struct pending pending[AUTHORIZATIONS_MAX] = {0};
	size_t count = 0;
	int result = authorize(a, pending, &count, err);
	acme_dns_clean(a);
	for (size_t i = 0; i < COUNT(pending); i++) {
		free(pending[i].url);
		free(pending[i].challenge);
	}
	return result;
}
