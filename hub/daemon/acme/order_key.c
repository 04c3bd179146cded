#include "hub/daemon/acme/order_key.h"
#include "hub/worker/acme/acme.h"
#include "hub/daemon/acme/order.h"
#include "lib/core/mem.h"
#include "lib/crypto/seal.h"

#include <openssl/x509.h>
#include <string.h>

enum { KEY_MAX = 64 * 1024 };

/* 1 and the key, owned; 0 there is none, or none that can be read: it is made anew. */
static int next_key(struct store *store, const char *certificate, size_t pair, EVP_PKEY **ret, struct error *err)
{
	auto_buf struct buf pem = BUF_INIT(KEY_MAX);
	auto_free char *name = mem_printf("privkey%s.pem", acme_suffix(pair));
	struct error damaged;
	int found = store_get(store, ORDER_NEXT_KEYS, certificate, name, &pem, err);
	if (found > 0)
		*ret = chain_parse_key(pem.data, pem.len, &damaged);
	return found < 0 ? -1 : found > 0 && *ret;
}

static bool is_of_type(EVP_PKEY *key, const char *key_type)
{
	char type[CHAIN_KEY_TYPE_MAX];
	return strcmp(chain_key_type(key, type), key_type) == 0;
}

/* Of the pairs of the current revision the one of this type. A revision that cannot be read has none: what is wrong with
 * it is told where it is to be served. */
static EVP_PKEY *current_key(struct store *store, const char *certificate, const char *key_type)
{
	struct chain pairs[STORE_PAIRS_MAX] = {0};
	auto_manifest struct manifest current = {0}, loaded = {0};
	struct error ignored;
	size_t count = 0;
	EVP_PKEY *key = NULL;
	if (store_current(store, certificate, &current, &ignored) <= 0 ||
		store_load(store, certificate, current.revision, pairs, &count, &loaded, &ignored) < 0)
		return NULL;
	while (count > 0) {
		struct chain *pair = &pairs[--count];
		if (!key && is_of_type(pair->key, key_type))
			key = steal(pair->key);
		chain_release(pair);
	}
	return key;
}

int order_key_made(struct store *store, const struct hub_certificate *c, size_t pair, bool never_used, struct buf *out,
	struct error *err)
{
	const char *key_type = pair ? c->second_key_type : c->key_type;
	auto_pkey EVP_PKEY *key = NULL;
	if (c->next_key && next_key(store, c->name, pair, &key, err) < 0)
		return -1;
	if (c->reuse_key && !never_used)
		key = current_key(store, c->name, key_type);
	if (!key || !is_of_type(key, key_type))
		return 0;
	const struct chain only_key = {.key = key};
	return chain_write_pem(&only_key, CHAIN_KEY, out, err) < 0 ? -1 : 1;
}

static int digest_of(EVP_PKEY *key, uint8_t ret[CHAIN_SHA256_SIZE], struct error *err)
{
	unsigned char *der = NULL;
	int len = i2d_PUBKEY(key, &der);
	int result = len > 0 ? sha256(der, (size_t)len, ret) : -1;
	OPENSSL_free(der);
	return result < 0 ? openssl_error(err, ERROR_PERMANENT, "SHA-256 of the next key") : 0;
}

int order_next_keys(struct store *store, const char *certificate, uint8_t ret[STORE_PAIRS_MAX][CHAIN_SHA256_SIZE],
	size_t *ret_count, struct error *err)
{
	*ret_count = 0;
	for (size_t i = 0; i < STORE_PAIRS_MAX; i++) {
		auto_pkey EVP_PKEY *key = NULL;
		int found = next_key(store, certificate, i, &key, err);
		if (found < 0 || (found && digest_of(key, ret[*ret_count], err) < 0))
			return -1;
		*ret_count += found > 0;
	}
	return 0;
}
