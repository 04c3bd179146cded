#include "hub/daemon/acme/order.h"
#include "hub/common/worker_jobs.h"
#include "hub/daemon/acme/order_answers.h"
#include "hub/daemon/acme/order_dns.h"
#include "hub/daemon/acme/account_key.h"
#include "hub/daemon/acme/order_key.h"
#include "lib/core/base64.h"
#include "hub/common/url.h"
#include "lib/core/files.h"
#include "lib/core/fs.h"
#include "hub/daemon/record.h"
#include "lib/core/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char accounts[] = "acme";
static const char *const orders[ACME_PAIRS_MAX] = {"orders", "orders-2"};

enum { RECORD_MAX = 64 * 1024 };

struct order {
	struct store *store;
	struct keys *keys;
	const struct order_handler *handler;
	void *context;
	struct worker *worker;
	char *certificate; /* copies, since the configuration may be read again meanwhile */
	char *account;
	cJSON *dns;   /* how dns-01 is done, as the job says it; NULL: it is not */
	char **names; /* likewise; NULL-terminated */
	bool next_key;
	cJSON *records[ACME_PAIRS_MAX];      /* order.json without its url: what each order is for */
	struct chain issued[ACME_PAIRS_MAX]; /* so far */
	struct order_key
		key[ACME_PAIRS_MAX]; /* of each order: the stored one, or the one that a new order is to have */
	struct order_key wanted[ACME_PAIRS_MAX]; /* that a new one is to have; nothing: one is made */
	struct keys_making *making;
	size_t making_pair;
	bool making_next;             /* for the order after this one */
	struct order_key account_key; /* nothing: there is none yet */
	size_t pair_count, issued_count;
	struct order_answers answers;
};

static void order_free(struct order *o)
{
	if (!o)
		return;
	worker_free(o->worker);
	keys_make_cancel(o->making);
	order_answers_release(&o->answers);
	for (size_t i = 0; i < ACME_PAIRS_MAX; i++) {
		cJSON_Delete(o->records[i]);
		chain_release(&o->issued[i]);
	}
	cJSON_Delete(o->dns);
	for (char **name = o->names; *name; name++)
		free(*name);
	free(o->names);
	free(o->certificate);
	free(o->account);
	free(o);
}

static void order_fail(struct order *o, const struct error *err, int64_t retry_after, enum authority_trouble trouble)
{
	struct error copy = *err;
	worker_free(steal(o->worker));
	o->handler->failed(o->certificate, &copy, retry_after, trouble, o->context);
	order_free(o);
}

/* ---- records ---- */

/* The order's key goes, too, unless it is to be used again; what a revision has stays in any case. */
static int order_drop(struct store *store, struct keys *keys, size_t pair, const char *certificate, struct error *err)
{
	struct order_key key;
	struct error ignored;
	if (order_key_load(store, orders[pair], certificate, ORDER_KEY, &key, &ignored) > 0 &&
		!order_key_is_next(store, certificate, &key))
		keys_drop(keys, KEYS_LEAF, key.id, &ignored); /* one that stays is in nobody's way */
	return store_drop(store, orders[pair], certificate, err);
}

static struct record account_record(const struct order *o)
{
	return (struct record){accounts, o->account, "account.json", RECORD_MAX,
		"its URL is asked for with the account's key, which is kept"};
}

static struct record order_record(const struct order *o, size_t pair)
{
	return (struct record){orders[pair], o->certificate, "order.json", RECORD_MAX, "a new order is made"};
}

static cJSON *text_list(char *const *texts)
{
	cJSON *list = cJSON_CreateArray();
	for (; texts && *texts; texts++)
		cJSON_AddItemToArray(list, cJSON_CreateString(*texts));
	return list;
}

/* Makes a record of what an order is for. A stored order for something else is of no use any more. */
static cJSON *record_new(const struct hub_certificate *c, const char *key_type)
{
	cJSON *record = cJSON_CreateObject();
	cJSON_AddStringToObject(record, "account", c->acme->name);
	cJSON_AddStringToObject(record, "directory", c->acme->directory);
	cJSON_AddStringToObject(record, "key_type", key_type);
	if (c->profile)
		cJSON_AddStringToObject(record, "profile", c->profile);
	cJSON_AddItemToObject(record, "names", text_list(c->names));
	return record;
}

