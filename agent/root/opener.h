/* Keys and certificates are decoded and verified in a child of the root half that can do nothing else, and comes back as PEM that the child
 * has written. The root half looks at its length and alphabet (agent/root/parts.h) and, for a bundle, whether it is what the hub has
 * signed for; so whoever takes the child over by a certificate's bytes has neither root nor another certificate installed.
 *
 * The child is forked, not executed, and then confines itself (opener_confine): a user that owns nothing, no capability, no new
 * privileges, no descriptor but its socket to the root half and none to be had any more, neither process nor file nor network, no dump.
 * It lives on for OPENER_IDLE_MS, since a fork and the first use of OpenSSL in it cost ten times what opening a bundle does; but it
 * sees the keys of one certificate alone: for another one a new child takes its place. It is ended as well when it has refused, was late or
 * has said what it must not; the last two are errors that begin with "opener:", and nothing comes of them.
 *
 * There is one for the whole program, as there is one OpenSSL. The directory `archive` (archive/NAME) says which certificate it is about.
 */
#ifndef CERTSYNC_AGENT_OPENER_H
#define CERTSYNC_AGENT_OPENER_H

#include "agent/root/parts.h"
#include "lib/crypto/bundle.h"

#include <sys/types.h>

enum {
	OPENER_IDLE_MS = 10 * 60 * 1000,
	OPENER_DEADLINE_MS = 20 * 1000,
	OPENER_REQUEST_MAX = 5 * 1024 * 1024,
	OPENER_ANSWER_MAX = 512 * 1024,
	OPENER_WANTS_MAX = 64, /* so many names of issuers may be asked for in one request */
	OPENER_USER =
		65532, /* of 65520 to 65533, which systemd's UIDS-GIDS leaves to nobody: it has no files and, unlike
				* the user nobody, no other process, which could end this one */
};

/* What the child must not have of its parent's memory: overwritten in it before anything else. Kept until the next call; NULL: none. */
void opener_forget(void *data, size_t len);

struct opener_policy {
	const char *anchors;         /* as in agent.conf; NULL: the system's */
	const char *const *required; /* these and the rest as in struct verify_policy */
	const char *const *allow;
	int64_t now;
	int64_t replaces_not_after;
	bool may_expire_sooner;
};

/* `checked` is what bundle_check has let through of `data`. Verified by lib/crypto/verify.h, against anchors whose bytes the root half reads for the
 * child. *ret_count pairs with the digest and the expiry of the header: 1 or 2. Nothing is to be released after an error. */
int opener_bundle(int archive, const uint8_t *data, size_t len, const struct bundle *checked,
	const uint8_t seal_private[SEAL_KEY_SIZE], const struct opener_policy *policy,
	struct parts ret[BUNDLE_PAIRS_MAX], size_t *ret_count, struct error *err);

/* Of two PEM texts that may be one and the same; the key must be the leaf's. */
int opener_pair(
	int archive, const struct buf *certificates, const struct buf *key, struct parts *ret, struct error *err);

/* Self-signed, ten years, subject CN=certsync placeholder, the name as its SAN. */
int opener_placeholder(const char *certificate, int64_t now, struct parts *ret, struct error *err);

/* Milliseconds until the child has idled for long enough; -1: there is none. */
int64_t opener_due(void);
void opener_tick(void);
/* Ends it, and waits for that. */
void opener_stop(void);

/* For tests, which have something else done in the child, and ask with other patience. `work` has the request and fills the answer; the
 * next child is the first one of it. */
typedef void (*opener_work)(const struct buf *request, struct buf *answer);
void opener_replace(opener_work work, int deadline_ms);
/* One request as it stands, and the answer. */
int opener_ask(int archive, const char *anchors, const struct buf *request, struct buf *answer, struct error *err);
/* Its pairs, or the refusal that it is. Strict: whatever is wrong with it is ERROR_UNTRUSTED and begins with "opener:". */
int opener_read_answer(
	const uint8_t *data, size_t len, struct parts ret[BUNDLE_PAIRS_MAX], size_t *ret_count, struct error *err);

#endif
