#include "lib/crypto/host_pins.h"
#include "lib/core/mem.h"

#include <string.h>

static const char label[] = "certsync host keys 1";
static const char prefix[] = "SHA256:";

enum { DIGEST_LENGTH = 43 }; /* SHA-256 in base64 without its padding */

bool host_pin_is_valid(const char *text)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	if (strncmp(text, prefix, strlen(prefix)) != 0)
		return false;
	text += strlen(prefix);
	return strlen(text) == DIGEST_LENGTH && strspn(text, alphabet) == DIGEST_LENGTH;
}

/* What is signed: the label, then the bytes in front of the signature. */
static int signed_bytes(const uint8_t *data, size_t len, struct buf *out)
{
	return buf_put_string(out, label) < 0 ? -1 : buf_put_bytes(out, data, len);
}

int host_pins_sign(const struct host_pins *p, const uint8_t private_key[SEAL_KEY_SIZE], struct buf *out, struct error *err)
{
	uint8_t signature[SEAL_SIGNATURE_SIZE];
	auto_buf struct buf body = BUF_INIT(HOST_PINS_MAX), text = BUF_INIT(2 * HOST_PINS_MAX);
	int result = buf_put_u64(&body, (uint64_t)p->serial) < 0 ? -1 : buf_put_u8(&body, (uint8_t)p->count);
	for (size_t i = 0; i < p->count && result == 0; i++)
		result = buf_put_string(&body, p->hosts[i]);
	if (result < 0 || signed_bytes(body.data, body.len, &text) < 0)
		return error_set(err, ERROR_PERMANENT, "the list of host keys is too long");
	if (sign(private_key, text.data, text.len, signature, err) < 0)
		return -1;
	if (buf_add(out, body.data, body.len) < 0 || buf_add(out, signature, sizeof(signature)) < 0)
		return error_set(err, ERROR_PERMANENT, "the list of host keys is too long");
	return 0;
}

static int check_signature(const uint8_t *data, size_t len, const struct bundle_keys *keys, struct error *err)
{
	struct error ignored;
	auto_buf struct buf text = BUF_INIT(2 * HOST_PINS_MAX);
	if (len < SEAL_SIGNATURE_SIZE || len > HOST_PINS_MAX || signed_bytes(data, len - SEAL_SIGNATURE_SIZE, &text) < 0)
		return error_set(err, ERROR_UNTRUSTED, "host keys: a list of %zu bytes is none", len);
	for (size_t i = 0; i < keys->signer_count; i++)
		if (sign_check(keys->signers[i], text.data, text.len, data + len - SEAL_SIGNATURE_SIZE, &ignored) == 0)
			return 0;
	return error_set(err, ERROR_UNTRUSTED, "host keys: the list is not signed by a key that is pinned here");
}

int host_pins_open(const uint8_t *data, size_t len, const struct bundle_keys *keys, struct host_pins *ret, struct error *err)
{
	struct host_pins p = {0};
	if (check_signature(data, len, keys, err) < 0)
		return -1;
	struct reader in = READER(data, len - SEAL_SIGNATURE_SIZE);
	p.serial = (int64_t)read_u64(&in);
	size_t count = read_u8(&in);
	if (count == 0 || count > HOST_PINS_COUNT || p.serial <= 0)
		in.failed = true;
	for (; p.count < count && !in.failed; p.count++) {
		read_string(&in, p.hosts[p.count], sizeof(p.hosts[0]));
		in.failed = in.failed || !host_pin_is_valid(p.hosts[p.count]);
	}
	if (!read_done(&in))
		return error_set(err, ERROR_PERMANENT, "host keys: the list is malformed");
	*ret = p;
	return 0;
}
