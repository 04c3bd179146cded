#include "hub/order.h"
#include "hub/acme.h"
#include "hub/order_dns.h"
#include "hub/url.h"
#include "hub/worker.h"
#include "lib/files.h"
#include "lib/json.h"
#include "lib/mem.h"

#include <stdlib.h>
#include <string.h>

static const char accounts[] = "acme", orders[] = "orders";

enum { RECORD_MAX = 64 * 1024, TOKENS_MAX = 256 };

struct order {
	struct store *store;
	struct challenge *challenge;
	const struct order_handler *handler;
	void *context;
	struct worker *worker;
	char *certificate; /* copies, since the configuration may be read again meanwhile */
	char *account;
	cJSON *record;            /* order.json without its url: what the order is for */
	char *tokens[TOKENS_MAX]; /* being served */
	size_t token_count;
};

static void order_free(struct order *o)
{
	if (!o)
		return;
	worker_free(o->worker);
	for (size_t i = 0; i < o->token_count; i++) {
		challenge_remove(o->challenge, o->tokens[i]);
		free(o->tokens[i]);
	}
	cJSON_Delete(o->record);
	free(o->certificate);
	free(o->account);
	free(o);
}

static void order_fail(struct order *o, const struct error *err, int64_t retry_after)
{
	struct error copy = *err;
	worker_free(steal(o->worker));
	o->handler->failed(o->certificate, &copy, retry_after, o->context);
	order_free(o);
}

/* ---- records ---- */

/* A JSON record: 1 and owned, 0 when there is none or it is damaged (it is then made anew), -1. */
static int record_get(struct store *store, const char *kind, const char *name, const char *file, cJSON **ret,
	struct error *err)
{
	auto_buf struct buf text = BUF_INIT(RECORD_MAX);
	struct error damaged;
	int found = store_get(store, kind, name, file, &text, err);
	if (found <= 0)
		return found;
	*ret = json_parse(text.data, text.len, &damaged);
	return *ret != NULL;
}

static int record_put(struct store *store, const char *kind, const char *name, const char *file,
	const cJSON *record, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(RECORD_MAX);
	if (json_print(record, &text) < 0)
		return error_set(err, ERROR_PERMANENT, "%s: more than %d bytes", file, RECORD_MAX);
	return store_put(store, kind, name, file, text.data, text.len, err);
}

static cJSON *text_list(char *const *texts)
{
	cJSON *list = cJSON_CreateArray();
	for (; texts && *texts; texts++)
		cJSON_AddItemToArray(list, cJSON_CreateString(*texts));
	return list;
}

/* What an order is for. A stored one of something else is of no use any more. */
static cJSON *record_new(const struct hub_certificate *c)
{
	cJSON *record = cJSON_CreateObject();
	cJSON_AddStringToObject(record, "account", c->acme->name);
	cJSON_AddStringToObject(record, "directory", c->acme->directory);
	cJSON_AddStringToObject(record, "key_type", c->key_type);
	cJSON_AddItemToObject(record, "names", text_list(c->names));
	return record;
}

static const char *text_of(const cJSON *record, const char *key)
{
	const cJSON *value = json_get(record, key);
	return cJSON_IsString(value) ? value->valuestring : "";
}

static bool is_for(const cJSON *stored, const cJSON *wanted)
{
	const cJSON *member;
	cJSON_ArrayForEach(member, wanted)
	{
		if (!cJSON_Compare(json_get(stored, member->string), member, true))
			return false;
	}
	return true;
}

/* ---- the job ---- */

static int add_file(struct order *o, const char *kind, const char *name, const char *file,
	struct buf *content, struct files *files, struct error *err)
{
	int found = store_get(o->store, kind, name, file, content, err);
	if (found > 0 && files_add(files, file, content->data, content->len) < 0)
		return error_set(
			err, ERROR_PERMANENT, "store: record %s/%s: %s is too long", kind, name, file);
	return found;
}

static int add_account(struct order *o, cJSON *job, struct buf *key, struct files *files, struct error *err)
{
	auto_json cJSON *record = NULL;
	int found = add_file(o, accounts, o->account, "account.key", key, files, err);
	if (found <= 0)
		return found;
	if (record_get(o->store, accounts, o->account, "account.json", &record, err) < 0)
		return -1;
	/* Another directory under the same name in the configuration: the key is kept, the account is made
	 * there. */
	if (record && strcmp(text_of(record, "directory"), text_of(o->record, "directory")) == 0)
		cJSON_AddStringToObject(job, "account_url", text_of(record, "url"));
	return 0;
}

