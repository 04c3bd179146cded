#include "hub/common/base64url.h"

#include <stdint.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

int base64url_encode(const void *data, size_t len, struct buf *out)
{
	const uint8_t *in = data;
	size_t rest = len % 3;
	char *to = (char *)buf_reserve(out, len / 3 * 4 + (rest ? rest + 1 : 0));
	if (!to)
		return -1;
	char *start = to;
	for (size_t i = 0; i < len; i += 3) {
		size_t left = len - i;
		uint32_t bits =
			(uint32_t)in[i] << 16 | (left > 1 ? (uint32_t)in[i + 1] << 8 : 0) | (left > 2 ? in[i + 2] : 0);
		*to++ = alphabet[bits >> 18];
		*to++ = alphabet[bits >> 12 & 63];
		if (left > 1)
			*to++ = alphabet[bits >> 6 & 63];
		if (left > 2)
			*to++ = alphabet[bits & 63];
	}
	buf_added(out, (size_t)(to - start));
	return 0;
}

int base64url_decode(const char *text, struct buf *out)
{
	size_t len = strcspn(text, "=");
	uint32_t bits = 0;
	if (text[len + strspn(text + len, "=")] || len % 4 == 1)
		return -1;
	for (size_t i = 0; i < len; i++) {
		const char *at = strchr(alphabet, text[i]);
		if (!at)
			return -1;
		bits = bits << 6 | (uint32_t)(at - alphabet);
		if (i % 4 == 0)
			continue;
		const uint8_t byte = (uint8_t)(bits >> (6 - 2 * (i % 4)));
		if (buf_add(out, &byte, 1) < 0)
			return -1;
	}
	return 0;
}

bool base64url_is(const char *text, size_t max)
{
	size_t len = strspn(text, alphabet);
	return len > 0 && len <= max && text[len] == '\0';
}
