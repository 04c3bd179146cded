/* Descriptors over a Unix socket (SCM_RIGHTS, unix(7)): records of a few bytes, each with at most one descriptor beside it. A
 * SOCK_SEQPACKET socket keeps a record whole and tells when the other end has gone.
 */
#ifndef CERTSYNC_PASS_H
#define CERTSYNC_PASS_H

#include "lib/core/error.h"

#include <stddef.h>

/* A pair of connected SOCK_SEQPACKET sockets, blocking and close-on-exec. */
int pass_pair(int ret_pair[2], struct error *err);

/* Sends one record; `fd` is borrowed, -1: none. Waits for nothing: a peer that does not read is an error. errno is left: EPIPE
 * says that it has gone. */
int pass_send(int socket, const void *data, size_t len, int fd, struct error *err);

/* Takes one record without waiting: its length, 0 when the other end has gone, PASS_NONE when there is none, -1 when it is
 * longer than `max` bytes or not as pass_send makes it. *ret_fd is the caller's to close, close-on-exec; -1: none came. */
#define PASS_NONE (-2)
long pass_receive(int socket, void *data, size_t max, int *ret_fd, struct error *err);

#endif