/* The stored order, if it is still wanted. The key was stored first, so one without it was being dropped. */
static int add_order(struct order *o, cJSON *job, struct buf *key, struct files *files, struct error *err)
{
	auto_json cJSON *record = NULL;
	int found = record_get(o->store, orders, o->certificate, "order.json", &record, err);
	if (found < 0)
		return -1;
	if (found && is_for(record, o->record) && url_is_good(text_of(record, "url")))
		found = add_file(o, orders, o->certificate, "privkey.pem", key, files, err);
	else
		found = 0;
	if (found < 0)
		return -1;
	if (!found)
		return store_drop(o->store, orders, o->certificate, err);
	cJSON_AddStringToObject(job, "order_url", text_of(record, "url"));
	return 0;
}

static cJSON *job_new(const struct hub_certificate *c)
{
	cJSON *job = cJSON_CreateObject();
	cJSON_AddStringToObject(job, "event", "job");
	cJSON_AddStringToObject(job, "certificate", c->name);
	cJSON_AddStringToObject(job, "directory", c->acme->directory);
	cJSON_AddStringToObject(job, "key_type", c->key_type);
	cJSON_AddBoolToObject(job, "agree_tos", c->acme->agree_tos);
	cJSON_AddItemToObject(job, "names", text_list(c->names));
	cJSON_AddItemToObject(job, "contact", text_list(c->acme->contact));
	if (c->acme->ca_file)
		cJSON_AddStringToObject(job, "ca_file", c->acme->ca_file);
	return job;
}

static int send_job(struct order *o, cJSON *job, struct error *err)
{
	auto_buf struct buf account_key = BUF_INIT(FILES_FILE_MAX), key = BUF_INIT(FILES_FILE_MAX);
	auto_buf struct buf text = BUF_INIT(FRAME_MESSAGE_MAX), bytes = BUF_INIT(FRAME_FILES_MAX);
	struct files files = {.label = "keys"};
	if (add_account(o, job, &account_key, &files, err) < 0 || add_order(o, job, &key, &files, err) < 0)
		return -1;
	if (json_print(job, &text) < 0 || files_encode(&files, &bytes) < 0)
		return error_set(err, ERROR_PERMANENT, "its names and contacts are too long for one order");
	worker_send(o->worker, FRAME_MESSAGE, text.data, text.len);
	worker_send(o->worker, FRAME_FILES, bytes.data, bytes.len);
	return 0;
}

/* ---- what the worker says ---- */

static void say_kept(struct order *o)
{
	static const char kept[] = "{\"event\":\"kept\"}";
	worker_send(o->worker, FRAME_MESSAGE, kept, sizeof(kept) - 1);
}

static int need_file(const struct files *files, const char *name, struct error *err)
{
	int at = files_find(files, name);
	if (at < 0)
		error_set(err, ERROR_PERMANENT, "the worker sent %s without %s", files->label, name);
	return at;
}

/* One key an account for ever: of two orders that make one at once, the second is given the first one's. */
static int keep_account_key(struct order *o, const struct files *files, struct error *err)
{
	auto_buf struct buf key = BUF_INIT(FILES_FILE_MAX), bytes = BUF_INIT(FRAME_FILES_MAX);
	struct files answer = {.label = "account"};
	int at = need_file(files, "account.key", err);
	int found = at < 0 ? -1 : add_file(o, accounts, o->account, "account.key", &key, &answer, err);
	if (found < 0)
		return -1;
	if (!found) {
		if (store_put(o->store, accounts, o->account, "account.key", files->file[at].data,
			    files->file[at].len, err) < 0)
			return -1;
		files_add(&answer, "account.key", files->file[at].data, files->file[at].len);
	}
	files_encode(&answer, &bytes);
	worker_send(o->worker, FRAME_FILES, bytes.data, bytes.len);
	return 0;
}

