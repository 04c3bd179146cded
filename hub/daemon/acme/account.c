#include "hub/daemon/acme/account.h"
#include "hub/common/worker_jobs.h"
#include "hub/daemon/acme/account_key.h"
#include "hub/daemon/job.h"
#include "hub/common/jws.h"
#include "hub/daemon/events.h"
#include "hub/daemon/revoked.h"
#include "hub/daemon/record.h"
#include "lib/core/clock.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char kind[] = "acme", kind_next[] = "acme-next";

enum { RECORD_MAX = 64 * 1024 };

struct account {
	struct account *next;
	struct hub *hub;
	const struct hub_acme *acme;
	const char *op;
	struct job *job;
	account_done *done;
	void *context;
	bool settled; /* the worker has said how it went */
	struct error outcome;
	/* of a revocation */
	const struct hub_certificate *certificate;
	struct revision revision;
	char reason[REVOKED_REASON_MAX];
	size_t pair, pairs;
	struct order_key key, next_key, leaf; /* of the job; the last two may be nothing */
	bool revoked;                         /* one of the pairs at least */
};

/* ---- records ---- */

static struct record contact_record(const struct hub_acme *acme)
{
	return (struct record){
		kind, acme->name, "contact.json", RECORD_MAX, "the contacts are told to the authority again"};
}

static cJSON *find(struct hub *hub, const struct record *record)
{
	struct error ignored;
	cJSON *o;
	record_find(hub->store, record, &o, &ignored);
	return o;
}

/* The URL is "" where there is no account at the directory that is configured now. */
static void account_url(struct hub *hub, const struct hub_acme *acme, char *ret, size_t size)
{
	const struct record kept = {kind, acme->name, "account.json", RECORD_MAX,
		"its URL is asked for with the account's key, which is kept"};
	auto_json cJSON *record = find(hub, &kept);
	bool same = record && strcmp(json_text(record, "directory"), acme->directory) == 0;
	snprintf(ret, size, "%s", same ? json_text(record, "url") : "");
}

static bool has_next_key(struct hub *hub, const struct hub_acme *acme)
{
	struct error ignored;
	struct order_key key;
	return order_key_load(hub->store, kind_next, acme->name, ACCOUNT_KEY, &key, &ignored) > 0;
}

static cJSON *contact_of(const struct hub_acme *acme)
{
	cJSON *list = cJSON_CreateArray();
	for (char *const *at = acme->contact; at && *at; at++)
		cJSON_AddItemToArray(list, cJSON_CreateString(*at));
	return list;
}

static bool contact_differs(struct hub *hub, const struct hub_acme *acme)
{
	const struct record kept = contact_record(acme);
	auto_json cJSON *record = find(hub, &kept);
	auto_json cJSON *wanted = contact_of(acme);
	if (!record)
		return cJSON_GetArraySize(wanted) > 0;
	return !cJSON_Compare(json_get(record, "contact"), wanted, true);
}

static int keep_contact(struct account *a, struct error *err)
{
	const struct record kept = contact_record(a->acme);
	auto_json cJSON *record = cJSON_CreateObject();
	cJSON_AddItemToObject(record, "contact", contact_of(a->acme));
	return record_put(a->hub->store, &kept, record, err);
}

/* The next key is the account's. It takes the old one's place before it is dropped from its own. */
static int promote(struct account *a, struct error *err)
{
	struct order_key key;
	int found = order_key_load(a->hub->store, kind_next, a->acme->name, ACCOUNT_KEY, &key, err);
	if (found <= 0)
		return found < 0 ? -1 : error_set(err, ERROR_PERMANENT, "store: the next account key has gone");
	return order_key_store(a->hub->store, kind, a->acme->name, ACCOUNT_KEY, &key, err);
}

/* Drops the key of a record that is dropped, or names another key now. A key that stays is in nobody's way. */
static void drop_key(const struct account *a, const struct order_key *k)
{
	struct error ignored;
	if (k->len)
		keys_drop(a->hub->keys, KEYS_ACCOUNT, k->id, &ignored);
}

static int settle_keys(struct account *a, bool is_next, struct error *err)
{
	if (!has_next_key(a->hub, a->acme))
		return 0;
	if (is_next && promote(a, err) < 0)
		return -1;
	log_event(LOG_LEVEL_NOTICE, "account", "account=%s key=%s", a->acme->name, is_next ? "changed" : "unchanged");
	if (store_drop(a->hub->store, kind_next, a->acme->name, err) < 0)
		return -1;
	drop_key(a, is_next ? &a->key : &a->next_key);
	if (is_next)
		a->key = a->next_key;
	return 0;
}

