/* A whole dialogue of the ACME worker with a server that is not believed. The first byte is a sum: 1 there is an
 * account, 2 there is a stored order, 4 the order replaces a certificate, 8 it names a profile, 16 it prefers a chain,
 * 32 the account is bound to an external one. Then come the server's answers, with a NUL between two: "200", header
 * lines, an empty line, the body. When there is no further answer, the connection ends. */
#include "hub/worker/http.h"
#define http_send fuzz_network_send
#define http_new fuzz_network_new
#define http_free fuzz_network_free
int http_send(struct http *h, const struct http_request *request, struct http_response *ret, struct error *err);
struct http *http_new(const char *ca_file, struct error *err);
void http_free(struct http *h);
#include "hub/worker/http.c"
#undef http_send
#undef http_new
#undef http_free
#include "hub/worker/acme/acme.c"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/pair.h"
#include "tests/fuzz/plain_heap.h"
#include "lib/core/base64.h"

static const uint8_t *reply_at;
static size_t reply_left;
static int stored;
static unsigned issued, failed, proven; /* what the worker has told the daemon */
static struct error failure_said;
static uint8_t issued_leaf[CHAIN_SHA256_SIZE];

/* A process confines itself only once, and this one has many jobs. */
void worker_confine(const cJSON *job)
{
	(void)job;
}

/* The functions from here on take the place of the server. */

struct http *http_new(const char *ca_file, struct error *err)
{
	static struct http h;
	(void)ca_file, (void)err;
	return &h;
}

void http_free(struct http *h)
{
	(void)h;
}

static void answer_from(char *text, size_t len, struct http *h, struct http_response *ret)
{
	char *at = text, *end = text + len, *line_end;
	ret->status = strtol(at, &at, 10);
	while (at < end && (line_end = memchr(at, '\n', (size_t)(end - at)))) {
		bool empty = line_end == at;
		if (!empty)
			on_header(at, 1, (size_t)(line_end - at) + 1, h);
		at = line_end + 1;
		if (empty && at > text + 5)
			break;
	}
	if (at < end)
		on_body(at, 1, (size_t)(end - at), h);
}

int http_send(struct http *h, const struct http_request *request, struct http_response *ret, struct error *err)
{
	http_response_release(ret);
	if (!url_is_good(request->url)) /* the real function checks this, too */
		return error_set(err, ERROR_PERMANENT, "%.200s: not a URL of https", request->url);
	if (!reply_left)
		return error_set(err, ERROR_RETRY, "%s: it has hung up", request->url);
	const uint8_t *end = memchr(reply_at, '\0', reply_left);
	size_t len = end ? (size_t)(end - reply_at) : reply_left;
	auto_free char *text = mem_strndup((const char *)reply_at, len);
	*h = (struct http){.response = ret};
	answer_from(text, len, h, ret);
	if (h->retry_after[0])
		ret->retry_after = http_retry_after(h->retry_after, ret->date ? ret->date : 1800000000);
	reply_at += len + (end != NULL);
	reply_left -= len + (end != NULL);
	return 0;
}

/* The functions from here on take the place of the daemon, which agrees to everything. */

void talk_init(struct talk *t)
{
	(void)t;
}

void talk_release(struct talk *t)
{
	(void)t;
}

void acme_job_release(struct acme_job *j)
{
	chain_free_pkey(&j->account_key);
	chain_free_pkey(&j->pairs[0].key);
	buf_release(&j->eab_hmac);
}

/* The key is parsed once, since that takes longer than a dialogue. */
static EVP_PKEY *account_key(struct error *err)
{
	static EVP_PKEY *key;
	if (!key)
		key = chain_parse_key(fuzz_pair, (size_t)(strstr(fuzz_pair, "-----BEGIN CERT") - fuzz_pair), err);
	if (!key)
		return NULL;
	if (EVP_PKEY_up_ref(key) == 1)
		return key;
	error_set(err, ERROR_RETRY, "no reference to the account's key");
	return NULL;
}

int talk_job(struct talk *t, struct acme_job *ret, struct error *err)
{
	(void)t;
	*ret = (struct acme_job){.certificate = "mail.domain.pl",
		.directory = "https://ca/dir",
		.pairs = {{.key_type = "ecdsa-p256", .replaces = stored & 4 ? "AA.BB" : NULL}},
		.pair_count = 1,
		.profile = stored & 8 ? "tlsserver" : NULL,
		.preferred_chain = stored & 16 ? "other CA" : NULL,
		.eab_kid = stored & 32 ? "kid-1" : NULL,
		.eab_hmac = BUF_INIT(64),
		.names = {"mail.domain.pl"},
		.name_count = 1,
		.agree_tos = true};
	buf_addf(&ret->eab_hmac, "c2VjcmV0\n");
	ret->account_key = account_key(err);
	ret->account_url = stored & 1 ? "https://ca/account/1" : NULL;
	if (ret->account_key && stored & 2) {
		ret->pairs[0].order_url = "https://ca/order/1";
		ret->pairs[0].key = account_key(err);
	}
	return ret->account_key && (!(stored & 2) || ret->pairs[0].key) ? 0 : -1;
}

