/* One ACME order, from the account to the certificate (RFC 8555).
 *
 * The dialogue with the daemon (hub/order.c), frames of lib/frame on descriptors 0 and 1. Messages are JSON
 * objects with an "event"; whatever contains a key is a FILES frame, told by its label. `>` the daemon says,
 * `<` the worker says. Where an answer stands, the worker goes no further without it: the daemon gives it
 * when what it was handed is on disk, its directory synced.
 *
 *   > job            certificate, names[], key_type, directory, contact[], agree_tos, and where there is one
 *                    ca_file, account_url, order_url, resolvers[], dns (hook, config, timeout), dns_leftovers[]
 *   > FILES "keys"   what is kept already: account.key; privkey.pem with an order_url
 *   < progress       step: a word or two for `status`
 *   < FILES "account"  account.key, made because none came, before the account exists
 *     > FILES "account"  account.key: the one that is kept now (another order may have been quicker)
 *   < account        url: the account was made or found
 *     > kept
 *   < gone           reason: the stored order will not come to a certificate any more
 *     > kept         it is dropped
 *   < FILES "order"  privkey.pem, url: the key was made before the order, and the order is new
 *     > kept
 *   < invalid        name: its authorization has failed
 *   < challenge      token, authorization
 *     > kept         it is being served
 *   < dns            records[]: name, value, target, hook, config: written from now on; those left out are removed
 *     > kept
 *   < FILES "issued"  fullchain.pem, or
 *   < failed         kind (retry, permanent, untrusted, usage), text, retry_after (seconds, 0: not said)
 *
 * A daemon that cannot do its part kills the worker. A worker that is killed loses nothing: what it cannot
 * make again is in the store, and the next one goes on from the order's state at the server.
 */
#include "hub/acme.h"
#include "hub/acme_dns.h"
#include "hub/acme_flow.h"
#include "hub/csr.h"
#include "hub/jws.h"
#include "lib/clock.h"
#include "lib/mem.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

enum {
	PATIENCE_MS =
		(ACME_JOB_SECONDS - 60) * 1000, /* what has begun by then ends before the daemon's deadline */
	POLL_FIRST_MS = 100,
	POLL_LAST_MS = 5000,
	STEPS_MAX =
		16, /* pending, ready, processing, valid: an order that goes round in circles is stopped */
	STATUS_MAX = 32,
	CSR_MAX = 48 * 1024,
};

int acme_wait(struct acme *a, unsigned tries, const char *what, struct error *err)
{
	int64_t ms = POLL_LAST_MS;
	if (a->client.answer.retry_after)
		ms = a->client.answer.retry_after * 1000;
	else if (tries < 6)
		ms = (int64_t)POLL_FIRST_MS << tries;
	if (clock_monotonic_ms() + ms > a->deadline)
		return error_set(err, ERROR_RETRY,
			"%s: the server is not done after %d minutes: the order is kept and "
			"will be looked at again",
			what, ACME_JOB_SECONDS / 60);
	return talk_pause(&a->talk, ms, err);
}

/* ---- the account ---- */

static int account_key(struct acme *a, struct error *err)
{
	if (!a->job.account_key) {
		a->job.account_key = chain_make_key("ecdsa-p256", err);
		if (!a->job.account_key || talk_account_key(&a->talk, &a->job.account_key, err) < 0)
			return -1;
	}
	a->client.key = a->job.account_key;
	return 0;
}

static int may_register(const struct acme *a, struct error *err)
{
	const struct acme_client *c = &a->client;
	if (c->wants_external_account)
		return error_set(err, ERROR_PERMANENT,
			"%s: takes only accounts bound to one made elsewhere, which is not "
			"supported yet: choose another authority",
			a->job.directory);
	if (c->terms[0] && !a->job.agree_tos)
		return error_set(err, ERROR_PERMANENT,
			"the authority's terms of service are at %s: read them, then set "
			"agree_tos = true in the acme section",
			c->terms);
	return 0;
}

static int account_payload(const struct acme *a, struct buf *out)
{
	auto_json cJSON *payload = cJSON_CreateObject();
	if (a->job.agree_tos)
		cJSON_AddBoolToObject(payload, "termsOfServiceAgreed", true);
	if (a->job.contact_count)
		cJSON_AddItemToObject(payload, "contact",
			cJSON_CreateStringArray(a->job.contact, (int)a->job.contact_count));
	return json_print(payload, out);
}

