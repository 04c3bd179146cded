/* Blotting out what may be a key or a secret in the text of a program that may have read one.
 *
 * A service's own test quotes the line that it does not understand: `haproxy -c` may quote a whole key line by line,
 * `doveconf` a file's content, nsupdate a TSIG secret. So whatever a hook prints is taken to hold secrets before
 * anybody is told, and what is doubtful is blotted out; the whole text is kept where only root reads it.
 *
 * These are blotted out:
 *   - what stands between -----BEGIN …----- and -----END, whatever the block is, also with \n in the place of line
 *     ends, or on one line;
 *   - base64 (either alphabet, \n and \/ inside) of 40 characters and more, or of 16 and more that ends in a full
 *     group with =; with a / in it, only where both cases occur, since it is a path otherwise;
 *   - consecutive lines that are base64 together, though each is shorter;
 *   - hex of 64 digits and more, or of 15 bytes and more with : or blanks between (openssl -text, hexdump);
 *   - what follows any of these in the next lines behind the same words (numbers apart): the last, short line of a key;
 *   - what follows password, passphrase, secret, token, API key, authorization or bearer and a : or = or in quotes, and
 *     a URL's password.
 * These are not: paths, host names, error texts and codes, dates, serials; a digest behind the words sha, fingerprint,
 * digest or serial (64 digits, 32 bytes, SHA256:BASE64); SHA-1 in hex. tests/unit/test_redact.c is the table of
 * examples.
 */
#ifndef CERTSYNC_LIB_CORE_REDACT_H
#define CERTSYNC_LIB_CORE_REDACT_H

#include "lib/core/buf.h"

#define REDACT_MARK "[blotted out]"

/* Appends `text` with each such stretch replaced by REDACT_MARK; lines stay lines. Returns how many stretches there
 * were. `out` should have room for REDACT_ROOM(len) more, since what does not fit is left out. */
size_t redact(const char *text, size_t len, struct buf *out);
#define REDACT_ROOM(len) ((len) * (sizeof(REDACT_MARK) - 1) + 64)

#endif
