/* Descriptors over a Unix socket (SCM_RIGHTS, unix(7)). They travel in records of a few bytes, with at most one
 * descriptor beside each. A SOCK_SEQPACKET socket keeps a record whole and tells when the other end is gone.
 */
#ifndef CERTSYNC_LIB_CORE_PASS_H
#define CERTSYNC_LIB_CORE_PASS_H

#include "lib/core/error.h"

#include <stddef.h>

/* Makes a pair of connected SOCK_SEQPACKET sockets, blocking and close-on-exec. */
int pass_pair(int ret_pair[2], struct error *err);

/* Sends one record with `fd`, which is borrowed; with -1 there is none. It does not wait: a peer that does not read is
 * an error. On an error errno says why; EPIPE is that the peer is gone. */
int pass_send(int socket, const void *data, size_t len, int fd, struct error *err);

/* Takes one record without waiting. Returns its length, 0 when the other end is gone, PASS_NONE when there is no
 * record, or -1 when the record is longer than `max` bytes or not as pass_send makes it. *ret_fd is close-on-exec and
 * the caller's to close, or -1 when none came. */
#define PASS_NONE (-2)
long pass_receive(int socket, void *data, size_t max, int *ret_fd, struct error *err);

#endif
