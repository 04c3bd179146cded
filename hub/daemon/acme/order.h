/* The order of one certificate, as the daemon sees it: it runs the worker (hub/worker/acme/acme.c), has certsync-keys
 * make its key and sign its requests, keeps what must survive (account, which key, order URL) in the store before the
 * worker may go on, and serves the challenge. A certificate with two pairs is two orders at the authority, one after
 * the other. Each is stored, resumed and never doubled, and when the second fails, the first is not ordered again.
 *
 * The records in the store are of kind "acme" in the NAME of the account: account.pub, account.json (its URL); of kinds
 * "orders" and "orders-2" (of the second pair) in the NAME of the certificate: key.pub, order.json (order URL, account,
 * names); and of kind "nextkeys" there: key.pub, key-2.pub. order_dns.h has those of kind "dns". *.pub is the public
 * half of a key that certsync-keys holds (order_key.h).
 */
#ifndef CERTSYNC_HUB_DAEMON_ACME_ORDER_H
#define CERTSYNC_HUB_DAEMON_ACME_ORDER_H

#include "hub/daemon/acme/authority.h"
#include "hub/daemon/acme/challenge.h"
#include "hub/common/config.h"
#include "hub/daemon/keys.h"
#include "hub/daemon/store.h"
#include "hub/daemon/worker.h"
#include "lib/crypto/chain.h"
#include "lib/core/error.h"

struct order;

struct order_handler {
	/* `step` is a word of RFC 8555 for `status`: "account", "order", "challenge mail.domain.pl", "finalize"…. */
	void (*progress)(const char *certificate, const char *step, void *context);
	/* It was issued: public halves of keys and chains, borrowed, the first pair first. The handler publishes; when
	 * it returns 0 the stored order is dropped, and on -1 it stays for a person to see. The order is gone after the
	 * call. */
	int (*issued)(const char *certificate, const struct chain *pairs, size_t count, void *context);
	/* It gave up. retry_after are the seconds that the server asked for, clamped to 1 s … 1 day, or 0 when it did
	 * not say; `trouble` is what the failure says of the authority. The order is gone after the call. */
	void (*failed)(const char *certificate, const struct error *err, int64_t retry_after,
		enum authority_trouble trouble, void *context);
	/* There is something that a person should know, though the order goes on. With NULL nobody is told. */
	void (*warning)(const char *certificate, const char *text, void *context);
	/* The authorization of a name has failed, which authorities count; `failed` follows. With NULL nobody is
	 * told. */
	void (*invalid)(const char *certificate, const char *name, void *context);
};

/* What one order needs beside the configuration. All of it is borrowed, for the call alone but for the responder. */
struct order_options {
	char *const *resolvers; /* as in struct hub_config; NULL: none */
	const char *anchors;    /* as in struct hub_config: among them the root of a preferred chain is looked for */
	const char *replaces[STORE_PAIRS_MAX]; /* the identifier of what each pair replaces (ari_id); NULL: not said */
	bool new_key;                          /* a key that was never used, whatever reuse_key says */
	struct responder *responder;           /* with challenge = "tls-alpn-01"; it stays until the order has ended */
};

/* Starts at once; the handler is only called from the loop. Returns NULL with the reason when it cannot even start. */
struct order *order_start(struct workers *workers, struct store *store, struct keys *keys, struct challenge *challenge,
	const struct hub_certificate *certificate, const struct order_options *options,
	const struct order_handler *handler, void *context, struct error *err);
/* Kills the worker, without a callback. */
void order_cancel(struct order *o);

/* Drops what is stored of orders under way, so that the next one begins anew. */
int order_forget(struct store *store, struct keys *keys, const char *certificate, struct error *err);

/* Gets the SHA-256 of the SubjectPublicKeyInfo of the keys that were made ahead (next_key), as a TLSA record "3 1 1"
 * has it. */
int order_next_keys(struct store *store, const char *certificate, uint8_t ret[STORE_PAIRS_MAX][CHAIN_SHA256_SIZE],
	size_t *ret_count, struct error *err);

#endif
