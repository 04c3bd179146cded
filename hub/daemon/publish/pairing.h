/* Which of the files at a watched source belong together. This does no I/O: files and clock go in, pairs come out.
 *
 * The files are what certsync-keys has left of them when it has taken their private keys out (hub/common/key_cut.h), so
 * keys are public halves. A pair is a file with a certificate, wherever it stands in it, and a file (or the same
 * one) with its private key, whatever they are called and in whichever of the watched paths they lie. A certificate that stands alone
 * in its file is completed by issuers from the other files.
 *
 * Of several pairs in one path one is chosen: the one that has all names, is valid now, was issued last, expires last,
 * has the longest chain, in this order. So an archive of old pairs, and a directory of many domains, give the right
 * one. Where two paths give an ECDSA and an RSA pair, both with all names and valid, both are taken; of two of one
 * kind, the better one.
 */
#ifndef CERTSYNC_HUB_DAEMON_PUBLISH_PAIRING_H
#define CERTSYNC_HUB_DAEMON_PUBLISH_PAIRING_H

#include "hub/daemon/store.h"
#include "lib/core/files.h"
#include "lib/crypto/verify.h"

enum pairing_kind { PAIRING_ECDSA, PAIRING_RSA, PAIRING_OTHER, PAIRING_KINDS };

struct pairing {
	struct chain pairs[STORE_PAIRS_MAX]; /* owned; ECDSA before RSA */
	size_t count;                        /* 0: nothing belongs together yet */
	const char *file;                    /* the first pair's certificate: its name in `files`; borrowed */
	/* Something could become a pair of that kind and is none yet: a key without a certificate, a certificate with
	 * all names without a key, or a file that is cut short (of any kind). */
	bool half_way[PAIRING_KINDS];
	char damage[ERROR_MESSAGE_MAX]; /* of a file that cannot be read as PEM; "": none such */
	/* Where nothing belongs together: what each file has, as far as there is room. */
	char found[ERROR_MESSAGE_MAX];
};

void pairing_release(struct pairing *p);
#define auto_pairing __attribute__((cleanup(pairing_release)))

/* `files` are as the root half hands them over (hub/common/root_request.h), each a record of hub/common/key_cut.h; a
 * name begins with the number of its path. `names` are those that the certificate must have, ended by NULL; `anchors` decide
 * between cross-signed issuers (lib/crypto/chain_order.h) and may be NULL. */
void pairing_find(const struct files *files, const char *const *names, const struct anchors *anchors, int64_t now,
	struct pairing *ret);

enum pairing_kind pairing_kind(const X509 *leaf);

#endif
