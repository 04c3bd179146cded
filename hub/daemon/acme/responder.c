#include "hub/daemon/acme/responder.h"
#include "hub/daemon/job.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"
#include "lib/crypto/chain.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES_MAX = 4096, NAME_LEN_MAX = 253, TEXT_LEN_MAX = 512, AGAIN_SECONDS = 5 };

struct proven {
	char *name;
	char digest[CHAIN_HEX_MAX];
	responder_ready *ready; /* NULL: it has been told */
	void *context;
};

struct responder {
	struct workers *workers;
	char *address;
	struct job *job; /* NULL: between two workers */
	struct event *again;
	struct proven *names;
	size_t count;
	char failure[TEXT_LEN_MAX + 1]; /* what the worker said before it ended */
	char logged[ERROR_MESSAGE_MAX]; /* the last failure that was; empty: it has listened since */
};

static struct proven *find(const struct responder *r, const char *name)
{
	for (size_t i = 0; i < r->count; i++)
		if (strcmp(r->names[i].name, name) == 0)
			return &r->names[i];
	return NULL;
}

/* ---- the worker ---- */

static void instruct(const struct responder *r, const char *event, const struct proven *p)
{
	auto_json cJSON *message = cJSON_CreateObject();
	cJSON_AddStringToObject(message, "event", event);
	cJSON_AddStringToObject(message, "name", p->name);
	cJSON_AddStringToObject(message, "digest", p->digest);
	job_send(r->job, message);
}

/* Whoever is told may add and remove names. */
static void tell(struct proven *p, const struct error *err)
{
	responder_ready *ready = p->ready;
	p->ready = NULL;
	if (ready)
		ready(err, p->context);
}

static void tell_all(struct responder *r, const struct error *err)
{
	for (size_t i = 0; i < r->count;) {
		struct proven *waiting = &r->names[i++];
		if (!waiting->ready)
			continue;
		tell(waiting, err);
		i = 0;
	}
}

static void on_message(const char *event, const cJSON *message, void *context)
{
	struct responder *r = context;
	const struct error none = {.kind = ERROR_NONE};
	struct error ignored;
	if (strcmp(event, "failed") == 0) {
		const char *text = json_string(message, "text", TEXT_LEN_MAX, &ignored);
		snprintf(r->failure, sizeof(r->failure), "%s", text ? text : "");
	} else if (strcmp(event, "listening") == 0) {
		r->logged[0] = '\0';
		log_event(LOG_LEVEL_NOTICE, "responder", "result=listening address=%s", r->address);
	} else if (strcmp(event, "added") == 0) {
		const char *name = json_string(message, "name", NAME_LEN_MAX, &ignored);
		struct proven *p = name ? find(r, name) : NULL;
		if (p)
			tell(p, &none);
	}
}

/* Those who wait are told of it: an order that fails is tried again later than a worker. */
static void on_ended(const struct error *err, void *context)
{
	struct responder *r = context;
	const struct timeval soon = {.tv_sec = AGAIN_SECONDS};
	struct error failure;
	r->job = NULL;
	error_set(&failure, ERROR_RETRY, "nobody answers tls-alpn-01: %s",
		r->failure[0]                     ? r->failure
			: err->kind == ERROR_NONE ? "the responder ended without a word"
						  : err->message);
	if (strcmp(r->logged, failure.message) != 0)
		log_event(LOG_LEVEL_ERROR, "responder", "result=failed address=%s error=\"%s\"", r->address,
			failure.message);
	snprintf(r->logged, sizeof(r->logged), "%s", failure.message);
	if (evtimer_add(r->again, &soon) < 0)
		mem_abort(__func__);
	tell_all(r, &failure);
}

static void begin(struct responder *r)
{
	static const struct job_handler handler = {.message = on_message, .ended = on_ended};
	struct error err;
	auto_json cJSON *job = cJSON_CreateObject();
	cJSON_AddStringToObject(job, "event", "job");
	cJSON_AddStringToObject(job, "address", r->address);
	r->failure[0] = '\0';
	r->job = job_start(r->workers, WORKER_RESPONDER, WORKER_FOREVER, job, NULL, &handler, r, &err);
	if (!r->job) {
		on_ended(&err, r);
		return;
	}
	for (size_t i = 0; i < r->count; i++)
		instruct(r, "add", &r->names[i]);
}

static void on_again(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	begin(context);
}

/* ---- life ---- */

struct responder *responder_new(struct event_base *base, struct workers *workers, const char *address)
{
	struct responder *r = mem_alloc(sizeof(*r));
	r->workers = workers;
	r->address = mem_strdup(address);
	r->again = evtimer_new(base, on_again, r);
	if (!r->again)
		mem_abort(__func__);
	begin(r);
	return r;
}

void responder_free(struct responder *r)
{
	if (!r)
		return;
	job_cancel(r->job);
	event_free(r->again);
	for (size_t i = 0; i < r->count; i++)
		free(r->names[i].name);
	free(r->names);
	free(r->address);
	free(r);
}

static bool digest_of(const char *authorization, char ret[CHAIN_HEX_MAX])
{
	uint8_t digest[CHAIN_SHA256_SIZE];
	if (EVP_Digest(authorization, strlen(authorization), digest, NULL, EVP_sha256(), NULL) != 1)
		return false;
	chain_hex(digest, ret);
	return true;
}

int responder_add(struct responder *r, const char *name, const char *authorization, responder_ready *ready,
	void *context, struct error *err)
{
	if (find(r, name))
		return error_set(
			err, ERROR_RETRY, "tls-alpn-01: %s is being proven for another order at this moment", name);
	if (r->count == NAMES_MAX)
		return error_set(err, ERROR_RETRY, "tls-alpn-01: %d names are being proven already", NAMES_MAX);
	struct proven added = {.ready = ready, .context = context};
	if (!digest_of(authorization, added.digest))
		return error_set(err, ERROR_PERMANENT, "no SHA-256 of an answer");
	added.name = mem_strdup(name);
	r->names = mem_grow(r->names, r->count + 1, sizeof(*r->names));
	r->names[r->count++] = added;
	if (r->job)
		instruct(r, "add", &added);
	return 0;
}

void responder_remove(struct responder *r, const char *name)
{
	struct proven *p = find(r, name);
	if (!p)
		return;
	if (r->job)
		instruct(r, "remove", p);
	free(p->name);
	*p = r->names[--r->count];
}

void responder_open(struct hub *hub)
{
	const struct hub_config *c = hub->config;
	for (size_t i = 0; i < c->certificate_count && !hub->responder; i++)
		if (c->certificates[i].acme && c->certificates[i].challenge == HUB_CHALLENGE_ALPN)
			hub->responder = responder_new(hub->base, hub->workers, c->tls_alpn);
}

void responder_close(struct hub *hub)
{
	responder_free(steal(hub->responder));
}
