/* A certificate as one of its authorities is asked for it. */
#ifndef CERTSYNC_HUB_COMMON_CERTIFICATE_AT_H
#define CERTSYNC_HUB_COMMON_CERTIFICATE_AT_H

#include "hub/common/config.h"

/* `acme` of the result is authority number `at` of the certificate; profile and preferred_chain are the certificate's own
 * at the first, the acme section's at any other, or where the certificate has none. All of it is borrowed. */
struct hub_certificate certificate_at(const struct hub_certificate *c, size_t at);

#endif
