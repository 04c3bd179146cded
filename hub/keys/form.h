/* What a file is that has neither a certificate nor a private key in PEM: the forms that authorities, appliances and secret
 * stores hand out. Nothing in it is parsed or kept; the answer is a fixed text.
 */
#ifndef CERTSYNC_HUB_KEYS_FORM_H
#define CERTSYNC_HUB_KEYS_FORM_H

#include <stddef.h>

/* Returns what it is and the command that makes PEM of it, or "" when it is nothing that is known. */
const char *form_of(const void *data, size_t len);

#endif
