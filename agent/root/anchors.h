/* The bytes of the trust anchors, which are root's own files, for the child that needs them and can open none
 * (agent/root/opener.h). Their size is bounded, nothing but regular files is read, and nothing is parsed here.
 */
#ifndef CERTSYNC_AGENT_ROOT_ANCHORS_H
#define CERTSYNC_AGENT_ROOT_ANCHORS_H

#include "lib/core/buf.h"
#include "lib/core/error.h"

/* `anchors` is as in agent.conf, with NULL for the system's. Appends what is read in any case; *ret_by_name says that
 * more of them are found by name, with the next function. */
int anchors_read(const char *anchors, struct buf *ret, bool *ret_by_name, struct error *err);

/* Appends the anchors whose name has this hash, from the directory or the system's directories. It is no error when
 * there is none. */
void anchors_read_hashed(const char *anchors, uint32_t hash, struct buf *ret);

#endif
