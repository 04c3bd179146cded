/* The gate account's authorized_keys (sshd(8), AUTHORIZED_KEYS FILE FORMAT). It has one line for each agent, and two
 * while an agent has new keys that were not seen to work yet (MARK is in hub/common/root_request.h):
 *
 *     restrict,command="NAME:MARK" TYPE BASE64 certsync:NAME
 *
 * and one for each node that may join until then, by this node's clock and in its time zone:
 *
 *     restrict,expiry-time="YYYYMMDDHHMMSS",command="join:NAME" TYPE BASE64 certsync:NAME
 *
 * All lines of others stay as they are, in front. A line is ours when its last word begins with "certsync:". Behind them
 * stand those lines of ours that are kept as they are (HUB_KEY_AGENT_KEPT, HUB_KEY_JOIN_KEPT).
 */
#ifndef CERTSYNC_HUB_ROOT_AUTHORIZED_KEYS_H
#define CERTSYNC_HUB_ROOT_AUTHORIZED_KEYS_H

#include "hub/common/root_request.h"

#include <stddef.h>

enum { AUTHORIZED_KEYS_MAX = 8 * 1024 * 1024 };

/* Appends the new contents, given the old ones; this does no I/O. Returns -1 when one key stands there twice (sshd
 * would take the first line, and give a second agent the wrong name), or when the text exceeds the maximum of `out`. */
int authorized_keys_render(
	const char *old, const struct hub_key *keys, size_t count, struct buf *out, struct error *err);

/* Rewrites the file at `path` unless it says the same already. As root, the file and missing parent directories become
 * root's, 0644 and 0755, which is what sshd asks for. A file or parent that anybody else could replace is an error. */
int authorized_keys_write(const char *path, const struct hub_key *keys, size_t count, struct error *err);

#endif
