/* The steps by which a certificate goes from one revision to the next on this node, one function for each request
 * (agent/common/root_request.h). Each fills the reply. Each may be repeated, and be cut off by a crash at any point:
 * root_certificate_start goes on from the journal.
 *
 *   stage     The set is verified, durable in the archive, and journalled as staged and high_water.
 *   test      Each service's `test` hook runs with the staged set; stopped services are tested too.
 *   activate  The revision is journalled as pending with its deadline and what an undo puts back; then come the own
 *             files, then the symlink.
 *   reload    Each running service's `reload` hook runs; stopped ones are listed. A service that `running` has seen
 *             running a moment ago is asked again only when its reload fails.
 *   commit    The pending revision becomes the served one.
 *   hold      root_certificate_repair does nothing for a while; this is kept in memory alone.
 *   undo      The previous files, `reload` hooks and the journal go back. What is absent, expired or the placeholder is
 *             never put back: the new files stay and become served, and the reply (not ok, not rolled back) says so.
 */
#ifndef CERTSYNC_AGENT_ROOT_OPERATION_H
#define CERTSYNC_AGENT_ROOT_OPERATION_H

#include "agent/root/certificate.h"
#include "lib/crypto/bundle.h"

enum { OPERATION_TIMEOUT_MAX = 3600, OPERATION_RETRY_MS = 30000, OPERATION_RUNNING_MS = 10000 };

/* What a pinned hub has signed for this node and this certificate, not opened yet. All of it is borrowed. */
struct sealed {
	const struct bundle *checked; /* by bundle_check, of: */
	const uint8_t *data;
	size_t len;
	const uint8_t *seal_private;
};
void operation_stage(struct root_certificate *k, const struct sealed *b, struct reply *reply);
/* Serves TEST, ACTIVATE, RELOAD, RUNNING, COMMIT, UNDO and HOLD. */
void operation_request(struct root_certificate *k, const struct request *request, struct reply *reply);
/* Undoes whatever is pending. */
void operation_undo(struct root_certificate *k, struct reply *reply);

#endif
