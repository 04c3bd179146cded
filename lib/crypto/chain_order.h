/* A chain as it was given, in whatever order, put into the one in which a server sends it (RFC 8446 section 4.4.2: the leaf,
 * then each issuer behind what it issued).
 */
#ifndef CERTSYNC_LIB_CRYPTO_CHAIN_ORDER_H
#define CERTSYNC_LIB_CRYPTO_CHAIN_ORDER_H

#include "lib/crypto/chain.h"

struct anchors; /* lib/crypto/verify.h */

/* The leaf is the certificate of the chain's key, wherever it stands; without a key it is the first. `rest` becomes the
 * issuers in their order, without duplicates and without a self-signed root at the end. Where several certificates of one
 * subject and key have issued what stands before them (cross-signed by several roots) one is kept: one that leads to these
 * anchors, else, and with NULL, the first that is no root. A certificate that does not belong to the leaf is
 * ERROR_UNTRUSTED. */
int chain_order(struct chain *c, const struct anchors *anchors, int64_t now, struct error *err);

#endif