/* Drops what a deactivated account had. */
static int drop_account(struct account *a, struct error *err)
{
	if (store_drop(a->hub->store, kind, a->acme->name, err) < 0)
		return -1;
	drop_key(a, &a->key);
	return 0;
}

/* ---- the end ---- */

static void unlink_account(struct account *a)
{
	struct account **at = &a->hub->accounts;
	while (*at != a)
		at = &(*at)->next;
	*at = a->next;
}

/* A current certificate is replaced at once, with a key that nobody else has where the key was the reason. */
static void tell_revoked(struct account *a)
{
	struct error ignored;
	auto_manifest struct manifest m = {0};
	if (store_current(a->hub->store, a->certificate->name, &m, &ignored) > 0 &&
		revision_compare(m.content.revision, a->revision) == 0)
		a->hub->events->revoked(a->hub, a->certificate->name, strcmp(a->reason, "keyCompromise") == 0);
}

static void finish(struct account *a, const struct error *err)
{
	struct error copy = *err;
	unlink_account(a);
	/* One pair is enough, since what replaces it has all of them anew. */
	if (a->revoked)
		tell_revoked(a);
	if (copy.kind != ERROR_NONE)
		error_wrap(&copy, "account %s: %s", a->acme->name, a->op);
	else
		log_event(LOG_LEVEL_NOTICE, "account", "account=%s done=%s", a->acme->name, a->op);
	a->done(&copy, a->context);
	free(a);
}

static int keep_revocation(struct account *a, struct error *err)
{
	struct revoked r = {.at = clock_wall()};
	uint8_t leaf[CHAIN_SHA256_SIZE];
	struct chain pairs[STORE_PAIRS_MAX] = {0};
	size_t count = 0;
	auto_manifest struct manifest m = {0};
	if (store_load(a->hub->store, a->certificate->name, a->revision, pairs, &count, &m, err) < 0)
		return -1;
	snprintf(r.reason, sizeof(r.reason), "%s", a->reason);
	chain_fingerprint(pairs[a->pair].leaf, leaf);
	/* When it is asked for twice, the authority keeps the first reason. */
	struct revoked before;
	int result = 0;
	if (!revoked_find(a->hub->store, a->certificate->name, leaf, &before))
		result = revoked_note(a->hub->store, a->certificate->name, leaf, &r, err);
	a->revoked = a->revoked || result == 0;
	while (count > 0)
		chain_release(&pairs[--count]);
	return result;
}

static int keep_outcome(struct account *a, bool is_next, struct error *err)
{
	if (settle_keys(a, is_next, err) < 0)
		return -1;
	if (strcmp(a->op, "upkeep") == 0)
		return keep_contact(a, err);
	if (strcmp(a->op, "deactivate") == 0)
		return drop_account(a, err);
	return strcmp(a->op, "revoke") == 0 ? keep_revocation(a, err) : 0;
}

static void on_sign(struct account *a, const cJSON *message)
{
	const struct {
		const char *name;
		enum keys_class key_class;
		const struct order_key *key;
	} keys[] = {{"account", KEYS_ACCOUNT, &a->key}, {"next", KEYS_ACCOUNT, &a->next_key},
		{"leaf", KEYS_LEAF, &a->leaf}};
	struct error err;
	const char *name = json_text(message, "key");
	error_set(&err, ERROR_PERMANENT, "the worker has no key \"%s\"", name);
	for (size_t i = 0; i < COUNT(keys); i++) {
		if (strcmp(name, keys[i].name) != 0 || !keys[i].key->len)
			continue;
		auto_json cJSON *answer =
			account_key_sign(a->hub->keys, keys[i].key_class, keys[i].key->id, message, &err);
		if (!answer)
			break;
		job_send(a->job, answer);
		return;
	}
	/* The worker then says why it could not go on. */
	auto_json cJSON *refusal = cJSON_CreateObject();
	cJSON_AddStringToObject(refusal, "event", "signed");
	cJSON_AddStringToObject(refusal, "error", err.message);
	job_send(a->job, refusal);
}

static void on_message(const char *event, const cJSON *message, void *context)
{
	struct account *a = context;
	if (strcmp(event, "sign") == 0) {
		on_sign(a, message);
		return;
	}
	a->settled = true;
	if (strcmp(event, "done") != 0)
		error_set(&a->outcome, ERROR_RETRY, "%s", json_text(message, "text"));
	else if (keep_outcome(a, strcmp(json_text(message, "key"), "next") == 0, &a->outcome) == 0)
		a->outcome.kind = ERROR_NONE;
}

static int start_worker(struct account *a, struct error *err);

