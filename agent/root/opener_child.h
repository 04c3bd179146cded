/* What is done in the child. This is the only module of the root half that decodes keys and certificates.
 *
 *  request   u8 op, then
 *   bundle       raw 32 sealing key, bytes bundle, u64 now, u64 replaces_not_after, u8 may_expire_sooner, u32 count and
 *                strings required, u32 count and strings allow, u8 whether issuers may be asked for by name, string
 *                path and bytes PEM of anchors
 *   pair         bytes certificates, bytes key placeholder  string name, u64 now
 *  answer    u8 0, u8 count, pairs (agent/root/parts.h), or u8 1, u8 kind of error, string
 */
#ifndef CERTSYNC_AGENT_ROOT_OPENER_CHILD_H
#define CERTSYNC_AGENT_ROOT_OPENER_CHILD_H

#include "agent/root/parts.h"

enum opener_op { OPENER_BUNDLE = 1, OPENER_PAIR = 2, OPENER_PLACEHOLDER = 3 };
enum opener_verdict { OPENER_TAKEN = 0, OPENER_REFUSED = 1 };

/* Fills the answer, whatever the request says. */
void opener_work_on(const struct buf *request, struct buf *answer);
/* opener.c has this for the child: it gets the anchors whose name has this hash from the root half. */
int opener_want(void *context, uint32_t hash, struct buf *ret, struct error *err);

/* Makes the PEM of a pair, whose key must be its leaf's, and its facts. */
int parts_make(const struct chain *pair, struct parts *ret, struct error *err);

#endif
