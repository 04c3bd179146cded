#include "hub/daemon/acme/order_key.h"
#include "lib/core/base64.h"
#include "hub/daemon/acme/order.h"
#include "lib/core/mem.h"
#include "lib/crypto/seal.h"

#include <stdio.h>
#include <string.h>

static const char *const next_file[STORE_PAIRS_MAX] = {"key.pub", "key-2.pub"};

int order_key_take(struct order_key *k, const struct buf *spki, struct error *err)
{
	*k = (struct order_key){.len = 0};
	if (spki->len == 0 || spki->len > sizeof(k->spki) || sha256(spki->data, spki->len, k->id) < 0)
		return error_set(err, ERROR_PERMANENT, "a public key of %zu bytes", spki->len);
	memcpy(k->spki, spki->data, spki->len);
	k->len = spki->len;
	return 0;
}

int order_key_load(struct store *store, const char *kind, const char *name, const char *file, struct order_key *ret,
	struct error *err)
{
	auto_buf struct buf spki = BUF_INIT(KEYS_SPKI_MAX);
	int found = store_get(store, kind, name, file, &spki, err);
	if (found <= 0)
		return found;
	if (order_key_take(ret, &spki, err) < 0)
		return error_wrap(err, "store: record %s/%s: %s", kind, name, file);
	return 1;
}

int order_key_store(struct store *store, const char *kind, const char *name, const char *file,
	const struct order_key *k, struct error *err)
{
	return store_put(store, kind, name, file, k->spki, k->len, err);
}

int order_key_add(const struct order_key *k, cJSON *object, const char *member, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(2 * KEYS_SPKI_MAX);
	if (base64url_encode(k->spki, k->len, &text) < 0)
		return error_set(err, ERROR_PERMANENT, "a public key is too long");
	cJSON_AddStringToObject(object, member, buf_text(&text));
	return 0;
}

int order_key_public(const struct order_key *k, EVP_PKEY **ret, struct error *err)
{
	*ret = chain_public_key(k->spki, k->len, err);
	return *ret ? 0 : -1;
}

static bool is_of_type(EVP_PKEY *key, const char *key_type)
{
	char type[CHAIN_KEY_TYPE_MAX];
	return strcmp(chain_key_type(key, type), key_type) == 0;
}

static bool has_type(const struct order_key *k, const char *key_type)
{
	struct error damaged;
	auto_pkey EVP_PKEY *key = NULL;
	return order_key_public(k, &key, &damaged) == 0 && is_of_type(key, key_type);
}

/* Finds the pair of this type in the current revision. A revision that cannot be read has none; what is wrong with it
 * is told where it is to be served. */
static int current_key(
	struct store *store, const char *certificate, const char *key_type, struct order_key *ret, struct error *err)
{
	struct chain pairs[STORE_PAIRS_MAX] = {0};
	auto_manifest struct manifest current = {0}, loaded = {0};
	auto_buf struct buf spki = BUF_INIT(KEYS_SPKI_MAX);
	struct error ignored;
	size_t count = 0;
	int result = 0;
	if (store_current(store, certificate, &current, &ignored) <= 0 ||
		store_load(store, certificate, current.content.revision, pairs, &count, &loaded, &ignored) < 0)
		return 0;
	while (count > 0) {
		struct chain *pair = &pairs[--count];
		if (result == 0 && !spki.len && is_of_type(pair->key, key_type))
			result = chain_write_spki(pair->key, &spki, err);
		chain_release(pair);
	}
	if (result == 0 && spki.len)
		result = order_key_take(ret, &spki, err) < 0 ? -1 : 1;
	return result;
}

int order_key_wanted(struct store *store, const struct hub_certificate *c, size_t pair, bool never_used,
	struct order_key *ret, struct error *err)
{
	const char *key_type = pair ? c->second_key_type : c->key_type;
	int found = 0;
	*ret = (struct order_key){.len = 0};
	if (c->next_key)
		found = order_key_load(store, ORDER_NEXT_KEYS, c->name, next_file[pair], ret, err);
	else if (c->reuse_key && !never_used)
		found = current_key(store, c->name, key_type, ret, err);
	if (found > 0 && !has_type(ret, key_type))
		found = 0;
	if (found <= 0)
		ret->len = 0;
	return found;
}

int order_key_next_is_unused(struct store *store, const char *certificate, size_t pair, const char *key_type,
	const struct order_key *used, struct error *err)
{
	struct order_key next;
	int found = order_key_load(store, ORDER_NEXT_KEYS, certificate, next_file[pair], &next, err);
	return found <= 0 ? found : memcmp(next.id, used->id, sizeof(next.id)) != 0 && has_type(&next, key_type);
}

int order_key_put_next(struct store *store, struct keys *keys, const char *certificate, size_t pair,
	const struct order_key *k, struct error *err)
{
	struct error ignored;
	struct order_key old;
	/* The old key is kept until the order is over, whose key it may be. */
	bool had = order_key_load(store, ORDER_NEXT_KEYS, certificate, next_file[pair], &old, &ignored) > 0;
	if (order_key_store(store, ORDER_NEXT_KEYS, certificate, next_file[pair], k, err) < 0)
		return -1;
	struct order_key of_order[STORE_PAIRS_MAX];
	static const char *const kinds[STORE_PAIRS_MAX] = {"orders", "orders-2"};
	for (size_t i = 0; i < STORE_PAIRS_MAX && had; i++)
		if (order_key_load(store, kinds[i], certificate, ORDER_KEY, &of_order[i], &ignored) > 0 &&
			memcmp(of_order[i].id, old.id, sizeof(old.id)) == 0)
			had = false;
	if (had)
		keys_drop(keys, KEYS_LEAF, old.id, &ignored); /* one that stays is in nobody's way */
	return 0;
}

bool order_key_is_next(struct store *store, const char *certificate, const struct order_key *k)
{
	struct error ignored;
	struct order_key next;
	for (size_t i = 0; i < STORE_PAIRS_MAX; i++)
		if (order_key_load(store, ORDER_NEXT_KEYS, certificate, next_file[i], &next, &ignored) > 0 &&
			memcmp(next.id, k->id, sizeof(next.id)) == 0)
			return true;
	return false;
}

int order_next_keys(struct store *store, const char *certificate, uint8_t ret[STORE_PAIRS_MAX][CHAIN_SHA256_SIZE],
	size_t *ret_count, struct error *err)
{
	*ret_count = 0;
	for (size_t i = 0; i < STORE_PAIRS_MAX; i++) {
		struct order_key next;
		int found = order_key_load(store, ORDER_NEXT_KEYS, certificate, next_file[i], &next, err);
		if (found < 0)
			return -1;
		if (found)
			memcpy(ret[(*ret_count)++], next.id, CHAIN_SHA256_SIZE);
	}
	return 0;
}