static bool is_for(const cJSON *stored, const cJSON *wanted)
{
	const cJSON *member;
	cJSON_ArrayForEach (member, wanted) {
		if (!cJSON_Compare(json_get(stored, member->string), member, true))
			return false;
	}
	/* The stored order was made with a profile that is not wanted any more. */
	return json_get(wanted, "profile") || !json_get(stored, "profile");
}

/* ---- the job ---- */

static int add_account(struct order *o, cJSON *job, struct error *err)
{
	const struct record kept = account_record(o);
	auto_json cJSON *record = NULL;
	int found = order_key_load(o->store, accounts, o->account, ACCOUNT_KEY, &o->account_key, err);
	if (found <= 0)
		return found;
	if (order_key_add(&o->account_key, job, "account_key", err) < 0 ||
		record_find(o->store, &kept, &record, err) < 0)
		return -1;
	/* The configuration has another directory under the same name: the key is kept, and the account is made
	 * there. */
	if (record && strcmp(json_text(record, "directory"), json_text(o->records[0], "directory")) == 0)
		cJSON_AddStringToObject(job, "account_url", json_text(record, "url"));
	return 0;
}

/* Adds the stored order, if it is still wanted. Returns 1, or 0 when there is none. The key was stored first, so an
 * order without one was being dropped. */
static int add_order(struct order *o, size_t pair, cJSON *wish, struct error *err)
{
	const struct record kept = order_record(o, pair);
	auto_json cJSON *record = NULL;
	int found = record_find(o->store, &kept, &record, err);
	if (found < 0)
		return -1;
	if (found && is_for(record, o->records[pair]) && url_is_good(json_text(record, "url")))
		found = order_key_load(o->store, orders[pair], o->certificate, ORDER_KEY, &o->key[pair], err);
	else
		found = 0;
	if (found < 0)
		return -1;
	if (!found)
		return order_drop(o->store, o->keys, pair, o->certificate, err);
	cJSON_AddStringToObject(wish, "order_url", json_text(record, "url"));
	return order_key_add(&o->key[pair], wish, "key", err) < 0 ? -1 : 1;
}

static void add_text(cJSON *object, const char *key, const char *text)
{
	if (text)
		cJSON_AddStringToObject(object, key, text);
}

static cJSON *job_new(const struct hub_certificate *c)
{
	cJSON *job = cJSON_CreateObject();
	cJSON_AddStringToObject(job, "event", "job");
	cJSON_AddStringToObject(job, "certificate", c->name);
	cJSON_AddStringToObject(job, "directory", c->acme->directory);
	cJSON_AddBoolToObject(job, "next_key", c->next_key);
	cJSON_AddBoolToObject(job, "agree_tos", c->acme->agree_tos);
	cJSON_AddItemToObject(job, "names", text_list(c->names));
	cJSON_AddItemToObject(job, "contact", text_list(c->acme->contact));
	add_text(job, "ca_file", c->acme->ca_file);
	add_text(job, "eab_kid", c->acme->eab_kid);
	add_text(job, "profile", c->profile);
	add_text(job, "preferred_chain", c->preferred_chain);
	cJSON_AddBoolToObject(job, "tls_alpn", c->challenge == HUB_CHALLENGE_ALPN);
	return job;
}

/* The key that binds to an account elsewhere is the authority's, and not a private key. */
static int add_binding(const struct hub_acme *acme, struct buf *hmac, struct files *files, struct error *err)
{
	if (!acme->eab_hmac)
		return 0;
	if (fs_read(AT_FDCWD, acme->eab_hmac, true, hmac, err) < 0)
		return error_wrap(err, "eab_hmac");
	return files_add(files, "eab.hmac", hmac->data, hmac->len) == 0
		? 0
		: error_set(err, ERROR_PERMANENT, "eab_hmac %s: too long", acme->eab_hmac);
}

/* Adds one wish for each pair: which key, which stored order, what it replaces. */
static int add_pair(struct order *o, size_t pair, const struct hub_certificate *c, const struct order_options *options,
	cJSON *list, struct error *err)
{
	cJSON *wish = cJSON_CreateObject();
	const char *key_type = pair ? c->second_key_type : c->key_type;
	cJSON_AddItemToArray(list, wish);
	cJSON_AddStringToObject(wish, "key_type", key_type);
	add_text(wish, "replaces", options->replaces[pair]);
	int found = add_order(o, pair, wish, err);
	if (found == 0)
		found = order_key_wanted(o->store, c, pair, options->new_key, &o->wanted[pair], err);
	return found < 0 ? -1 : 0;
}