static void on_ended(const struct error *err, void *context)
{
	struct account *a = context;
	a->job = NULL;
	if (!a->settled)
		a->outcome = *err;
	if (!a->settled && err->kind == ERROR_NONE)
		error_set(&a->outcome, ERROR_RETRY, "the worker ended without a word");
	a->settled = false;
	if (a->outcome.kind == ERROR_NONE && ++a->pair < a->pairs && start_worker(a, &a->outcome) == 0)
		return;
	finish(a, &a->outcome);
}

/* ---- the beginning ---- */

/* Adds the chain, and to `a` the key that may speak for it. */
static int add_pair(struct account *a, struct buf *chain, struct files *files, struct error *err)
{
	struct chain pairs[STORE_PAIRS_MAX] = {0};
	auto_manifest struct manifest m = {0};
	auto_buf struct buf spki = BUF_INIT(KEYS_SPKI_MAX);
	if (!a->certificate)
		return 0;
	if (store_load(a->hub->store, a->certificate->name, a->revision, pairs, &a->pairs, &m, err) < 0)
		return -1;
	int result = chain_write_pem(&pairs[a->pair], CHAIN_LEAF | CHAIN_REST, chain, err);
	if (result == 0)
		result = chain_write_spki(pairs[a->pair].key, &spki, err);
	if (result == 0)
		result = order_key_take(&a->leaf, &spki, err);
	for (size_t i = 0; i < a->pairs; i++)
		chain_release(&pairs[i]);
	files_add(files, "fullchain.pem", chain->data, chain->len);
	return result;
}

static int load_key(struct account *a, const char *from, struct order_key *ret, struct error *err)
{
	ret->len = 0;
	return order_key_load(a->hub->store, from, a->acme->name, ACCOUNT_KEY, ret, err);
}

static int add_keys(const struct account *a, cJSON *job, struct error *err)
{
	if (order_key_add(&a->key, job, "account_key", err) < 0 ||
		(a->next_key.len && order_key_add(&a->next_key, job, "next_key", err) < 0))
		return -1;
	return a->leaf.len ? order_key_add(&a->leaf, job, "leaf_key", err) : 0;
}

static cJSON *job_new(const struct account *a)
{
	char url[2048];
	cJSON *job = cJSON_CreateObject();
	account_url(a->hub, a->acme, url, sizeof(url));
	cJSON_AddStringToObject(job, "event", "job");
	cJSON_AddStringToObject(job, "op", a->op);
	cJSON_AddStringToObject(job, "directory", a->acme->directory);
	cJSON_AddStringToObject(job, "account_url", url);
	if (a->acme->ca_file)
		cJSON_AddStringToObject(job, "ca_file", a->acme->ca_file);
	if (strcmp(a->op, "upkeep") == 0 && contact_differs(a->hub, a->acme))
		cJSON_AddItemToObject(job, "contact", contact_of(a->acme));
	if (a->certificate)
		cJSON_AddNumberToObject(job, "reason", revoked_code(a->reason));
	return job;
}

static int start_worker(struct account *a, struct error *err)
{
	static const struct job_handler handler = {.message = on_message, .ended = on_ended};
	auto_buf struct buf chain = BUF_INIT(FILES_FILE_MAX);
	struct files files = {.label = "files"};
	auto_json cJSON *job = job_new(a);
	int found = load_key(a, kind, &a->key, err);
	if (found == 0 || (found > 0 && !json_text(job, "account_url")[0]))
		return error_set(err, ERROR_USAGE, "there is no account at %s yet: the first order makes it",
			a->acme->directory);
	if (found < 0 || load_key(a, kind_next, &a->next_key, err) < 0 || add_pair(a, &chain, &files, err) < 0 ||
		add_keys(a, job, err) < 0)
		return -1;
	a->job = job_start(a->hub->workers, WORKER_ACCOUNT, ACME_ACCOUNT_SECONDS, job, &files, &handler, a, err);
	return a->job ? 0 : -1;
}

static struct account *account_new(struct hub *hub, const struct hub_acme *acme, const char *op, account_done *done,
	void *context, struct error *err)
{
	for (const struct account *a = hub->accounts; a; a = a->next) {
		if (a->acme == acme) {
			error_set(err, ERROR_RETRY, "account %s: %s is under way: try again when it is done",
				acme->name, a->op);
			return NULL;
		}
	}
	struct account *a = mem_alloc(sizeof(*a));
	a->hub = hub;
	a->acme = acme;
	a->op = op;
	a->done = done;
	a->context = context;
	a->next = hub->accounts;
	hub->accounts = a;
	return a;
}

