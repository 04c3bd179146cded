/* Files from outside, which may have private keys in whatever shape: the key goes into the vault, and what is left is
 * written anew (hub/common/key_cut.h).
 */
#ifndef CERTSYNC_HUB_KEYS_CUT_H
#define CERTSYNC_HUB_KEYS_CUT_H

#include "hub/keys/vault.h"
#include "lib/core/files.h"

/* Appends the record of one file. */
void cut_file(struct vault *v, const void *text, size_t len, struct buf *out);
/* Makes the records of these files; `content` keeps what `ret` borrows. */
void cut_files(struct vault *v, const struct files *files, struct files *ret, struct buf content[FILES_MAX]);
/* Makes the record of what an operator's command has passed (hub/common/key_bring.h); `fd` is borrowed. */
void cut_descriptor(struct vault *v, int fd, struct buf *out);

#endif
