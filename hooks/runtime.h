/* HAProxy's runtime API: it replaces certificates of a running process without a reload.
 *
 * The socket takes a blank line inside a payload for its end and runs what follows, so a payload is always PEM that was
 * written anew from DER. HAProxy ignores a payload over its buffer size without a word, so the size is looked at first.
 * A transaction is compared with what it should hold before it is committed, and what is in use is compared afterwards.
 */
#ifndef CERTSYNC_HOOKS_RUNTIME_H
#define CERTSYNC_HOOKS_RUNTIME_H

#include "lib/crypto/chain.h"
#include "lib/core/error.h"

enum { RUNTIME_COMMAND_MAX = 512 * 1024, RUNTIME_LISTING_MAX = 16 * 1024 * 1024 };

/* Returns 1 when root, or whoever runs this, listens there, 0 when nobody does, or -1 when that cannot be told or
 * another user does. */
int runtime_is_there(const char *socket_path, struct error *err);

/* Appends the reply to `command`. */
int runtime_ask(const char *socket_path, const char *command, struct buf *reply, struct error *err);

/* Appends the names of the certificate files that are loaded, one on each line, and that of an ongoing transaction with
 * '*' in front. */
int runtime_files(const char *socket_path, struct buf *ret_listing, struct error *err);

/* Appends the names of the crt-lists and directories that are loaded, one on each line. */
int runtime_lists(const char *socket_path, struct buf *ret_listing, struct error *err);

/* Returns -1 when no command can name this file. */
int runtime_check_name(const char *file, struct error *err);

/* Makes HAProxy serve `chain` for the loaded file `file`. On failure the old one is still served and no transaction is
 * left. */
int runtime_replace(const char *socket_path, const char *file, const struct chain *chain, struct error *err);

#endif
