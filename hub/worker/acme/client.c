#include "hub/worker/acme/client.h"
#include "hub/worker/talk.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <string.h>

enum { EXCERPT_MAX = 160 };

/* ---- what the server says ---- */

const char *acme_url(const cJSON *object, const char *key, struct error *err)
{
	const char *url = json_string(object, key, URL_MAX - 1, err);
	if (!url || url_is_good(url))
		return url;
	error_set(err, ERROR_PERMANENT, "%s: the server gave \"%.200s\", which is not a URL of https", key, url);
	return NULL;
}

const char *acme_location(const struct acme_client *c, struct error *err)
{
	if (url_is_good(c->answer.location))
		return c->answer.location;
	error_set(err, ERROR_RETRY, "the server gave no Location that is a URL of https (\"%.200s\")",
		c->answer.location);
	return NULL;
}

static bool is_problem(const struct http_response *r)
{
	return strcmp(r->content_type, "application/problem+json") == 0 ||
		strcmp(r->content_type, "application/json") == 0;
}

static enum error_kind kind_of_status(long status)
{
	return status >= 500 || status == 429 || status == 408 || status < 400 ? ERROR_RETRY : ERROR_PERMANENT;
}

/* Reports an answer that is not ACME's, such as a proxy's page or a maintenance notice. Its beginning says what it
 * is. */
static int fail_strange(const struct http_response *r, const char *url, struct error *err)
{
	size_t len = r->body.len < EXCERPT_MAX ? r->body.len : EXCERPT_MAX;
	if (r->status >= 300 && r->status < 400)
		return error_set(err, ERROR_RETRY, "%s: answered %ld, a redirect to \"%.200s\", which is not followed",
			url, r->status, r->location);
	return error_set(err, kind_of_status(r->status), "%s: answered %ld with %s, which is not ACME: \"%.*s\"", url,
		r->status, r->content_type[0] ? r->content_type : "no type", (int)len,
		r->body.len ? (const char *)r->body.data : "");
}

static int fail_status(struct acme_client *c, const char *url, struct error *err)
{
	const struct http_response *r = &c->answer;
	struct error ignored;
	if (!is_problem(r))
		return fail_strange(r, url, err);
	auto_json cJSON *problem = json_parse(r->body.data, r->body.len, &ignored);
	if (!problem)
		return fail_strange(r, url, err);
	auto_free char *where = mem_printf("%s: answered %ld", url, r->status);
	acme_problem(problem, where, c->problem, err);
	if (kind_of_status(r->status) == ERROR_RETRY)
		err->kind = ERROR_RETRY;
	return -1;
}

static cJSON *parse_answer(const struct acme_client *c, const char *url, struct error *err)
{
	const struct http_response *r = &c->answer;
	if (strcmp(r->content_type, "application/json") != 0) {
		fail_strange(r, url, err);
		return NULL;
	}
	cJSON *object = json_parse(r->body.data, r->body.len, err);
	if (!object)
		error_wrap(err, "%s", url);
	return object;
}

/* ---- requests ---- */

static int send_request(struct acme_client *c, const struct http_request *request, struct error *err)
{
	c->problem[0] = '\0';
	c->requests++;
	if (http_send(c->http, request, &c->answer, err) < 0) {
		c->answer.status = 0;
		return -1;
	}
	if (c->answer.nonce[0])
		snprintf(c->nonce, sizeof(c->nonce), "%s", c->answer.nonce);
	return 0;
}

static int get_nonce(struct acme_client *c, struct error *err)
{
	const struct http_request request = {.method = HTTP_HEAD, .url = c->new_nonce};
	if (c->nonce[0])
		return 0;
	if (send_request(c, &request, err) < 0)
		return -1;
	if (c->answer.status >= 400)
		return fail_strange(&c->answer, c->new_nonce, err);
	if (!c->nonce[0])
		return error_set(err, ERROR_RETRY, "%s: answered %ld without a nonce", c->new_nonce, c->answer.status);
	return 0;
}