/* Makes the account, or finds the one that this key has already. */
static int account_register(struct acme *a, struct error *err)
{
	auto_buf struct buf payload = BUF_INIT(JWS_MAX / 2);
	a->client.kid[0] = '\0';
	if (may_register(a, err) < 0)
		return -1;
	if (account_payload(a, &payload) < 0)
		return error_set(err, ERROR_PERMANENT, "the contacts are too long");
	auto_json cJSON *account = acme_post_json(&a->client, a->client.new_account, buf_text(&payload), err);
	const char *url = account ? acme_location(&a->client, err) : NULL;
	const char *status = url ? json_string(account, "status", STATUS_MAX, err) : NULL;
	if (!status)
		return -1;
	if (strcmp(status, "valid") != 0)
		return error_set(err, ERROR_PERMANENT,
			"the account %s is %s: move its records away to make another", url, status);
	snprintf(a->client.kid, sizeof(a->client.kid), "%s", url);
	return talk_account(&a->talk, a->client.kid, err);
}

static int account(struct acme *a, struct error *err)
{
	talk_progress(&a->talk, "account");
	if (account_key(a, err) < 0)
		return -1;
	if (!a->job.account_url || !url_is_good(a->job.account_url))
		return account_register(a, err);
	snprintf(a->client.kid, sizeof(a->client.kid), "%s", a->job.account_url);
	return 0;
}

/* ---- the order ---- */

static int take_order(struct acme *a, cJSON *order)
{
	if (!order)
		return -1;
	cJSON_Delete(a->order);
	a->order = order;
	return 0;
}

static int refresh(struct acme *a, struct error *err)
{
	if (take_order(a, acme_post_json(&a->client, a->order_url, NULL, err)) == 0)
		return 0;
	long status = a->client.answer.status;
	/* Only the ACME server's own word: a proxy's 404 must not cost a finalised order. */
	a->gone = a->client.problem[0] && (status == 404 || status == 410 || status == 403);
	return -1;
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
	return json_print(payload, out);
}

/* The key comes first: an order must never stand at the server without the key to end it with. */
static int order_new(struct acme *a, struct error *err)
{
	auto_buf struct buf payload = BUF_INIT(JWS_MAX / 2);
	a->resumed = a->gone = false;
	a->order_url[0] = '\0';
	talk_progress(&a->talk, "order");
	chain_free_pkey(&a->job.key);
	a->key = a->job.key = chain_make_key(a->job.key_type, err);
	if (!a->key)
		return -1;
	if (order_payload(a, &payload) < 0)
		return error_set(err, ERROR_PERMANENT, "the names are too long for one order");
	if (take_order(a, acme_post_json(&a->client, a->client.new_order, buf_text(&payload), err)) < 0)
		return -1;
	const char *url = acme_location(&a->client, err);
	if (!url)
		return -1;
	snprintf(a->order_url, sizeof(a->order_url), "%s", url);
	return talk_order(&a->talk, a->order_url, a->key, err);
}

static int order_resume(struct acme *a, struct error *err)
{
	a->resumed = true;
	a->key = a->job.key;
	snprintf(a->order_url, sizeof(a->order_url), "%s", a->job.order_url);
	talk_progress(&a->talk, "order (resumed)");
	return refresh(a, err);
}

/* The server has forgotten the account (a test server started anew): the same key makes it again, and what it
 * had ordered is forgotten too. */
static int order_begin(struct acme *a, struct error *err)
{
	bool stored = a->job.order_url && a->job.key;
	int result = stored ? order_resume(a, err) : order_new(a, err);
	if (result == 0 || strcmp(a->client.problem, "accountDoesNotExist") != 0 || !a->job.account_url)
		return result;
	if (account_register(a, err) < 0)
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
		if (acme_wait(a, tries, what, err) < 0 || refresh(a, err) < 0)
			return -1;
	}
}

static int on_pending(struct acme *a, struct error *err)
{
	if (acme_authorize(a, err) < 0 || refresh(a, err) < 0)
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
	if (csr_make(a->key, a->job.names, a->job.name_count, &der, err) < 0)
		return -1;
	if (buf_addf(&payload, "{\"csr\":\"") < 0 || base64url_encode(der.data, der.len, &payload) < 0 ||
		buf_addf(&payload, "\"}") < 0)
		return error_set(err, ERROR_PERMANENT, "the signing request is too long");
	if (take_order(a, acme_post_json(&a->client, url, buf_text(&payload), err)) == 0)
		return 0;
	if (strcmp(a->client.problem, "orderNotReady") == 0)
		return refresh(a, err);
	/* The same request would be refused again, with this order and this key. */
	a->gone = a->client.problem[0] && err->kind == ERROR_PERMANENT;
	return -1;
}

