/* The timestamps of Certificate Transparency (SCTs) that an authority has put into a certificate (RFC 6962 section 3.3):
 * each is a log's promise to publish it. They are read and shown, and their signatures are not verified, for which one
 * would need the logs' keys.
 */
#ifndef CERTSYNC_LIB_CRYPTO_SCT_H
#define CERTSYNC_LIB_CRYPTO_SCT_H

#include "lib/core/error.h"

#include <openssl/x509.h>
#include <stddef.h>
#include <stdint.h>

enum { SCT_LOG_SIZE = 32, SCT_MAX = 16 };

struct sct {
	uint8_t log[SCT_LOG_SIZE]; /* SHA-256 of the log's key, by which it is known */
	int64_t when;              /* wall clock, seconds */
};

struct sct_list {
	struct sct items[SCT_MAX];
	size_t count;
};

/* Returns 0, with a count of 0 for a certificate that has none, or -1 with what is wrong with its list: that stands there
 * twice, is empty, has something behind it, cannot be read, has more than SCT_MAX, or one of another version or of a
 * time that no clock tells. */
int sct_read(const X509 *certificate, struct sct_list *ret, struct error *err);

#endif
