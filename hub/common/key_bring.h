/* How a command brings files with private keys in them: past the daemon, to certsync-keys itself.
 *
 * The root half makes RUN-keys/keys.sock (SOCK_SEQPACKET) in a directory of root's, and it is open to the operators'
 * group. Each record of one byte, KEY_BRING_RECORD, has a descriptor beside it: sealed memory (memfd_create(2)) with
 * the file's bytes. It is answered, in order, by a record as hub/common/key_cut.h has it. What is brought stays in
 * memory for ten minutes, until the daemon commits it to a revision.
 */
#ifndef CERTSYNC_HUB_COMMON_KEY_BRING_H
#define CERTSYNC_HUB_COMMON_KEY_BRING_H

#include "lib/core/buf.h"
#include "lib/core/error.h"

#include <fcntl.h>

enum {
	KEY_BRING_RECORD = 'K',
	KEY_BRING_SEALS = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW,
	KEY_BRING_LEFT_MAX = 64 * 1024
};

/* `run` is hub.conf's. The caller frees the path. */
char *key_bring_path(const char *run);

/* Brings one file's text. What is left of it is appended, in the form of the record. */
int key_bring(const char *socket_path, const void *text, size_t len, struct buf *ret, struct error *err);

#endif
