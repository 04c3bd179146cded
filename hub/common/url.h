/* URLs that an ACME server gives, before anything is done with them.
 */
#ifndef CERTSYNC_HUB_URL_H
#define CERTSYNC_HUB_URL_H

#include <stdbool.h>

enum { URL_MAX = 2048 }; /* with the NUL */

/* https, printable, not too long, without a user's name in it. */
bool url_is_good(const char *url);

#endif