/* ---- the certificate ---- */

/* An order that was left for months leads to a certificate that is due for renewal itself. */
static bool is_stale(const struct acme *a, const struct chain *chain)
{
	struct error ignored;
	struct chain_facts facts;
	if (!a->resumed || chain_facts(chain->leaf, &facts, &ignored) < 0)
		return false;
	int64_t left = facts.not_after - clock_wall(), lifetime = facts.not_after - facts.not_before;
	chain_facts_release(&facts);
	return left < lifetime / 3;
}

static int check_certificate(struct acme *a, struct chain *chain, struct error *err)
{
	if (X509_check_private_key(chain->leaf, a->key) != 1)
		return openssl_error(
			err, ERROR_UNTRUSTED, "key-match: the server's certificate is for another key");
	if (chain_order(chain, err) < 0)
		return -1;
	if (!is_stale(a, chain))
		return 0;
	a->gone = true;
	return error_set(err, ERROR_RETRY, "the stored order's certificate is old already");
}

static int download(struct acme *a, struct error *err)
{
	static const char type[] = "application/pem-certificate-chain";
	auto_chain struct chain chain = {0};
	const struct http_response *r = &a->client.answer;
	const char *url = acme_url(a->order, "certificate", err);
	if (!url)
		return -1;
	talk_progress(&a->talk, "certificate");
	if (acme_post(&a->client, url, NULL, type, err) < 0)
		return -1;
	if (strcmp(r->content_type, type) != 0)
		return error_set(err, ERROR_RETRY, "%s: answered %ld with %s instead of a certificate", url,
			r->status, r->content_type[0] ? r->content_type : "no type");
	if (chain_parse_pem(r->body.data, r->body.len, NULL, 0, &chain, err) < 0 ||
		check_certificate(a, &chain, err) < 0)
		return error_wrap(err, "%s", url);
	acme_dns_clean(a);
	return talk_issued(&a->talk, &chain, err);
}

static int on_invalid(struct acme *a, struct error *err)
{
	a->gone = true;
	return acme_problem(json_get(a->order, "error"), "the order became invalid", NULL, err);
}

/* Step by step through RFC 8555 section 7.1.6; a resumed order begins wherever it is. */
static int order_follow(struct acme *a, struct error *err)
{
	for (int i = 0; i < STEPS_MAX; i++) {
		const char *status = json_string(a->order, "status", STATUS_MAX, err);
		int result;
		if (!status)
			return error_wrap(err, "%s", a->order_url);
		if (strcmp(status, "valid") == 0)
			return download(a, err);
		if (strcmp(status, "pending") == 0)
			result = on_pending(a, err);
		else if (strcmp(status, "ready") == 0)
			result = finalize(a, err);
		else if (strcmp(status, "processing") == 0)
			result = leave_status(a, "processing", err);
		else if (strcmp(status, "invalid") == 0)
			result = on_invalid(a, err);
		else
			result = error_set(
				err, ERROR_RETRY, "%s: unknown status \"%s\"", a->order_url, status);
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
	if (a->gone && talk_gone(&a->talk, err->message, &lost) < 0)
		*err = lost;
	return -1;
}

static int order_run(struct acme *a, struct error *err)
{
	if (order_attempt(a, order_begin, err) == 0)
		return 0;
	/* A stored order that came to nothing while nobody looked is no failure yet. */
	return a->resumed && a->gone ? order_attempt(a, order_new, err) : -1;
}

static int run(struct acme *a, struct error *err)
{
	if (talk_job(&a->talk, &a->job, err) < 0 || acme_dns_open(a, err) < 0)
		return -1;
	talk_progress(&a->talk, "directory");
	if (acme_client_open(&a->client, a->job.directory, a->job.ca_file, err) < 0)
		return -1;
	return account(a, err) < 0 ? -1 : order_run(a, err);
}

int acme_worker(void)
{
	struct acme a = {.deadline = clock_monotonic_ms() + PATIENCE_MS};
	struct error err = {.kind = ERROR_NONE};
	/* A server that closes early is an error to report, not a reason to die. */
	signal(SIGPIPE, SIG_IGN);
	talk_init(&a.talk);
	int result = run(&a, &err);
	if (result < 0)
		talk_failed(&a.talk, &err, a.client.answer.retry_after);
	acme_dns_close(&a);
	cJSON_Delete(a.order);
	acme_client_release(&a.client);
	acme_job_release(&a.job);
	talk_release(&a.talk);
	return result < 0 ? 1 : 0;
}
