#include "lib/core/base64.h"

#include <stdint.h>
#include <string.h>

#define LETTERS_AND_DIGITS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

static const char standard[] = LETTERS_AND_DIGITS "+/";
static const char for_urls[] = LETTERS_AND_DIGITS "-_";

static int encode(const char *alphabet, bool padded, const void *data, size_t len, struct buf *out)
{
	const uint8_t *in = data;
	const size_t rest = len % 3;
	const size_t text_len = len / 3 * 4 + (!rest ? 0 : padded ? 4 : rest + 1);
	char *to = (char *)buf_reserve(out, text_len);
	if (!to)
		return -1;
	for (size_t i = 0; i < text_len; i += 4) {
		const size_t at = i / 4 * 3, left = len - at;
		const uint32_t bits = (uint32_t)in[at] << 16 | (left > 1 ? (uint32_t)in[at + 1] << 8 : 0) |
			(left > 2 ? in[at + 2] : 0);
		for (size_t k = 0; k < 4 && i + k < text_len; k++)
			to[i + k] = k > left ? '=' : alphabet[bits >> (18 - 6 * k) & 63];
	}
	buf_added(out, text_len);
	return 0;
}

/* By comparisons and not by a table: what is decoded may be a key, which then leaves no trace in the cache. */
static int digit_of(const char *alphabet, char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == alphabet[62] ? 62 : c == alphabet[63] ? 63 : -1;
}

/* Decodes `count` characters, two to four, to count - 1 bytes. Returns -1 for what is none of the alphabet, or if
 * `strict` where a bit that is left over is not zero. */
static int decode_group(const char *alphabet, bool strict, const char *text, size_t count, uint8_t ret[3])
{
	uint32_t bits = 0;
	for (size_t i = 0; i < 4; i++) {
		const int digit = i < count ? digit_of(alphabet, text[i]) : 0;
		if (digit < 0)
			return -1;
		bits = bits << 6 | (uint32_t)digit;
	}
	ret[0] = (uint8_t)(bits >> 16);
	ret[1] = (uint8_t)(bits >> 8);
	ret[2] = (uint8_t)bits;
	return strict && ((count < 4 && ret[2]) || (count < 3 && ret[1])) ? -1 : 0;
}

/* Decodes `len` characters. Returns -1 with the group that is wrong, counted in characters from 0, or with `len` when
 * `out` is full. */
static int decode(const char *alphabet, bool strict, const char *text, size_t len, struct buf *out, size_t *ret_wrong)
{
	const size_t before = out->len;
	for (size_t i = 0; i < len; i += 4) {
		uint8_t bytes[3] = {0};
		const size_t count = len - i < 4 ? len - i : 4;
		const bool bad = decode_group(alphabet, strict, text + i, count, bytes) < 0;
		const bool full = !bad && buf_add(out, bytes, count - 1) < 0;
		explicit_bzero(bytes, sizeof(bytes));
		if (!bad && !full)
			continue;
		if (out->len > before)
			explicit_bzero(out->data + before, out->len - before);
		out->len = before;
		*ret_wrong = bad ? i : len;
		return -1;
	}
	return 0;
}

int base64_encode(const void *data, size_t len, struct buf *out)
{
	return encode(standard, true, data, len, out);
}

int base64_decode(const char *text, struct buf *out, struct error *err)
{
	const size_t len = strlen(text);
	size_t wrong;
	if (len % 4)
		return error_set(err, ERROR_USAGE, "base64: %zu characters are not a multiple of four", len);
	const size_t padding = len && text[len - 1] == '=' ? (text[len - 2] == '=' ? 2 : 1) : 0;
	if (decode(standard, true, text, len - padding, out, &wrong) == 0)
		return 0;
	if (wrong < len - padding)
		return error_set(err, ERROR_USAGE, "base64: no valid text at character %zu", wrong + 1);
	return error_set(err, ERROR_USAGE, "base64: more than %zu bytes", out->max);
}

int base64url_encode(const void *data, size_t len, struct buf *out)
{
	return encode(for_urls, false, data, len, out);
}

int base64url_decode(const char *text, struct buf *out)
{
	const size_t len = strcspn(text, "=");
	size_t wrong;
	if (text[len + strspn(text + len, "=")] || len % 4 == 1)
		return -1;
	return decode(for_urls, false, text, len, out, &wrong);
}

bool base64url_is(const char *text, size_t max)
{
	const size_t len = strspn(text, for_urls);
	return len > 0 && len <= max && text[len] == '\0';
}
