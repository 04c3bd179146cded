#include "lib/crypto/statement.h"

static int signed_bytes(const char *label, const uint8_t *data, size_t len, struct buf *out)
{
	return buf_put_string(out, label) < 0 ? -1 : buf_put_bytes(out, data, len);
}

int statement_sign(const char *label, const struct buf *body, const uint8_t private_key[SEAL_KEY_SIZE], struct buf *out,
	struct error *err)
{
	uint8_t signature[SEAL_SIGNATURE_SIZE];
	auto_buf struct buf text = BUF_INIT(2 * STATEMENT_MAX);
	if (body->len + SEAL_SIGNATURE_SIZE > STATEMENT_MAX || signed_bytes(label, body->data, body->len, &text) < 0)
		return error_set(err, ERROR_PERMANENT, "\"%s\": %zu bytes are too many", label, body->len);
	if (sign(private_key, text.data, text.len, signature, err) < 0)
		return -1;
	if (buf_add(out, body->data, body->len) < 0 || buf_add(out, signature, sizeof(signature)) < 0)
		return error_set(err, ERROR_PERMANENT, "\"%s\": %zu bytes are too many", label, body->len);
	return 0;
}

int statement_open(const char *label, const char *what, const uint8_t *data, size_t len, const struct bundle_keys *keys,
	struct reader *ret, const uint8_t **ret_signer, struct error *err)
{
	struct error ignored;
	auto_buf struct buf text = BUF_INIT(2 * STATEMENT_MAX);
	const size_t body = len < SEAL_SIGNATURE_SIZE ? 0 : len - SEAL_SIGNATURE_SIZE;
	if (len < SEAL_SIGNATURE_SIZE || len > STATEMENT_MAX || signed_bytes(label, data, body, &text) < 0)
		return error_set(err, ERROR_UNTRUSTED, "%s: %zu bytes are not such a list", what, len);
	for (size_t i = 0; i < keys->signer_count; i++) {
		if (sign_check(keys->signers[i], text.data, text.len, data + body, &ignored) < 0)
			continue;
		*ret = READER(data, body);
		if (ret_signer)
			*ret_signer = keys->signers[i];
		return 0;
	}
	return error_set(err, ERROR_UNTRUSTED, "%s: the list is not signed by a key that is pinned here", what);
}
