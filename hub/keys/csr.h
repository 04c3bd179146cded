/* A certificate signing request (RFC 2986) with exactly the names that are asked for, as ACME wants it. */
#ifndef CERTSYNC_HUB_KEYS_CSR_H
#define CERTSYNC_HUB_KEYS_CSR_H

#include "lib/core/buf.h"
#include "lib/core/error.h"

#include <openssl/evp.h>

/* Appends the DER. There is no subject: every name is a dNSName in subjectAltName. */
int csr_make(EVP_PKEY *key, const char *const *names, size_t name_count, struct buf *out, struct error *err);

#endif