static int fill_job(struct order *o, const struct hub_certificate *c, const struct order_options *options, cJSON *job,
	struct buf *hmac, struct files *files, struct error *err)
{
	cJSON *list = cJSON_AddArrayToObject(job, "pairs");
	add_text(job, "anchors", options->anchors);
	cJSON_AddItemToObject(job, "resolvers", text_list(options->resolvers));
	if (add_account(o, job, err) < 0 || add_binding(c->acme, hmac, files, err) < 0)
		return -1;
	for (size_t i = 0; i < o->pair_count; i++)
		if (add_pair(o, i, c, options, list, err) < 0)
			return -1;
	/* This order belongs to a pair that is not wanted any more. */
	return o->pair_count < ACME_PAIRS_MAX ? order_drop(o->store, o->keys, 1, o->certificate, err) : 0;
}

static int send_job(struct order *o, const cJSON *job, const struct files *files, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(FRAME_MESSAGE_MAX), bytes = BUF_INIT(FRAME_FILES_MAX);
	if (json_print(job, &text) < 0 || files_encode(files, &bytes) < 0)
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

static void say(struct order *o, const cJSON *message)
{
	auto_buf struct buf text = BUF_INIT(FRAME_MESSAGE_MAX);
	if (json_print(message, &text) == 0)
		worker_send(o->worker, FRAME_MESSAGE, text.data, text.len);
}

static int say_key(struct order *o, const struct order_key *key, struct error *err)
{
	auto_json cJSON *message = cJSON_CreateObject();
	cJSON_AddStringToObject(message, "event", "key");
	if (order_key_add(key, message, "key", err) < 0)
		return -1;
	say(o, message);
	return 0;
}

/* An account has one key for good: of two orders that ask for one at once, the second gets the first one's. */
static int on_account_key(struct order *o, const cJSON *message, struct error *err)
{
	(void)message;
	int found = order_key_load(o->store, accounts, o->account, ACCOUNT_KEY, &o->account_key, err);
	if (found < 0 ||
		(!found && account_key_make(o->store, o->keys, accounts, o->account, &o->account_key, err) < 0))
		return -1;
	return say_key(o, &o->account_key, err);
}

static int take_pair(const struct order *o, const cJSON *message, uint32_t *ret, struct error *err)
{
	if (json_u32(message, "pair", ret, err) < 0)
		return -1;
	return *ret < o->pair_count && *ret < ACME_PAIRS_MAX
		? 0
		: error_set(err, ERROR_PERMANENT, "pair: the worker has not so many");
}

/* Keeps a key of this order's own, once there was none that is to be used instead. */
static int keep_made(struct order *o, const struct buf *spki, struct error *err)
{
	struct order_key made;
	if (order_key_take(&made, spki, err) < 0)
		return -1;
	if (!o->making_next) {
		o->key[o->making_pair] = made;
		return say_key(o, &o->key[o->making_pair], err);
	}
	if (order_key_put_next(o->store, o->keys, o->certificate, o->making_pair, &made, err) < 0)
		return -1;
	say_kept(o);
	return 0;
}

static void on_made(const struct buf *spki, const struct error *err, void *context)
{
	struct order *o = context;
	struct error why = *err;
	o->making = NULL;
	if (!spki || keep_made(o, spki, &why) < 0)
		order_fail(o, &why, 0, AUTHORITY_FAILED);
}

static int make_key(struct order *o, size_t pair, bool next, struct error *err)
{
	if (o->making)
		return error_set(err, ERROR_PERMANENT, "the worker asked for two keys at once");
	o->making_pair = pair;
	o->making_next = next;
	o->making = keys_make(o->keys, json_text(o->records[pair], "key_type"), on_made, o, err);
	return o->making ? 0 : -1;
}

static int on_key(struct order *o, const cJSON *message, struct error *err)
{
	uint32_t pair;
	if (take_pair(o, message, &pair, err) < 0)
		return -1;
	if (!o->wanted[pair].len)
		return make_key(o, pair, false, err);
	o->key[pair] = o->wanted[pair];
	return say_key(o, &o->key[pair], err);
}

/* The key comes first: an order.json says that everything is there. */
static int on_order(struct order *o, const cJSON *message, struct error *err)
{
	uint32_t pair;
	const char *url = json_string(message, "url", URL_MAX, err);
	if (!url || take_pair(o, message, &pair, err) < 0)
		return -1;
	if (!o->key[pair].len)
		return error_set(err, ERROR_PERMANENT, "the worker has an order without a key");
	const struct record kept = order_record(o, pair);
	auto_json cJSON *record = cJSON_Duplicate(o->records[pair], true);
	cJSON_AddStringToObject(record, "url", url);
	/* NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): a constant of two, of which `pair` is one */
	if (order_key_store(o->store, orders[pair], o->certificate, ORDER_KEY, &o->key[pair], err) < 0 ||
		record_put(o->store, &kept, record, err) < 0)
		return -1;
	say_kept(o);
	return 0;
}

static int on_csr(struct order *o, const cJSON *message, struct error *err)
{
	uint32_t pair;
	auto_buf struct buf der = BUF_INIT(FRAME_RECORD_MAX), text = BUF_INIT(FRAME_MESSAGE_MAX);
	if (take_pair(o, message, &pair, err) < 0)
		return -1;
	if (!o->key[pair].len)
		return error_set(err, ERROR_PERMANENT, "the worker has an order without a key");
	if (keys_csr(o->keys, o->key[pair].id, o->names, &der, err) < 0)
		return error_wrap(err, "signing request");
	if (base64url_encode(der.data, der.len, &text) < 0)
		return error_set(err, ERROR_PERMANENT, "the signing request is too long");
	auto_json cJSON *answer = cJSON_CreateObject();
	cJSON_AddStringToObject(answer, "event", "csr");
	cJSON_AddStringToObject(answer, "csr", buf_text(&text));
	say(o, answer);
	return 0;
}

static int on_sign(struct order *o, const cJSON *message, struct error *err)
{
	const char *name = json_string(message, "key", 16, err);
	if (name && (strcmp(name, "account") != 0 || !o->account_key.len))
		return error_set(err, ERROR_PERMANENT, "the worker has no key \"%s\"", name);
	auto_json cJSON *answer =
		name ? account_key_sign(o->keys, KEYS_ACCOUNT, o->account_key.id, message, err) : NULL;
	if (!answer)
		return -1;
	say(o, answer);
	return 0;
}

static int on_next(struct order *o, const cJSON *message, struct error *err)
{
	uint32_t pair;
	if (take_pair(o, message, &pair, err) < 0)
		return -1;
	if (o->next_key) {
		int found = order_key_next_is_unused(
			o->store, o->certificate, pair, json_text(o->records[pair], "key_type"), &o->key[pair], err);
		if (found <= 0)
			return found < 0 ? -1 : make_key(o, pair, true, err);
	}
	say_kept(o);
	return 0;
}

static int read_issued(struct order *o, size_t pair, const struct files *files, struct chain *ret, struct error *err)
{
	int at = need_file(files, "fullchain.pem", err);
	if (at < 0)
		return -1;
	if (!o->key[pair].len)
		return error_set(err, ERROR_PERMANENT, "the worker has a certificate of an order without a key");
	if (chain_parse_pem(files->file[at].data, files->file[at].len, NULL, 0, ret, err) < 0 ||
		order_key_public(&o->key[pair], &ret->key, err) < 0)
		return -1;
	if (X509_check_private_key(ret->leaf, ret->key) != 1)
		return openssl_error(err, ERROR_UNTRUSTED, "key-match: the certificate is not for the stored key");
	return 0;
}

static int keep_issued(struct order *o, size_t pair, const struct files *files, struct error *err)
{
	if (pair != o->issued_count)
		return error_set(err, ERROR_PERMANENT, "the worker sent %s out of turn", files->label);
	if (read_issued(o, pair, files, &o->issued[pair], err) < 0)
		return -1;
	o->issued_count++;
	say_kept(o);
	return 0;
}

/* Ends the order in any case. If the drop fails, the next start meets the same certificates once more. */
static int on_done(struct order *o, const cJSON *message, struct error *err)
{
	struct error ignored;
	(void)message;
	if (o->issued_count != o->pair_count)
		return error_set(err, ERROR_PERMANENT, "the worker ended with %zu of %zu certificates", o->issued_count,
			o->pair_count);
	worker_free(steal(o->worker));
	if (o->handler->issued(o->certificate, o->issued, o->issued_count, o->context) == 0)
		order_forget(o->store, o->keys, o->certificate, &ignored);
	order_free(o);
	return 0;
}

static int on_files(struct order *o, const struct frame *frame, struct error *err)
{
	struct files files;
	if (files_decode(frame->data, frame->len, &files, err) < 0)
		return -1;
	for (size_t pair = 0; pair < o->pair_count; pair++)
		if (strncmp(files.label, "issued", strlen("issued")) == 0 &&
			strcmp(files.label + strlen("issued"), acme_suffix(pair)) == 0)
			return keep_issued(o, pair, &files, err);
	return error_set(err, ERROR_PERMANENT, "the worker sent files \"%s\"", files.label);
}

static int on_warning(struct order *o, const cJSON *message, struct error *err)
{
	const char *text = json_string(message, "text", 4 * ERROR_MESSAGE_MAX, err);
	if (!text)
		return -1;
	if (o->handler->warning)
		o->handler->warning(o->certificate, text, o->context);
	return 0;
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
	const struct record kept = account_record(o);
	auto_json cJSON *record = cJSON_CreateObject();
	if (!url)
		return -1;
	if (!url_is_good(url))
		return error_set(err, ERROR_PERMANENT,
			"the worker calls the account \"%.200s\", which is not a URL of https", url);
	cJSON_AddStringToObject(record, "url", url);
	cJSON_AddStringToObject(record, "directory", json_text(o->records[0], "directory"));
	if (record_put(o->store, &kept, record, err) < 0)
		return -1;
	say_kept(o);
	return 0;
}

static int on_gone(struct order *o, const cJSON *message, struct error *err)
{
	uint32_t pair;
	if (!json_string(message, "reason", ERROR_MESSAGE_MAX, err) || json_u32(message, "pair", &pair, err) < 0)
		return -1;
	if (pair >= o->pair_count)
		return error_set(err, ERROR_PERMANENT, "the worker gave up an order that it has not");
	if (order_drop(o->store, o->keys, pair, o->certificate, err) < 0)
		return -1;
	say_kept(o);
	return 0;
}

/* Returns whether it is one of the order's names; a wildcard's counts without the "*.". */
static bool is_name(const struct order *o, const char *name)
{
	const cJSON *element;
	cJSON_ArrayForEach (element, json_get(o->records[0], "names")) {
		const char *its = element->valuestring;
		if (strcmp(its + (strncmp(its, "*.", 2) == 0 ? 2 : 0), name) == 0)
			return true;
	}
	return false;
}

static int on_invalid(struct order *o, const cJSON *message, struct error *err)
{
	const char *name = json_string(message, "name", 253, err);
	if (!name)
		return -1;
	if (!is_name(o, name))
		return error_set(err, ERROR_PERMANENT,
			"the worker was refused \"%.253s\", which is no name of this order", name);
	if (o->handler->invalid)
		o->handler->invalid(o->certificate, name, o->context);
	return 0;
}

static void on_answered(const struct error *err, void *context)
{
	struct order *o = context;
	if (err->kind == ERROR_NONE)
		say_kept(o);
	else
		order_fail(o, err, 0, AUTHORITY_FAILED);
}

static int on_challenge(struct order *o, const cJSON *message, struct error *err)
{
	const char *name = json_string(message, "name", 253, err);
	if (!name)
		return -1;
	if (!is_name(o, name))
		return error_set(err, ERROR_PERMANENT,
			"the worker wants \"%.253s\" proven, which is no name of this order", name);
	if (o->dns)
		return error_set(err, ERROR_PERMANENT, "the worker wants an answer served, and the order is by dns-01");
	int given = order_answers_give(&o->answers, o->store, o->account, message, on_answered, o, err);
	if (given > 0)
		say_kept(o);
	return given < 0 ? -1 : 0;
}

static int on_dns(struct order *o, const cJSON *message, struct error *err)
{
	if (order_dns_keep(o->store, o->certificate, json_get(o->records[0], "names"), o->dns, message, err) < 0)
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
	enum authority_trouble trouble = authority_trouble(json_text(message, "trouble"));
	order_fail(o, &failure, retry_after, trouble == AUTHORITY_WELL ? AUTHORITY_FAILED : trouble);
	return 0;
}

static int on_message(struct order *o, const struct frame *frame, struct error *err)
{
	static const struct {
		const char *event;
		int (*run)(struct order *o, const cJSON *message, struct error *err);
	} events[] = {
		{"progress", on_progress},
		{"warning", on_warning},
		{"account-key", on_account_key},
		{"sign", on_sign},
		{"account", on_account},
		{"key", on_key},
		{"order", on_order},
		{"csr", on_csr},
		{"next", on_next},
		{"gone", on_gone},
		{"challenge", on_challenge},
		{"invalid", on_invalid},
		{"dns", on_dns},
		{"done", on_done},
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
		order_fail(o, &err, 0, AUTHORITY_FAILED);
}

static void on_ended(struct worker *w, const struct error *err, void *context)
{
	(void)w;
	struct error silent;
	error_set(&silent, ERROR_RETRY, "the worker ended without a word");
	/* An authority that gives its answers byte by byte keeps a worker until its time is over. */
	order_fail(context, err->kind == ERROR_NONE ? &silent : err, 0, AUTHORITY_DOWN);
}

/* ---- life ---- */

static char **copy_list(char *const *texts)
{
	size_t count = 0;
	while (texts[count])
		count++;
	char **copy = mem_array(count + 1, sizeof(*copy));
	for (size_t i = 0; i < count; i++)
		copy[i] = mem_strdup(texts[i]);
	return copy;
}

static struct order *order_new(struct store *store, struct keys *keys, struct challenge *challenge,
	const struct hub_certificate *certificate, const struct order_handler *handler, void *context)
{
	struct order *o = mem_alloc(sizeof(*o));
	o->store = store;
	o->keys = keys;
	o->answers.challenge = challenge;
	o->handler = handler;
	o->context = context;
	o->certificate = mem_strdup(certificate->name);
	o->account = mem_strdup(certificate->acme->name);
	o->names = copy_list(certificate->names);
	o->next_key = certificate->next_key;
	o->pair_count = certificate->second_key_type ? 2 : 1;
	o->records[0] = record_new(certificate, certificate->key_type);
	if (o->pair_count > 1)
		o->records[1] = record_new(certificate, certificate->second_key_type);
	return o;
}

struct order *order_start(struct workers *workers, struct store *store, struct keys *keys, struct challenge *challenge,
	const struct hub_certificate *certificate, const struct order_options *options,
	const struct order_handler *handler, void *context, struct error *err)
{
	static const struct worker_handler worker_handler = {.frame = on_frame, .ended = on_ended};
	static const struct order_options none = {0};
	auto_json cJSON *job = job_new(certificate);
	auto_buf struct buf hmac = BUF_INIT(FILES_FILE_MAX);
	struct files files = {.label = "keys"};
	struct order *o = order_new(store, keys, challenge, certificate, handler, context);
	if (fill_job(o, certificate, options ? options : &none, job, &hmac, &files, err) == 0 &&
		order_dns_job(store, certificate, job, err) == 0)
		o->worker = worker_start(workers, WORKER_ACME,
			(int)o->pair_count * (ACME_JOB_SECONDS + order_dns_seconds(certificate)), &worker_handler, o,
			err);
	o->dns = cJSON_Duplicate(json_get(job, "dns"), true);
	o->answers.responder = certificate->challenge == HUB_CHALLENGE_ALPN && options ? options->responder : NULL;
	if (o->worker && send_job(o, job, &files, err) == 0)
		return o;
	error_wrap(err, "order of %s", certificate->name);
	order_free(o);
	return NULL;
}

void order_cancel(struct order *o)
{
	order_free(o);
}

int order_forget(struct store *store, struct keys *keys, const char *certificate, struct error *err)
{
	for (size_t i = 0; i < ACME_PAIRS_MAX; i++)
		if (order_drop(store, keys, i, certificate, err) < 0)
			return -1;
	return 0;
}