/* The key first: an order.json says that all is there. */
static int keep_order(struct order *o, const struct files *files, struct error *err)
{
	int key = need_file(files, "privkey.pem", err), url = key < 0 ? -1 : need_file(files, "url", err);
	if (url < 0)
		return -1;
	auto_free char *text = mem_strndup((const char *)files->file[url].data, files->file[url].len);
	auto_json cJSON *record = cJSON_Duplicate(o->record, true);
	cJSON_AddStringToObject(record, "url", text);
	if (store_put(o->store, orders, o->certificate, "privkey.pem", files->file[key].data,
		    files->file[key].len, err) < 0 ||
		record_put(o->store, orders, o->certificate, "order.json", record, err) < 0)
		return -1;
	say_kept(o);
	return 0;
}

static int read_issued(struct order *o, const struct files *files, struct chain *ret, struct error *err)
{
	auto_buf struct buf key = BUF_INIT(FILES_FILE_MAX);
	int at = need_file(files, "fullchain.pem", err);
	int found = at < 0 ? -1 : store_get(o->store, orders, o->certificate, "privkey.pem", &key, err);
	if (found == 0)
		return error_set(err, ERROR_PERMANENT, "store: record orders/%s: privkey.pem has gone",
			o->certificate);
	if (found < 0 ||
		chain_parse_pem(files->file[at].data, files->file[at].len, key.data, key.len, ret, err) < 0)
		return -1;
	if (X509_check_private_key(ret->leaf, ret->key) != 1)
		return openssl_error(
			err, ERROR_UNTRUSTED, "key-match: the certificate is not for the stored key");
	return 0;
}

/* Ends the order in any case. Should the drop fail, the next start meets the same certificate once more. */
static int on_issued(struct order *o, const struct files *files, struct error *err)
{
	auto_chain struct chain chain = {0};
	struct error ignored;
	if (read_issued(o, files, &chain, err) < 0)
		return -1;
	worker_free(steal(o->worker));
	if (o->handler->issued(o->certificate, &chain, 1, o->context) == 0)
		order_forget(o->store, o->certificate, &ignored);
	order_free(o);
	return 0;
}

static int on_files(struct order *o, const struct frame *frame, struct error *err)
{
	struct files files;
	if (files_decode(frame->data, frame->len, &files, err) < 0)
		return -1;
	if (strcmp(files.label, "account") == 0)
		return keep_account_key(o, &files, err);
	if (strcmp(files.label, "order") == 0)
		return keep_order(o, &files, err);
	if (strcmp(files.label, "issued") == 0)
		return on_issued(o, &files, err);
	return error_set(err, ERROR_PERMANENT, "the worker sent files \"%s\"", files.label);
}

static int on_progress(struct order *o, const cJSON *message, struct error *err)
{
	const char *step = json_string(message, "step", ERROR_MESSAGE_MAX, err);
	if (!step)
		return -1;
	o->handler->progress(o->certificate, step, o->context);
	return 0;
}

static int on_account(struct order *o, const cJSON *message, struct error *err)
{
	const char *url = json_string(message, "url", URL_MAX, err);
	auto_json cJSON *record = cJSON_CreateObject();
	if (!url)
		return -1;
	cJSON_AddStringToObject(record, "url", url);
	cJSON_AddStringToObject(record, "directory", text_of(o->record, "directory"));
	if (record_put(o->store, accounts, o->account, "account.json", record, err) < 0)
		return -1;
	say_kept(o);
	return 0;
}

static int on_gone(struct order *o, const cJSON *message, struct error *err)
{
	if (!json_string(message, "reason", ERROR_MESSAGE_MAX, err) ||
		store_drop(o->store, orders, o->certificate, err) < 0)
		return -1;
	say_kept(o);
	return 0;
}

static int on_invalid(struct order *o, const cJSON *message, struct error *err)
{
	const char *name = json_string(message, "name", 253, err);
	if (!name)
		return -1;
	if (o->handler->invalid)
		o->handler->invalid(o->certificate, name, o->context);
	return 0;
}

static int on_challenge(struct order *o, const cJSON *message, struct error *err)
{
	const char *token = json_string(message, "token", 512, err);
	const char *authorization = token ? json_string(message, "authorization", 1024, err) : NULL;
	if (!authorization)
		return -1;
	if (o->token_count == TOKENS_MAX)
		return error_set(err, ERROR_PERMANENT, "the server wants more than %d challenges answered",
			TOKENS_MAX);
	if (challenge_add(o->challenge, token, authorization, err) < 0)
		return -1;
	o->tokens[o->token_count++] = mem_strdup(token);
	say_kept(o);
	return 0;
}