/* Takes `a` over; returns NULL when it cannot begin. */
static struct account *begin(struct account *a, struct error *err)
{
	if (!a || start_worker(a, err) == 0)
		return a;
	account_cancel(a);
	return NULL;
}

bool account_is_busy(const struct hub *hub, const struct hub_acme *acme)
{
	for (const struct account *a = hub->accounts; a; a = a->next)
		if (a->acme == acme)
			return true;
	return false;
}

bool account_needs_upkeep(struct hub *hub, const struct hub_acme *acme)
{
	char url[2048];
	account_url(hub, acme, url, sizeof(url));
	return url[0] && (has_next_key(hub, acme) || contact_differs(hub, acme));
}

struct account *account_upkeep(
	struct hub *hub, const struct hub_acme *acme, account_done *done, void *context, struct error *err)
{
	return begin(account_new(hub, acme, "upkeep", done, context, err), err);
}

/* Makes the new key, unless one exists already whose fate is not known. */
static int make_next_key(struct hub *hub, const struct hub_acme *acme, struct error *err)
{
	struct order_key key;
	if (has_next_key(hub, acme))
		return 0;
	return account_key_make(hub->store, hub->keys, kind_next, acme->name, &key, err);
}

struct account *account_rollover(
	struct hub *hub, const struct hub_acme *acme, account_done *done, void *context, struct error *err)
{
	char url[2048];
	account_url(hub, acme, url, sizeof(url));
	if (url[0] && make_next_key(hub, acme, err) < 0)
		return NULL;
	return begin(account_new(hub, acme, "rollover", done, context, err), err);
}

struct account *account_deactivate(
	struct hub *hub, const struct hub_acme *acme, account_done *done, void *context, struct error *err)
{
	return begin(account_new(hub, acme, "deactivate", done, context, err), err);
}

/* Returns the authority that has issued a revision: only that one revokes it. */
static const struct hub_acme *issuer_of(
	struct hub *hub, const struct hub_certificate *certificate, struct revision revision)
{
	struct error ignored;
	auto_manifest struct manifest m = {0};
	if (store_manifest(hub->store, certificate->name, revision, &m, &ignored) <= 0 || strcmp(m.source, "acme") != 0)
		return certificate->acme;
	for (size_t i = 0; i < certificate->acme_count; i++)
		if (strcmp(certificate->acmes[i]->name, m.reason) == 0)
			return certificate->acmes[i];
	return certificate->acme;
}

struct account *account_revoke(struct hub *hub, const struct hub_certificate *certificate, struct revision revision,
	const char *reason, account_done *done, void *context, struct error *err)
{
	struct account *a = account_new(hub, issuer_of(hub, certificate, revision), "revoke", done, context, err);
	if (!a)
		return NULL;
	a->certificate = certificate;
	a->revision = revision;
	snprintf(a->reason, sizeof(a->reason), "%s", reason);
	return begin(a, err);
}

void account_cancel(struct account *a)
{
	if (!a)
		return;
	job_cancel(a->job);
	unlink_account(a);
	free(a);
}

void account_close(struct hub *hub)
{
	struct error err;
	while (hub->accounts) {
		error_set(&err, ERROR_RETRY, "interrupted: nothing is lost, ask again");
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): finish takes it off the list */
		job_cancel(steal(hub->accounts->job));
		finish(hub->accounts, &err);
	}
}

/* ---- what is known ---- */

void account_facts(struct hub *hub, const struct hub_acme *acme, struct account_facts *ret)
{
	struct error ignored;
	struct order_key stored;
	auto_buf struct buf contact = BUF_INIT(sizeof(ret->contact) - 1);
	auto_pkey EVP_PKEY *key = NULL;
	const struct record kept = contact_record(acme);
	auto_json cJSON *record = find(hub, &kept);
	const cJSON *one;
	*ret = (struct account_facts){.unsettled = has_next_key(hub, acme)};
	account_url(hub, acme, ret->url, sizeof(ret->url));
	if (order_key_load(hub->store, kind, acme->name, ACCOUNT_KEY, &stored, &ignored) > 0)
		order_key_public(&stored, &key, &ignored);
	if (key && jws_thumbprint(key, ret->thumbprint, &ignored) < 0)
		ret->thumbprint[0] = '\0';
	cJSON_ArrayForEach (one, json_get(record, "contact")) {
		if (cJSON_IsString(one))
			buf_addf(&contact, "%s%s", contact.len ? ", " : "", one->valuestring);
	}
	snprintf(ret->contact, sizeof(ret->contact), "%s", contact.len ? buf_text(&contact) : "");
}
