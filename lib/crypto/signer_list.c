#include "lib/crypto/signer_list.h"

#include <string.h>

static const char label[] = "certsync signing keys 1";

bool signer_list_has(const struct signer_list *l, const uint8_t key[SEAL_KEY_SIZE])
{
	for (size_t i = 0; i < l->count; i++)
		if (memcmp(l->keys[i], key, SEAL_KEY_SIZE) == 0)
			return true;
	return false;
}

int signer_list_sign(
	const struct signer_list *l, const uint8_t private_key[SEAL_KEY_SIZE], struct buf *out, struct error *err)
{
	auto_buf struct buf body = BUF_INIT(SIGNER_LIST_MAX);
	int result = buf_put_u64(&body, (uint64_t)l->serial) < 0 ? -1 : buf_put_u8(&body, (uint8_t)l->count);
	for (size_t i = 0; i < l->count && result == 0; i++)
		result = buf_add(&body, l->keys[i], SEAL_KEY_SIZE);
	if (result < 0)
		return error_set(err, ERROR_PERMANENT, "the list of signing keys is too long");
	return statement_sign(label, &body, private_key, out, err);
}

/* A key that stands in a list twice makes the list invalid. */
static void read_key(struct reader *in, struct signer_list *l)
{
	const uint8_t *key = read_raw(in, SEAL_KEY_SIZE);
	if (!key || signer_list_has(l, key))
		in->failed = true;
	else
		memcpy(l->keys[l->count++], key, SEAL_KEY_SIZE);
}

int signer_list_open(
	const uint8_t *data, size_t len, const struct bundle_keys *keys, struct signer_list *ret, struct error *err)
{
	struct signer_list l = {0};
	struct reader in;
	const uint8_t *signer;
	if (statement_open(label, "signing keys", data, len, keys, &in, &signer, err) < 0)
		return -1;
	l.serial = (int64_t)read_u64(&in);
	size_t count = read_u8(&in);
	if (count == 0 || count > BUNDLE_SIGNERS_MAX || l.serial <= 0)
		in.failed = true;
	for (size_t i = 0; i < count && !in.failed; i++)
		read_key(&in, &l);
	if (!read_done(&in))
		return error_set(err, ERROR_PERMANENT, "signing keys: the list is malformed");
	if (!signer_list_has(&l, signer))
		return error_set(err, ERROR_UNTRUSTED, "signing keys: the key that signed the list is not in it");
	*ret = l;
	return 0;
}
