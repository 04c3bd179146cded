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

int host_pins_sign(
	const struct host_pins *p, const uint8_t private_key[SEAL_KEY_SIZE], struct buf *out, struct error *err)
{
	auto_buf struct buf body = BUF_INIT(HOST_PINS_MAX);
	int result = buf_put_u64(&body, (uint64_t)p->serial) < 0 ? -1 : buf_put_u8(&body, (uint8_t)p->count);
	for (size_t i = 0; i < p->count && result == 0; i++)
		result = buf_put_string(&body, p->hosts[i]);
	if (result < 0)
		return error_set(err, ERROR_PERMANENT, "the list of host keys is too long");
	return statement_sign(label, &body, private_key, out, err);
}

int host_pins_open(
	const uint8_t *data, size_t len, const struct bundle_keys *keys, struct host_pins *ret, struct error *err)
{
	struct host_pins p = {0};
	struct reader in;
	if (statement_open(label, "host keys", data, len, keys, &in, NULL, err) < 0)
		return -1;
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
