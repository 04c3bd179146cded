#include "hub/worker/acme/account.h"
#include "hub/worker/acme/client.h"
#include "hub/worker/talk.h"
#include "hub/common/jws.h"
#include "hub/worker/confined.h"
#include "lib/core/base64.h"
#include "lib/core/mem.h"

#include <openssl/x509.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { DER_MAX = 48 * 1024 };

struct work {
	struct talk talk;
	struct acme_client client;
	cJSON *job;                  /* owned */
	EVP_PKEY *key, *next, *leaf; /* public halves; owned; the last two may be NULL */
	struct chain chain;          /* of revoke */
	bool has_chain;
	const char *url; /* the account's */
	bool is_next;    /* the next key is the account's */
};

static void use_account(struct work *w)
{
	w->client.key = w->is_next ? w->next : w->key;
	w->client.key_name = w->is_next ? "next" : "account";
	snprintf(w->client.kid, sizeof(w->client.kid), "%s", w->url);
}

/* ---- which key ---- */

/* Returns 1 when the account is the next key's, 0 when it is not, or -1 when nobody knows. */
static int next_is_of_account(struct work *w, struct error *err)
{
	w->client.key = w->next;
	w->client.key_name = "next";
	w->client.kid[0] = '\0';
	auto_json cJSON *account =
		acme_post_json(&w->client, w->client.new_account, "{\"onlyReturnExisting\":true}", err);
	if (!account)
		return strcmp(w->client.problem, "accountDoesNotExist") == 0 ? 0 : -1;
	const char *url = acme_location(&w->client, err);
	if (!url)
		return -1;
	return strcmp(url, w->url) == 0;
}

/* The answer to a change of keys may have been lost, and then the server knows which key the account has. */
static int prove(struct work *w, struct error *err)
{
	int found = w->next ? next_is_of_account(w, err) : 0;
	if (found < 0)
		return -1;
	w->is_next = found;
	use_account(w);
	return 0;
}

/* ---- what is done ---- */

/* The new key signs that it takes the account over, and the old one signs all of that (RFC 8555 section 7.3.5). */
static int change_payload(struct work *w, struct buf *out, struct error *err)
{
	auto_buf struct buf old = BUF_INIT(512), text = BUF_INIT(URL_MAX + 1024);
	auto_json cJSON *inner = cJSON_CreateObject();
	const struct jws_header header = {.url = w->client.key_change};
	if (jws_jwk(w->key, &old, err) < 0)
		return -1;
	cJSON_AddStringToObject(inner, "account", w->url);
	cJSON_AddRawToObject(inner, "oldKey", buf_text(&old));
	if (json_print(inner, &text) < 0)
		return error_set(err, ERROR_PERMANENT, "the account's URL is too long");
	return acme_sign(&w->client, w->next, "next", &header, buf_text(&text), out, err);
}

static int do_rollover(struct work *w, struct error *err)
{
	auto_buf struct buf payload = BUF_INIT(JWS_MAX / 2);
	if (!w->next)
		return error_set(err, ERROR_PERMANENT, "the daemon sent no new key");
	if (prove(w, err) < 0 || w->is_next)
		return w->is_next ? 0 : -1;
	if (!w->client.key_change[0])
		return error_set(err, ERROR_PERMANENT, "the authority offers no change of an account's key");
	if (change_payload(w, &payload, err) < 0 ||
		acme_post(&w->client, w->client.key_change, buf_text(&payload), "application/json", err) < 0)
		return -1;
	w->is_next = true;
	return 0;
}

static int set_contact(struct work *w, struct error *err)
{
	auto_buf struct buf payload = BUF_INIT(JWS_MAX / 2);
	const cJSON *contact = json_get(w->job, "contact");
	if (!contact)
		return 0;
	auto_json cJSON *change = cJSON_CreateObject();
	cJSON_AddItemToObject(change, "contact", cJSON_Duplicate(contact, true));
	if (json_print(change, &payload) < 0)
		return error_set(err, ERROR_PERMANENT, "the contacts are too long");
	return acme_post(&w->client, w->url, buf_text(&payload), "application/json", err);
}

static int do_upkeep(struct work *w, struct error *err)
{
	return prove(w, err) < 0 ? -1 : set_contact(w, err);
}

/* An account that is deactivated may do nothing any more, and this tells it so. */
static int do_deactivate(struct work *w, struct error *err)
{
	if (prove(w, err) < 0)
		return -1;
	if (acme_post(&w->client, w->url, "{\"status\":\"deactivated\"}", "application/json", err) == 0)
		return 0;
	return strcmp(w->client.problem, "unauthorized") == 0 ? 0 : -1;
}

static int revoke_payload(struct work *w, struct buf *out, struct error *err)
{
	uint8_t *der = NULL;
	int64_t reason;
	int len = i2d_X509(w->chain.leaf, &der);
	int result = -1;
	if (len < 0 || json_i64(w->job, "reason", &reason, err) < 0)
		result = len < 0 ? openssl_error(err, ERROR_PERMANENT, "the certificate cannot be written") : -1;
	else if (buf_addf(out, "{\"certificate\":\"") < 0 || base64url_encode(der, (size_t)len, out) < 0 ||
		buf_addf(out, "\",\"reason\":%d}", (int)reason) < 0)
		result = error_set(err, ERROR_PERMANENT, "the certificate is too long");
	else
		result = 0;
	OPENSSL_free(der);
	return result;
}

