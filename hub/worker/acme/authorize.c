#include "hub/worker/acme/dns.h"
#include "hub/worker/acme/flow.h"
#include "hub/common/jws.h"
#include "lib/core/base64.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { AUTHORIZATIONS_MAX = 2 * ACME_NAMES_MAX, TOKEN_MAX = 256, STATUS_MAX = 32 };

/* An authorization of the order. Its name is ours, as it is in the job: what the server calls it decides which one it
 * is, and goes nowhere. */
struct pending {
	char *url;            /* owned */
	const char *name;     /* borrowed from the job, without "*." */
	cJSON *authorization; /* owned: as the server gave it */
	bool valid;           /* already: there is nothing to do */
	char *challenge;      /* owned: the URL that the server is to be told of; NULL: it has been told */
};

struct all {
	struct pending pending[AUTHORIZATIONS_MAX];
	size_t count, waiting;     /* waiting: those that are not valid yet */
	bool seen[ACME_NAMES_MAX]; /* the job's names that have had theirs */
};

/* ---- which is whose ---- */

/* Returns the number of the job's name that an authorization is for (RFC 8555 section 7.1.4); a wildcard's has the name
 * below "*." and says "wildcard". The server names what a DNS hook will write, so it is believed in nothing that was
 * not asked for. */
static int find_name(const struct acme *a, const cJSON *authorization, struct error *err)
{
	const cJSON *identifier = json_get(authorization, "identifier"),
		    *wildcard = json_get(authorization, "wildcard");
	const char *value = json_text(identifier, "value"), *star = cJSON_IsTrue(wildcard) ? "*." : "";
	for (size_t i = 0; strcmp(json_text(identifier, "type"), "dns") == 0 && i < a->job.name_count; i++) {
		const char *name = a->job.names[i];
		bool is_wildcard = strncmp(name, "*.", 2) == 0;
		if (is_wildcard == (*star != '\0') && strcasecmp(name + (is_wildcard ? 2 : 0), value) == 0)
			return (int)i;
	}
	return error_set(err, ERROR_UNTRUSTED,
		"authorization-foreign: the server wants \"%s%.253s\" proven, which was not asked for: "
		"nothing was proven to it; should that go on, have the authority explain it, or use another",
		star, value);
}

static int take_name(struct acme *a, struct all *all, struct pending *p, struct error *err)
{
	int at = find_name(a, p->authorization, err);
	if (at < 0)
		return -1;
	if (all->seen[at])
		return error_set(err, ERROR_UNTRUSTED,
			"authorization-twice: the server wants %s proven twice in one order: nothing was "
			"proven to it",
			a->job.names[at]);
	all->seen[at] = true;
	p->name = a->job.names[at] + (strncmp(a->job.names[at], "*.", 2) == 0 ? 2 : 0);
	return 0;
}

/* ---- proving ---- */

static const cJSON *find_challenge(const struct pending *p, const char *wanted, struct error *err)
{
	auto_buf struct buf offered = BUF_INIT(512);
	const cJSON *list = json_array(p->authorization, "challenges", 32, err), *challenge;
	if (!list)
		return NULL;
	cJSON_ArrayForEach (challenge, list) {
		const char *type = json_string(challenge, "type", STATUS_MAX, err);
		if (type && strcmp(type, wanted) == 0)
			return challenge;
		buf_addf(&offered, "%s%s", offered.len ? ", " : "", type ? type : "?");
	}
	error_set(err, ERROR_PERMANENT, "the server does not offer %s for %s, only %s", wanted, p->name,
		offered.len ? buf_text(&offered) : "nothing");
	return NULL;
}

/* Makes the daemon serve the answer, or keeps it for the DNS. */
static int prepare(struct acme *a, const struct pending *p, const cJSON *challenge, struct error *err)
{
	char thumbprint[JWS_THUMBPRINT_MAX];
	const char *token = json_string(challenge, "token", TOKEN_MAX, err);
	if (!token || jws_thumbprint(a->client.key, thumbprint, err) < 0)
		return -1;
	if (!base64url_is(token, TOKEN_MAX))
		return error_set(err, ERROR_PERMANENT, "the server's token \"%s\" is not base64url", token);
	auto_free char *answer = mem_printf("%s.%s", token, thumbprint);
	if (!acme_dns_is_on(a))
		return talk_challenge(&a->talk, p->name, token, answer, err);
	return acme_dns_add(a, p->name, answer, err);
}

static int begin(struct acme *a, struct pending *p, struct error *err)
{
	const char *type = acme_dns_is_on(a) ? "dns-01" : a->job.tls_alpn ? "tls-alpn-01" : "http-01";
	const cJSON *challenge = find_challenge(p, type, err);
	const char *url = challenge ? acme_url(challenge, "url", err) : NULL;
	const char *status = url ? json_string(challenge, "status", STATUS_MAX, err) : NULL;
	if (!status)
		return -1;
	talk_progress(&a->talk, "challenge %s", p->name);
	if (prepare(a, p, challenge, err) < 0)
		return -1;
	/* In an order that is resumed the server may have been told already. */
	if (strcmp(status, "pending") == 0)
		p->challenge = mem_strdup(url);
	return 0;
}

