/* This tells whether only root, or whoever runs this, can change what a path names. What root reads as its own word,
 * and what it executes, has to be root's own.
 */
#ifndef CERTSYNC_LIB_CORE_OWNED_H
#define CERTSYNC_LIB_CORE_OWNED_H

#include "lib/core/error.h"
#include "lib/core/proc.h"

/* Walks `path` from the root directory on; symbolic links are followed and judged like everything else. Each step has
 * to belong to root, to the caller or to `also` (NULL: to nobody else), and neither others nor a group but that of
 * `also` may write it. A directory with the sticky bit, like /tmp, may be written by others, since they cannot replace
 * what is not theirs. What has passed stays so until one of those who may changes it, so it can be opened by its path
 * afterwards. An access control list shows in the group's bits. For /proc/self/fd/N the open file is judged. An error
 * of kind ERROR_PERMANENT names the step and the command that mends it. */
int owned_check(const char *path, const struct proc_user *also, struct error *err);

#endif