static int on_dns(struct order *o, const cJSON *message, struct error *err)
{
	if (order_dns_keep(o->store, o->certificate, message, err) < 0)
		return -1;
	say_kept(o);
	return 0;
}

static int on_failed(struct order *o, const cJSON *message, struct error *err)
{
	static const struct {
		const char *name;
		enum error_kind kind;
	} kinds[] = {
		{"retry", ERROR_RETRY},
		{"permanent", ERROR_PERMANENT},
		{"untrusted", ERROR_UNTRUSTED},
		{"usage", ERROR_USAGE},
	};
	struct error failure = {.kind = ERROR_RETRY};
	int64_t retry_after;
	const char *kind = json_string(message, "kind", 16, err);
	const char *text = kind ? json_string(message, "text", ERROR_MESSAGE_MAX, err) : NULL;
	if (!text || json_i64(message, "retry_after", &retry_after, err) < 0)
		return -1;
	for (size_t i = 0; i < COUNT(kinds); i++)
		if (strcmp(kind, kinds[i].name) == 0)
			failure.kind = kinds[i].kind;
	error_set(&failure, failure.kind, "%s", text);
	order_fail(o, &failure, retry_after);
	return 0;
}

static int on_message(struct order *o, const struct frame *frame, struct error *err)
{
	static const struct {
		const char *event;
		int (*run)(struct order *o, const cJSON *message, struct error *err);
	} events[] = {
		{"progress", on_progress},
		{"account", on_account},
		{"gone", on_gone},
		{"challenge", on_challenge},
		{"invalid", on_invalid},
		{"dns", on_dns},
		{"failed", on_failed},
	};
	auto_json cJSON *message = json_parse(frame->data, frame->len, err);
	const char *event = message ? json_string(message, "event", 32, err) : NULL;
	if (!event)
		return -1;
	for (size_t i = 0; i < COUNT(events); i++)
		if (strcmp(event, events[i].event) == 0)
			return events[i].run(o, message, err);
	return error_set(err, ERROR_PERMANENT, "the worker said \"%s\"", event);
}

/* The order is gone when one of these has returned 0 for its last word. */
static void on_frame(struct worker *w, const struct frame *frame, void *context)
{
	(void)w;
	struct order *o = context;
	struct error err;
	int result = frame->type == FRAME_FILES ? on_files(o, frame, &err) : on_message(o, frame, &err);
	if (result < 0)
		order_fail(o, &err, 0);
}

static void on_ended(struct worker *w, const struct error *err, void *context)
{
	(void)w;
	struct error silent;
	error_set(&silent, ERROR_RETRY, "the worker ended without a word");
	order_fail(context, err->kind == ERROR_NONE ? &silent : err, 0);
}

/* ---- */

struct order *order_start(struct event_base *base, struct store *store, struct challenge *challenge,
	const struct hub_certificate *certificate, const struct order_options *options,
	const struct order_handler *handler, void *context, struct error *err)
{
	static const struct worker_handler worker_handler = {.frame = on_frame, .ended = on_ended};
	auto_json cJSON *job = job_new(certificate);
	struct order *o = mem_alloc(sizeof(*o));
	o->store = store;
	o->challenge = challenge;
	o->handler = handler;
	o->context = context;
	o->certificate = mem_strdup(certificate->name);
	o->account = mem_strdup(certificate->acme->name);
	o->record = record_new(certificate);
	cJSON_AddItemToObject(job, "resolvers", text_list(options->resolvers));
	if (order_dns_job(store, certificate, job, err) == 0)
		o->worker = worker_start(base, "acme", ACME_JOB_SECONDS + order_dns_seconds(certificate),
			&worker_handler, o, err);
	if (o->worker && send_job(o, job, err) == 0)
		return o;
	error_wrap(err, "order of %s", certificate->name);
	order_free(o);
	return NULL;
}

void order_cancel(struct order *o)
{
	order_free(o);
}

int order_forget(struct store *store, const char *certificate, struct error *err)
{
	return store_drop(store, orders, certificate, err);
}

int order_next_keys(struct store *store, const char *certificate, uint8_t ret[STORE_PAIRS_MAX][CHAIN_SHA256_SIZE],
	size_t *ret_count, struct error *err)
{
	(void)store, (void)certificate, (void)ret, (void)err;
	*ret_count = 0;
	return 0;
}
