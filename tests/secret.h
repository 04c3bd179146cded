/* Whether a piece of a private key is in some bytes, however it was written. What is looked for is the secret number
 * alone: the rest of a key's file is the same for all keys of its kind, or public.
 */
#ifndef CERTSYNC_TESTS_SECRET_H
#define CERTSYNC_TESTS_SECRET_H

#include "lib/core/base64.h"
#include "lib/core/buf.h"

#include <openssl/bn.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	SECRET_NUMBER_MAX = 1024,
	SECRET_PIECE = 8,  /* so many bytes of it in one piece are nobody's business */
	SECRET_GROUPS = 9, /* as base64 has it, whole groups of three, wherever they begin */
};

static inline bool secret_hex_in(const uint8_t *piece, const char *format, const void *bytes, size_t size)
{
	char hex[2 * SECRET_PIECE + 1];
	for (size_t i = 0; i < SECRET_PIECE; i++)
		snprintf(hex + 2 * i, 3, strcmp(format, "x") == 0 ? "%02x" : "%02X", piece[i]);
	return memmem(bytes, size, hex, 2 * SECRET_PIECE) != NULL;
}

/* The number as it is, in hexadecimal digits, in base64. */
static inline bool secret_number_in(const uint8_t *number, size_t len, const void *bytes, size_t size)
{
	for (size_t i = 0; size && i + SECRET_GROUPS <= len; i++) {
		auto_buf struct buf text = BUF_INIT(64);
		if (base64_encode(number + i, SECRET_GROUPS, &text) < 0)
			abort();
		if (memmem(bytes, size, number + i, SECRET_PIECE) || secret_hex_in(number + i, "x", bytes, size) ||
			secret_hex_in(number + i, "X", bytes, size) || memmem(bytes, size, text.data, text.len))
			return true;
	}
	return false;
}

static inline bool secret_in(const EVP_PKEY *key, const void *bytes, size_t size)
{
	static const char *const names[] = {"priv", "d", "rsa-factor1", "rsa-factor2"};
	uint8_t number[SECRET_NUMBER_MAX];
	size_t len = sizeof(number);
	bool known = EVP_PKEY_get_raw_private_key(key, number, &len) == 1;
	if (known && secret_number_in(number, len, bytes, size))
		return true;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		BIGNUM *n = NULL;
		if (EVP_PKEY_get_bn_param(key, names[i], &n) != 1)
			continue;
		known = true;
		bool found = BN_num_bytes(n) <= SECRET_NUMBER_MAX &&
			secret_number_in(number, (size_t)BN_bn2bin(n, number), bytes, size);
		BN_free(n);
		if (found)
			return true;
	}
	if (!known)
		abort(); /* nothing was looked for */
	return false;
}

#endif
