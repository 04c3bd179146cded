/* URLs that an ACME server gives, before anything is done with them. */
#ifndef CERTSYNC_HUB_COMMON_URL_H
#define CERTSYNC_HUB_COMMON_URL_H

#include <stdbool.h>

enum { URL_MAX = 2048 }; /* with the NUL */

/* Returns whether a URL is https, printable, not too long, and without a user's name. */
bool url_is_good(const char *url);

#endif
