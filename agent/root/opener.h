/* Keys and certificates are decoded and verified in a child of the root half that can do nothing else, and come back as
 * PEM that the child has written. The root half looks at its length and alphabet (agent/root/parts.h) and, for a
 * bundle, whether it is what the hub has signed. So whoever takes over the child by a certificate's bytes has neither
 * root nor another certificate installed.
 *
 * The child is forked, not executed, and then confines itself (agent/root/opener_confine.h): it has a user that owns
 * nothing, no capability, no way to gain privileges, no descriptor but its socket to the root half and no way to get
 * one, neither process nor file nor network, and no core dump. It lives on for OPENER_IDLE_MS, since a fork and the
 * first use of OpenSSL in it cost ten times what opening a bundle does. But it sees the keys of one certificate alone:
 * for another one a new child takes its place. It is also ended when it has refused, was late or has said what it must
 * not; the last two are errors that begin with "opener:", and nothing comes of them.
 *
 * There is one for the whole program, as there is one OpenSSL. The directory `archive` (archive/NAME) says which
 * certificate it is about.
 */
#ifndef CERTSYNC_AGENT_ROOT_OPENER_H
#define CERTSYNC_AGENT_ROOT_OPENER_H

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

/* Names memory of the parent that the child must not have; the child overwrites it before anything else. It is kept
 * until the next call; NULL is allowed. */
void opener_forget(void *data, size_t len);

struct opener_policy {
	const char *anchors;         /* as in agent.conf; NULL: the system's */
	const char *const *required; /* these and the rest as in struct verify_policy */
	const char *const *allow;
	int64_t now;
	int64_t replaces_not_after;
	bool may_expire_sooner;
};

/* `checked` is what bundle_check has let through of `data`. The pairs are verified by lib/crypto/verify.h against
 * anchors whose bytes the root half reads for the child. *ret_count is 1 or 2 pairs with the digest and the expiry of
 * the header. Nothing is to be released after an error. */
int opener_bundle(int archive, const uint8_t *data, size_t len, const struct bundle *checked,
	const uint8_t seal_private[SEAL_KEY_SIZE], const struct opener_policy *policy,
	struct parts ret[BUNDLE_PAIRS_MAX], size_t *ret_count, struct error *err);

/* Reads a pair from two PEM texts, which may be one and the same. The key must be the leaf's. */
int opener_pair(
	int archive, const struct buf *certificates, const struct buf *key, struct parts *ret, struct error *err);

/* Makes a self-signed certificate for ten years with the subject CN=certsync placeholder and the name as its SAN. */
int opener_placeholder(const char *certificate, int64_t now, struct parts *ret, struct error *err);

/* Returns the milliseconds until the child has idled for long enough, or -1 when there is none. */
int64_t opener_due(void);
void opener_tick(void);
/* Ends the child and waits for its end. */
void opener_stop(void);

/* The rest is for tests, which have something else done in the child and ask with other patience. `work` has the
 * request and fills the answer; the next child is the first one that does it. */
typedef void (*opener_work)(const struct buf *request, struct buf *answer);
void opener_replace(opener_work work, int deadline_ms);
/* Sends one request as it stands, and takes the answer. */
int opener_ask(int archive, const char *anchors, const struct buf *request, struct buf *answer, struct error *err);
/* Reads an answer's pairs, or its refusal. This is strict: whatever is wrong with the answer is ERROR_UNTRUSTED and
 * begins with "opener:". */
int opener_read_answer(
	const uint8_t *data, size_t len, struct parts ret[BUNDLE_PAIRS_MAX], size_t *ret_count, struct error *err);

#endif