void talk_progress(struct talk *t, const char *fmt, ...)
{
	(void)t, (void)fmt;
}

int talk_account_key(struct talk *t, EVP_PKEY **key, struct error *err)
{
	(void)t, (void)key, (void)err;
	return 0;
}

int talk_account(struct talk *t, const char *url, struct error *err)
{
	(void)t, (void)err;
	FUZZ_CHECK(url_is_good(url));
	return 0;
}

/* All certificates of the corpus are for this one key. */
int talk_new_key(struct talk *t, size_t pair, EVP_PKEY **key, struct error *err)
{
	(void)t, (void)pair;
	chain_free_pkey(key);
	*key = account_key(err);
	return *key ? 0 : -1;
}

int talk_order(struct talk *t, size_t pair, const char *url, struct error *err)
{
	(void)t, (void)pair, (void)err;
	FUZZ_CHECK(url_is_good(url));
	return 0;
}

int talk_csr(struct talk *t, size_t pair, struct buf *out, struct error *err)
{
	(void)t, (void)pair, (void)err;
	return buf_add(out, "request", 7);
}

int talk_sign(struct talk *t, const char *key, struct buf *input, uint8_t ret[JWS_SIGNATURE_SIZE], struct error *err)
{
	(void)t, (void)err;
	FUZZ_CHECK(strcmp(key, "account") == 0 && memchr(input->data, '.', input->len));
	memset(ret, 7, JWS_SIGNATURE_SIZE);
	return 0;
}

void talk_warning(struct talk *t, const char *text)
{
	(void)t;
	FUZZ_CHECK(text[0]);
}

int talk_next_key(struct talk *t, size_t pair, struct error *err)
{
	(void)t, (void)pair, (void)err;
	return 0;
}

int talk_done(struct talk *t, struct error *err)
{
	(void)t, (void)err;
	return 0;
}

int talk_gone(struct talk *t, size_t pair, const char *reason, struct error *err)
{
	(void)t, (void)pair, (void)err;
	FUZZ_CHECK(reason[0]);
	return 0;
}

void talk_invalid(struct talk *t, const char *name)
{
	(void)t;
	FUZZ_CHECK(name[0]);
}

int talk_dns(struct talk *t, const cJSON *records, struct error *err)
{
	(void)t, (void)err;
	FUZZ_CHECK(records);
	return 0;
}

int talk_challenge(struct talk *t, const char *name, const char *token, const char *authorization, struct error *err)
{
	(void)t, (void)err;
	FUZZ_CHECK(name[0]);
	FUZZ_CHECK(base64url_is(token, 1024) && !strncmp(authorization, token, strlen(token)));
	proven++;
	return 0;
}

int talk_issued(struct talk *t, size_t pair, const struct chain *chain, struct error *err)
{
	(void)t, (void)pair, (void)err;
	FUZZ_CHECK(chain->leaf);
	chain_fingerprint(chain->leaf, issued_leaf);
	issued++;
	return 0;
}

void talk_failed(struct talk *t, const struct error *failure, int64_t retry_after, const char *trouble)
{
	(void)t;
	failed++;
	FUZZ_CHECK(strcmp(trouble, "failed") == 0 || strcmp(trouble, "down") == 0 || strcmp(trouble, "limits") == 0 ||
		strcmp(trouble, "refuses") == 0);
	failure_said = *failure;
	FUZZ_CHECK(failure->kind != ERROR_NONE && failure->message[0]);
	for (const char *c = failure->message; *c; c++)
		FUZZ_CHECK((unsigned char)*c >= ' ' && *c != 0x7f);
	FUZZ_CHECK(retry_after >= 0 && retry_after <= HTTP_RETRY_AFTER_MAX);
}

int talk_pause(struct talk *t, int64_t milliseconds, struct error *err)
{
	(void)t, (void)err;
	FUZZ_CHECK(milliseconds > 0);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	stored = data[0];
	reply_at = data + 1;
	reply_left = size - 1;
	acme_worker();
	return 0;
}
