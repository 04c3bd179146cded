/* The steps by which a certificate goes from one revision to the next on this node, one function a request
 * (agent/common/root_request.h). Each fills the reply; each may be repeated, and be cut off by a crash at any point:
 * keeper_start goes on from the journal.
 *
 *   stage     verified, durable in the archive, journalled as staged and high_water
 *   test      each service's `test` hook, with the staged set; stopped services are tested too
 *   activate  journalled as pending with its deadline and what an undo puts back; own files; the symlink
 *   reload    each running service's `reload` hook; stopped ones are listed. One that RUNNING has seen running a moment
 *             ago is asked again only when its reload fails
 *   commit    pending becomes served
 *   hold      keeper_repair does nothing for a while; kept in memory alone
 *   undo      previous files, `reload` hooks, journal. What is absent, expired or the placeholder is never
 *             put back: the new files stay and become served, and the reply (not ok, not rolled back) says so
 */
#ifndef CERTSYNC_AGENT_STEP_H
#define CERTSYNC_AGENT_STEP_H

#include "agent/root/certificate.h"
#include "lib/crypto/bundle.h"

enum { STEP_TIMEOUT_MAX = 3600, STEP_RETRY_MS = 30000, STEP_RUNNING_MS = 10000 };

/* What a pinned hub has signed for this node and this certificate; not opened yet. All borrowed. */
struct sealed {
	const struct bundle *checked; /* by bundle_check, of: */
	const uint8_t *data;
	size_t len;
	const uint8_t *seal_private;
};
void step_stage(struct keeper *k, const struct sealed *b, struct reply *reply);
/* TEST, ACTIVATE, RELOAD, RUNNING, COMMIT, UNDO, HOLD. */
void step_request(struct keeper *k, const struct request *request, struct reply *reply);
/* Undoes whatever is pending. */
void step_undo(struct keeper *k, struct reply *reply);

#endif
