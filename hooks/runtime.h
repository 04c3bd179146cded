/* HAProxy's runtime API: certificates of a running process replaced without a reload.
 *
 * The socket takes a blank line inside a payload for its end and runs what follows, so a payload is always
 * PEM written anew from DER; a payload over the buffer size is passed over without a word, so its size is
 * looked at first; a transaction is compared with what it should hold before it is committed, and what is
 * in use is compared afterwards.
 */
#ifndef CERTSYNC_HOOKS_RUNTIME_H
#define CERTSYNC_HOOKS_RUNTIME_H

#include "lib/crypto/chain.h"
#include "lib/core/error.h"

/* HAProxy's default tune.bufsize is 16384, command and payload together. */
enum { RUNTIME_COMMAND_MAX = 16000, RUNTIME_LISTING_MAX = 16 * 1024 * 1024 };

/* 1: root, or whoever runs this, listens there; 0: nobody does; -1: that cannot be told, or another user does. */
int runtime_is_there(const char *socket_path, struct error *err);

/* Appends the reply to `command`. */
int runtime_ask(const char *socket_path, const char *command, struct buf *reply, struct error *err);

/* The names of the certificate files that are loaded, one a line, and an ongoing transaction's with '*' in
 * front. */
int runtime_files(const char *socket_path, struct buf *ret_listing, struct error *err);

/* Makes HAProxy serve `chain` for the loaded file `file`. On failure the old one is served still and no
 * transaction is left. */
int runtime_replace(const char *socket_path, const char *file, const struct chain *chain, struct error *err);

#endif
