/* The handshake that proves a name by tls-alpn-01 (RFC 8737): a client that offers the protocol "acme-tls/1" and nothing
 * else is shown a certificate for the name that it asks for, signed by itself, with the SHA-256 of the key authorization
 * in the critical extension acmeIdentifier. Nothing but the handshake takes place.
 */
#ifndef CERTSYNC_HUB_WORKER_ACME_ALPN_H
#define CERTSYNC_HUB_WORKER_ACME_ALPN_H

#include "lib/core/error.h"

#include <openssl/ssl.h>
#include <stddef.h>
#include <stdint.h>

enum { ALPN_DIGEST_SIZE = 32, ALPN_NAMES_MAX = 4096 };

/* Which names are proven now, and with what. */
struct alpn;

/* Makes a key for all certificates, which never leaves this process. NULL with the reason. */
struct alpn *alpn_new(struct error *err);
void alpn_free(struct alpn *a); /* NULL is fine */

/* A name that is there already is proven with this digest from now on. `name` is a DNS name. */
int alpn_add(struct alpn *a, const char *name, const uint8_t digest[ALPN_DIGEST_SIZE], struct error *err);
void alpn_remove(struct alpn *a, const char *name);

/* Returns the server's side of one handshake, without a connection yet; it borrows from `a`. Whoever asks for a name that
 * is not being proven gets the alert unrecognized_name, whoever offers something else no_application_protocol. */
SSL *alpn_answer(struct alpn *a, struct error *err);

/* ---- the other side, which an authority has ---- */

/* The caller owns it. Certificates are not verified by it, since those of tls-alpn-01 vouch for themselves. */
SSL_CTX *alpn_client(struct error *err);
/* After a handshake with alpn_client: returns 0 when this digest was shown, and -1 with what was shown in its place. */
int alpn_judge(SSL *ssl, const uint8_t digest[ALPN_DIGEST_SIZE], struct error *err);

#endif
