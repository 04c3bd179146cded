/* A pair as PEM in its parts. The child that opens bundles (agent/root/opener.h) hands it to the root half, which
 * believes and parses nothing of it: it looks at lengths, lines and the alphabet, and takes the SHA-256 of what the
 * base64 stands for.
 */
#ifndef CERTSYNC_AGENT_ROOT_PARTS_H
#define CERTSYNC_AGENT_ROOT_PARTS_H

#include "lib/core/buf.h"
#include "lib/core/error.h"
#include "lib/crypto/chain.h"

struct parts {
	bool rsa;                      /* else ECDSA */
	int64_t not_before, not_after; /* of the leaf */
	struct buf key;                /* one block PRIVATE KEY */
	struct buf leaf;               /* one block CERTIFICATE */
	struct buf rest;               /* up to CHAIN_CERTIFICATES_MAX - 1 of them, or empty */
};

#define PARTS_INIT \
	((struct parts){ \
		.key = BUF_INIT(CHAIN_PEM_MAX), .leaf = BUF_INIT(CHAIN_PEM_MAX), .rest = BUF_INIT(CHAIN_PEM_MAX)})
void parts_release(struct parts *p); /* wipes */
#define auto_parts __attribute__((cleanup(parts_release)))

int parts_put(const struct parts *p, struct buf *out);
/* Does the inverse, and lets through what OpenSSL writes and nothing else: blocks of these kinds, in lines of 64
 * characters of base64, none of them empty, and nothing between, before or behind them. Anything else is
 * ERROR_UNTRUSTED, and `ret` is empty. */
int parts_read(struct reader *r, struct parts *ret, struct error *err);

/* Takes one block of this label from the front of such PEM, and appends the DER that its base64 stands for to `ret`. */
int parts_block(struct reader *r, const char *label, struct buf *ret, struct error *err);

/* These do what chain_digest and chain_fingerprint do, on the bytes that the base64 of the parts stands for. */
int parts_digest(const struct parts *pairs, size_t count, uint8_t ret[CHAIN_SHA256_SIZE], struct error *err);
int parts_fingerprint(const struct parts *p, uint8_t ret[CHAIN_SHA256_SIZE], struct error *err);

#endif
