/* Base64 for URLs: RFC 4648 section 5 without padding, as RFC 7515 has it. */
#ifndef CERTSYNC_HUB_COMMON_BASE64URL_H
#define CERTSYNC_HUB_COMMON_BASE64URL_H

#include "lib/core/buf.h"

#include <stdbool.h>

/* Appends the text. Returns -1 when `out` is full. */
int base64url_encode(const void *data, size_t len, struct buf *out);
/* Does the inverse and appends the bytes; padding at the end is passed over. Returns -1 when the text has another
 * alphabet, or `out` is full. */
int base64url_decode(const char *text, struct buf *out);
/* Returns whether `text` is 1 to `max` characters of that alphabet and nothing else. */
bool base64url_is(const char *text, size_t max);

#endif