/* Requests are signed by ES256 alone, so an RSA key of a certificate cannot speak for the certificate. */
static bool can_sign(const EVP_PKEY *key)
{
	struct error ignored;
	auto_buf struct buf jwk = BUF_INIT(512);
	return jws_jwk(key, &jwk, &ignored) == 0;
}

static int post_revocation(struct work *w, const char *payload, struct error *err)
{
	if (acme_post(&w->client, w->client.revoke_cert, payload, "application/json", err) == 0)
		return 0;
	/* The answer to an earlier try was lost. */
	return strcmp(w->client.problem, "alreadyRevoked") == 0 ? 0 : -1;
}

static int do_revoke(struct work *w, struct error *err)
{
	auto_buf struct buf payload = BUF_INIT(DER_MAX);
	if (!w->client.revoke_cert[0])
		return error_set(err, ERROR_PERMANENT, "the authority revokes nothing by ACME");
	if (!w->has_chain)
		return error_set(err, ERROR_PERMANENT, "the daemon sent no certificate");
	if (revoke_payload(w, &payload, err) < 0 || prove(w, err) < 0)
		return -1;
	if (post_revocation(w, buf_text(&payload), err) == 0)
		return 0;
	if (strcmp(w->client.problem, "unauthorized") != 0 || !w->leaf || !can_sign(w->leaf))
		return -1;
	w->client.key = w->leaf;
	w->client.key_name = "leaf";
	w->client.kid[0] = '\0';
	return post_revocation(w, buf_text(&payload), err);
}

/* ---- the job ---- */

static int take_chain(struct work *w, const struct files *files, struct error *err)
{
	int chain = files_find(files, "fullchain.pem");
	if (chain < 0)
		return 0;
	if (chain_parse_pem(files->file[chain].data, files->file[chain].len, NULL, 0, &w->chain, err) < 0)
		return -1;
	w->has_chain = true;
	return 0;
}

static int take_job(struct work *w, const char **ret_op, struct error *err)
{
	struct files files;
	w->job = talk_receive(&w->talk, "job", err);
	*ret_op = w->job ? json_string(w->job, "op", 32, err) : NULL;
	w->url = *ret_op ? json_string(w->job, "account_url", URL_MAX - 1, err) : NULL;
	if (!w->url || talk_receive_files(&w->talk, &files, err) < 0 ||
		talk_key(w->job, "account_key", &w->key, err) < 0 || talk_key(w->job, "next_key", &w->next, err) < 0 ||
		talk_key(w->job, "leaf_key", &w->leaf, err) < 0)
		return -1;
	if (!w->key)
		return error_set(err, ERROR_PERMANENT, "the daemon sent no account key");
	return take_chain(w, &files, err);
}

static int run(struct work *w, struct error *err)
{
	static const struct {
		const char *op;
		int (*run)(struct work *w, struct error *err);
	} ops[] = {
		{"upkeep", do_upkeep}, {"rollover", do_rollover}, {"deactivate", do_deactivate}, {"revoke", do_revoke}};
	const char *op;
	if (take_job(w, &op, err) < 0)
		return -1;
	worker_confine(w->job);
	const char *directory = json_string(w->job, "directory", URL_MAX - 1, err);
	const cJSON *ca_file = json_get(w->job, "ca_file");
	if (!directory ||
		acme_client_open(&w->client, directory, cJSON_IsString(ca_file) ? ca_file->valuestring : NULL, err) < 0)
		return -1;
	for (size_t i = 0; i < COUNT(ops); i++)
		if (strcmp(op, ops[i].op) == 0)
			return ops[i].run(w, err);
	return error_set(err, ERROR_PERMANENT, "the daemon asked for \"%s\"", op);
}

static void tell(struct work *w, const struct error *failure)
{
	struct error ignored;
	auto_json cJSON *message = cJSON_CreateObject();
	cJSON_AddStringToObject(message, "event", failure ? "failed" : "done");
	if (failure) {
		cJSON_AddStringToObject(message, "text", failure->message);
		cJSON_AddNumberToObject(message, "retry_after", (double)w->client.answer.retry_after);
	} else {
		cJSON_AddStringToObject(message, "key", w->is_next ? "next" : "account");
	}
	talk_send(&w->talk, message, &ignored);
}

int acme_account_worker(void)
{
	struct work w = {.job = NULL};
	struct error err;
	signal(SIGPIPE, SIG_IGN);
	talk_init(&w.talk);
	w.client.talk = &w.talk;
	int result = run(&w, &err);
	tell(&w, result < 0 ? &err : NULL);
	if (w.has_chain)
		chain_release(&w.chain);
	chain_free_pkey(&w.key);
	chain_free_pkey(&w.next);
	chain_free_pkey(&w.leaf);
	acme_client_release(&w.client);
	cJSON_Delete(w.job);
	talk_release(&w.talk);
	return result < 0 ? 1 : 0;
}