/* Says why it came to nothing, by the problem that a challenge has. */
static int fail(struct acme *a, const struct pending *p, const char *status, struct error *err)
{
	const cJSON *challenge, *problem = NULL;
	cJSON_ArrayForEach (challenge, json_get(p->authorization, "challenges")) {
		problem = problem ? problem : json_get(challenge, "error");
	}
	a->gone = true;
	if (strcmp(status, "invalid") == 0)
		talk_invalid(&a->talk, p->name);
	if (problem) {
		auto_free char *where = mem_printf("challenge %s", p->name);
		return acme_problem(problem, where, a->problem, err);
	}
	return error_set(err, ERROR_RETRY, "the authorization of %s is %s", p->name, status);
}

/* Asks the server for the authorization. */
static int look_at(struct acme *a, struct pending *p, struct error *err)
{
	cJSON_Delete(p->authorization);
	p->authorization = acme_post_json(&a->client, p->url, NULL, err);
	return p->authorization ? 0 : -1;
}

/* Returns -1 with the reason when the authorization has failed. */
static int judge(struct acme *a, struct pending *p, struct error *err)
{
	const char *status = json_string(p->authorization, "status", STATUS_MAX, err);
	if (!status)
		return -1;
	p->valid = strcmp(status, "valid") == 0;
	return p->valid || strcmp(status, "pending") == 0 ? 0 : fail(a, p, status, err);
}

static int tell_server(struct acme *a, const struct pending *p, struct error *err)
{
	if (!p->challenge)
		return 0;
	auto_json cJSON *accepted = acme_post_json(&a->client, p->challenge, "{}", err);
	return accepted ? 0 : -1;
}

/* Returns -1 with the reason when any of them has failed. */
static int look_at_each(struct acme *a, struct all *all, struct error *err)
{
	for (size_t i = 0; i < all->count; i++) {
		struct pending *p = &all->pending[i];
		if (!p->valid && (look_at(a, p, err) < 0 || judge(a, p, err) < 0))
			return -1;
	}
	return 0;
}

/* The order shows the state of all its authorizations at once; asking for each of them would take a request for each
 * name and round. They are asked for when the order says no, and now and then, in case a server leaves the order as it
 * was when one has failed. */
static int finish(struct acme *a, struct all *all, struct error *err)
{
	auto_free char *what = mem_printf("validation of %zu name%s", all->waiting, all->waiting == 1 ? "" : "s");
	for (unsigned tries = 0;; tries++) {
		if (acme_wait(a, tries, what, err) < 0 || acme_refresh(a, err) < 0)
			return -1;
		const char *status = json_string(a->order, "status", STATUS_MAX, err);
		bool waits = status && strcmp(status, "pending") == 0;
		if (!status)
			return -1;
		if ((strcmp(status, "invalid") == 0 || (waits && tries % 4 == 3)) && look_at_each(a, all, err) < 0)
			return -1;
		if (!waits)
			return 0;
	}
}

/* Gets all authorizations before anything is proven. */
static int take_all(struct acme *a, struct all *all, struct error *err)
{
	const cJSON *list = json_array(a->order, "authorizations", AUTHORIZATIONS_MAX, err), *element;
	if (!list)
		return -1;
	cJSON_ArrayForEach (element, list) {
		struct pending *p = &all->pending[all->count];
		const char *url = json_element(element, URL_MAX - 1, err);
		if (!url)
			return error_wrap(err, "authorizations");
		p->url = mem_strdup(url);
		all->count++;
		if (look_at(a, p, err) < 0)
			return -1;
		if (take_name(a, all, p, err) < 0) {
			a->gone = true;
			return -1;
		}
		if (judge(a, p, err) < 0)
			return -1;
		all->waiting += !p->valid;
	}
	return 0;
}

static int authorize(struct acme *a, struct all *all, struct error *err)
{
	if (take_all(a, all, err) < 0)
		return -1;
	for (size_t i = 0; i < all->count; i++)
		if (!all->pending[i].valid && begin(a, &all->pending[i], err) < 0)
			return -1;
	if (acme_dns_present(a, err) < 0)
		return -1;
	for (size_t i = 0; i < all->count; i++)
		if (tell_server(a, &all->pending[i], err) < 0)
			return -1;
	return all->waiting ? finish(a, all, err) : acme_refresh(a, err);
}

int acme_authorize(struct acme *a, struct error *err)
{
	struct all all = {.count = 0};
	int result = authorize(a, &all, err);
	acme_dns_clean(a);
	for (size_t i = 0; i < all.count; i++) {
		free(all.pending[i].url);
		free(all.pending[i].challenge);
		cJSON_Delete(all.pending[i].authorization);
	}
	return result;
}
