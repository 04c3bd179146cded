/* The bytes of the trust anchors, root's own files, for the child that trusts by them and can open none (agent/root/opener.h). Bounded, and
 * nothing but a regular file is read; none of it is parsed here.
 */
#ifndef CERTSYNC_AGENT_ANCHORS_H
#define CERTSYNC_AGENT_ANCHORS_H

#include "lib/core/buf.h"
#include "lib/core/error.h"

/* `anchors` as in agent.conf; NULL: the system's. Appends what is read in any case; *ret_by_name: more of them are found by name, below. */
int anchors_read(const char *anchors, struct buf *ret, bool *ret_by_name, struct error *err);

/* Appends those whose name has this hash, from the directory, or the system's directories; none is no error. */
void anchors_read_hashed(const char *anchors, uint32_t hash, struct buf *ret);

#endif
