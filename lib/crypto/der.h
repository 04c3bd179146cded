/* The outermost elements of DER, looked at without parsing what is in them (X.690 section 8.1), and DER written from the
 * inside of what is known. */
#ifndef CERTSYNC_LIB_CRYPTO_DER_H
#define CERTSYNC_LIB_CRYPTO_DER_H

#include "lib/core/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	DER_INTEGER = 0x02,
	DER_BIT_STRING = 0x03,
	DER_OCTET_STRING = 0x04,
	DER_NULL = 0x05,
	DER_OID = 0x06,
	DER_BMP_STRING = 0x1e,
	DER_SEQUENCE = 0x30,
	DER_SET = 0x31,
	DER_CONTEXT_PLAIN = 0x80, /* [0] of a type that has no elements in it */
	DER_CONTEXT = 0xa0
};

/* Reads one element of definite length at the front. Returns its tag, or -1; *content and *len are what is in it, borrowed,
 * and *at and *left go on behind it. */
int der_next(const uint8_t **at, size_t *left, const uint8_t **content, size_t *len);

/* Returns whether it is one sequence, nothing behind it, that begins with elements of these tags, and with `whole` has no
 * others. */
bool der_is_sequence_of(const void *der, size_t len, const int *tags, size_t count, bool whole);

/* A certificate is a sequence of two sequences and a bit string (RFC 5280 section 4.1); no form of a private key is. */
bool der_is_certificate(const void *der, size_t len);
/* Returns whether it begins as one of version 3 does, too: a request for a certificate and a CRL have the same outermost
 * elements (RFC 2986 section 4, RFC 5280 section 5.1), and a version instead of [0]. */
bool der_is_certificate_3(const void *der, size_t len);

/* A writer appends to a buf. What is put between der_begin and der_end is the content of one element. When the buf has
 * been full once, `failed` stays true and nothing more is added, so whoever writes looks once, at the end. */
struct der_writer {
	struct buf *out; /* borrowed */
	bool failed;
};

size_t der_begin(struct der_writer *w, int tag); /* returns what der_end wants */
void der_end(struct der_writer *w, size_t begun);
void der_put(struct der_writer *w, int tag, const void *content, size_t len);
/* Puts elements that are encoded already. */
void der_put_encoded(struct der_writer *w, const void *elements, size_t len);
void der_put_number(struct der_writer *w, uint32_t value);

#endif