int acme_sign(struct acme_client *c, EVP_PKEY *key, const char *key_name, const struct jws_header *header,
	const char *payload, struct buf *out, struct error *err)
{
	auto_buf struct buf input = BUF_INIT(JWS_MAX);
	uint8_t signature[JWS_SIGNATURE_SIZE];
	if (jws_input(key, header, payload, &input, err) < 0 ||
		talk_sign(c->talk, key_name, &input, signature, err) < 0)
		return -1;
	return jws_finish(&input, signature, out, err);
}

static int post_once(struct acme_client *c, const char *url, const char *payload, const char *accept, struct error *err)
{
	auto_buf struct buf body = BUF_INIT(JWS_MAX);
	if (get_nonce(c, err) < 0)
		return -1;
	const struct jws_header header = {.kid = c->kid[0] ? c->kid : NULL, .nonce = c->nonce, .url = url};
	if (acme_sign(c, c->key, c->key_name, &header, payload, &body, err) < 0)
		return -1;
	c->nonce[0] = '\0';
	const struct http_request request = {
		.method = HTTP_POST,
		.url = url,
		.accept = accept,
		.content_type = "application/jose+json",
		.body = body.data,
		.body_len = body.len,
	};
	if (send_request(c, &request, err) < 0)
		return -1;
	return c->answer.status >= 200 && c->answer.status < 300 ? 0 : fail_status(c, url, err);
}

int acme_post(struct acme_client *c, const char *url, const char *payload, const char *accept, struct error *err)
{
	for (int i = 0; i < ACME_NONCE_TRIES; i++) {
		if (post_once(c, url, payload, accept, err) == 0)
			return 0;
		if (strcmp(c->problem, "badNonce") != 0)
			return -1;
	}
	return error_wrap(err, "refused %d times in a row", ACME_NONCE_TRIES);
}

cJSON *acme_post_json(struct acme_client *c, const char *url, const char *payload, struct error *err)
{
	return acme_post(c, url, payload, "application/json", err) < 0 ? NULL : parse_answer(c, url, err);
}

/* ---- the directory ---- */

static int take_url(const cJSON *directory, const char *key, char ret[URL_MAX], struct error *err)
{
	const char *url = acme_url(directory, key, err);
	if (!url)
		return -1;
	snprintf(ret, URL_MAX, "%s", url);
	return 0;
}

static int take_directory(struct acme_client *c, const cJSON *directory, struct error *err)
{
	const cJSON *meta = json_get(directory, "meta");
	struct error ignored;
	take_url(meta, "termsOfService", c->terms, &ignored);
	take_url(directory, "renewalInfo", c->renewal_info, &ignored);
	take_url(directory, "keyChange", c->key_change, &ignored);
	take_url(directory, "revokeCert", c->revoke_cert, &ignored);
	c->profiles = cJSON_Duplicate(json_get(meta, "profiles"), true);
	c->wants_external_account = cJSON_IsTrue(json_get(meta, "externalAccountRequired"));
	if (take_url(directory, "newNonce", c->new_nonce, err) < 0 ||
		take_url(directory, "newAccount", c->new_account, err) < 0 ||
		take_url(directory, "newOrder", c->new_order, err) < 0)
		return -1;
	return 0;
}

int acme_client_open(struct acme_client *c, const char *directory, const char *ca_file, struct error *err)
{
	const struct http_request request = {.method = HTTP_GET, .url = directory, .accept = "application/json"};
	c->answer.body = BUF_INIT(HTTP_BODY_MAX);
	c->http = http_new(ca_file, err);
	if (!c->http || send_request(c, &request, err) < 0)
		return -1;
	if (c->answer.status != 200)
		return fail_status(c, directory, err);
	auto_json cJSON *object = parse_answer(c, directory, err);
	if (!object)
		return -1;
	return take_directory(c, object, err) < 0 ? error_wrap(err, "%s", directory) : 0;
}

void acme_client_release(struct acme_client *c)
{
	http_free(c->http);
	cJSON_Delete(c->profiles);
	http_response_release(&c->answer);
	*c = (struct acme_client){0};
}
