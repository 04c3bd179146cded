#include "hub/daemon/acme/preflight.h"
#include "hub/daemon/acme/challenge.h"
#include "hub/daemon/acme/responder.h"
#include "hub/common/worker_jobs.h"
#include "hub/daemon/acme/account_key.h"
#include "hub/daemon/job.h"
#include "hub/common/jws.h"
#include "lib/core/base64.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { TOKEN_BYTES = 24, TOKEN_MAX = 64, TEXT_FINDINGS_MAX = 4 };

struct preflight {
	struct hub *hub;
	struct job *job;
	preflight_done *done;
	void *context;
	char token[TOKEN_MAX];
	cJSON *wish; /* the worker's job; owned */
	bool tls_alpn;
	size_t added, ready; /* names that the tls-alpn-01 responder has been given, and that it answers for */
	cJSON *findings;
	size_t bad;
};

static void preflight_free(struct preflight *p)
{
	const cJSON *names = json_get(p->wish, "names");
	if (!p->tls_alpn)
		challenge_remove(p->hub->challenge, p->token);
	while (p->added > 0)
		responder_remove(p->hub->responder, cJSON_GetArrayItem(names, (int)--p->added)->valuestring);
	cJSON_Delete(p->wish);
	cJSON_Delete(p->findings);
	free(p);
}

static void on_message(const char *event, const cJSON *message, void *context)
{
	struct preflight *p = context;
	struct error ignored;
	bool ok = false;
	if (strcmp(event, "finding") != 0 || json_bool(message, "ok", &ok, &ignored) < 0 ||
		!json_string(message, "name", 253, &ignored) || !json_string(message, "address", 128, &ignored) ||
		!json_string(message, "text", 512, &ignored))
		return;
	cJSON *finding = cJSON_Duplicate(message, true);
	cJSON_DeleteItemFromObjectCaseSensitive(finding, "event");
	cJSON_AddItemToArray(p->findings, finding);
	p->bad += !ok;
}

static void on_ended(const struct error *err, void *context)
{
	struct preflight *p = context;
	cJSON *findings = err->kind == ERROR_NONE ? steal(p->findings) : NULL;
	p->done(findings, p->bad, err, p->context);
	preflight_free(p);
}

static void random_text(char ret[TOKEN_MAX])
{
	uint8_t bytes[TOKEN_BYTES];
	auto_buf struct buf text = BUF_INIT(TOKEN_MAX - 1);
	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes) || base64url_encode(bytes, sizeof(bytes), &text) < 0)
		mem_abort(__func__);
	snprintf(ret, TOKEN_MAX, "%s", buf_text(&text));
}

/* The thumbprint is found by the account's key, since an HAProxy that answers by itself (stateless http-01) knows
 * nothing else. */
static void find_thumbprint(const struct preflight *p, const char *account, char ret[TOKEN_MAX])
{
	struct error ignored;
	struct order_key stored;
	auto_pkey EVP_PKEY *key = NULL;
	if (order_key_load(p->hub->store, "acme", account, ACCOUNT_KEY, &stored, &ignored) > 0)
		order_key_public(&stored, &key, &ignored);
	if (!key || jws_thumbprint(key, ret, &ignored) < 0)
		random_text(ret);
}

static cJSON *job_new(const struct preflight *p, const struct hub_certificate *certificate, const char *authorization)
{
	cJSON *job = cJSON_CreateObject();
	cJSON_AddStringToObject(job, "event", "job");
	cJSON_AddStringToObject(job, "token", p->token);
	cJSON_AddStringToObject(job, "authorization", authorization);
	cJSON_AddBoolToObject(job, "tls_alpn", p->tls_alpn);
	cJSON *names = cJSON_AddArrayToObject(job, "names"), *resolvers = cJSON_AddArrayToObject(job, "resolvers");
	for (char *const *name = certificate->names; *name; name++)
		cJSON_AddItemToArray(names, cJSON_CreateString(*name));
	for (char *const *at = p->hub->config->resolvers; *at; at++)
		cJSON_AddItemToArray(resolvers, cJSON_CreateString(*at));
	return job;
}

static int start_job(struct preflight *p, struct error *err)
{
	static const struct job_handler handler = {.message = on_message, .ended = on_ended};
	p->job = job_start(p->hub->workers, WORKER_PREFLIGHT, ACME_PREFLIGHT_SECONDS, p->wish, NULL, &handler, p, err);
	return p->job ? 0 : -1;
}

static void on_ready(const struct error *why, void *context)
{
	struct preflight *p = context;
	struct error err = *why;
	if (err.kind == ERROR_NONE && (++p->ready < p->added || start_job(p, &err) == 0))
		return;
	p->done(NULL, 0, &err, p->context);
	preflight_free(p);
}

static int add_names(struct preflight *p, const char *authorization, struct error *err)
{
	const cJSON *name;
	cJSON_ArrayForEach (name, json_get(p->wish, "names")) {
		if (responder_add(p->hub->responder, name->valuestring, authorization, on_ready, p, err) < 0)
			return -1;
		p->added++;
	}
	return 0;
}

struct preflight *preflight_start(struct hub *hub, const struct hub_certificate *certificate, preflight_done *done,
	void *context, struct error *err)
{
	char thumbprint[TOKEN_MAX];
	struct preflight *p = mem_alloc(sizeof(*p));
	p->hub = hub;
	p->done = done;
	p->context = context;
	p->tls_alpn = certificate->challenge == HUB_CHALLENGE_ALPN;
	p->findings = cJSON_CreateArray();
	random_text(p->token);
	find_thumbprint(p, certificate->acme->name, thumbprint);
	auto_free char *authorization = mem_printf("%s.%s", p->token, thumbprint);
	p->wish = job_new(p, certificate, authorization);
	if (p->tls_alpn ? add_names(p, authorization, err) == 0
			: challenge_add(hub->challenge, p->token, authorization, err) == 0 && start_job(p, err) == 0)
		return p;
	preflight_free(p);
	return NULL;
}

void preflight_cancel(struct preflight *p)
{
	if (!p)
		return;
	job_cancel(p->job);
	preflight_free(p);
}

void preflight_text(const cJSON *findings, char *ret, size_t size)
{
	const cJSON *finding;
	int shown = 0, bad = 0;
	auto_buf struct buf text = BUF_INIT(size - 1);
	cJSON_ArrayForEach (finding, findings) {
		const char *address = cJSON_GetStringValue(json_get(finding, "address"));
		if (cJSON_IsTrue(json_get(finding, "ok")) || ++bad > TEXT_FINDINGS_MAX)
			continue;
		buf_addf(&text, "%s%s%s%s: %s", shown++ ? "; " : "", address, address[0] ? " of " : "",
			cJSON_GetStringValue(json_get(finding, "name")),
			cJSON_GetStringValue(json_get(finding, "text")));
	}
	if (bad > TEXT_FINDINGS_MAX)
		buf_addf(&text, "; and %d more", bad - TEXT_FINDINGS_MAX);
	snprintf(ret, size, "%s", text.len ? buf_text(&text) : "every address answers");
}
