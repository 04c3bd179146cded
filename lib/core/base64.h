/* Base64 (RFC 4648): the standard form, and the one for URLs, without padding, as RFC 7515 has it. All of these append,
 * and leave `out` as it was, wiped behind its end, when they fail.
 */
#ifndef CERTSYNC_LIB_CORE_BASE64_H
#define CERTSYNC_LIB_CORE_BASE64_H

#include "lib/core/buf.h"
#include "lib/core/error.h"

#include <stdbool.h>

/* These are the standard form on one line, padded, and its strict inverse. Encoding returns -1 when `out` is full. */
int base64_encode(const void *data, size_t len, struct buf *out);
int base64_decode(const char *text, struct buf *out, struct error *err);

/* These are the form of URLs (section 5). Decoding passes over padding at the end, and over what is left of the last
 * character's bits; -1: the text has another alphabet, or `out` is full. */
int base64url_encode(const void *data, size_t len, struct buf *out);
int base64url_decode(const char *text, struct buf *out);
/* Returns whether `text` is 1 to `max` characters of that alphabet and nothing else. */
bool base64url_is(const char *text, size_t max);

#endif
